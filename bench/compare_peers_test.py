#!/usr/bin/env python3
"""Tests of compare_peers.py, with engines that are small scripts."""
import contextlib
import io
import json
import os
import stat
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import compare_peers as peers

# Answers as llama-bench does, with speeds that depend on its divisor and its options only.
FAKE_ENGINE = """#!{python}
import json, os, sys
args = sys.argv[1:]
option = lambda name: args[args.index(name) + 1]
open({log!r}, "a").write({name!r} + " " + " ".join(args) + "\\n")
scale = 1 / {divisor} / (2 if "-rtr" in args and option("-rtr") == "0" else 1)
rows = []
def add(n_prompt, n_gen, speed):
    if n_prompt or n_gen:
        samples = [1.0] + [speed * scale] * (int(option("-r")) - 1)
        rows.append(dict(n_prompt=n_prompt, n_gen=n_gen, n_threads=int(option("-t")),
                         build_commit="fake", samples_ts=samples))
for n in option("-p").split(","):
    add(int(n), 0, 100.0)
for n in option("-n").split(","):
    add(0, int(n), 10.0)
print("a note that is no JSON")
print(json.dumps(rows, indent=1))
"""


class ParseTest(unittest.TestCase):
    def test_an_array_is_found_between_other_lines(self):
        text = 'hello [world]\n[\n {"n_gen": 1}\n]\nbye'
        self.assertEqual(peers.parse_rows(text), [{"n_gen": 1}])

    def test_an_answer_without_an_array_is_refused(self):
        for text in ("", "no", "{}", "[1]", "[\n{", "[\n 1\n]"):
            with self.assertRaises(peers.EngineFailed, msg=text):
                peers.parse_rows(text)

    def test_the_first_of_several_repetitions_is_dropped(self):
        test = peers.parse_test("pp512")
        row = {"n_prompt": 512, "n_gen": 0, "n_threads": 2}
        self.assertEqual(peers.speed_of([row | {"samples_ts": [1.0, 5.0, 7.0]}], test, 2, 3), 6.0)
        self.assertEqual(peers.speed_of([row | {"samples_ts": [4.0]}], test, 2, 1), 4.0)

    def test_a_result_that_is_not_the_one_asked_for_is_refused(self):
        test = peers.parse_test("pp512")
        good = {"n_prompt": 512, "n_gen": 0, "n_threads": 2, "samples_ts": [4.0]}
        self.assertEqual(peers.speed_of([good], test, 2, 1), 4.0)
        for change in ({"n_prompt": 511}, {"n_gen": 1}, {"n_depth": 64}, {"n_threads": 1},
                       {"samples_ts": []}, {"samples_ts": [0.0]}, {"samples_ts": [float("nan")]},
                       {"samples_ts": None}):
            with self.assertRaises(peers.EngineFailed, msg=change):
                peers.speed_of([good | change], test, 2, 1)
        with self.assertRaises(peers.EngineFailed):
            peers.speed_of([good, good], test, 2, 1)


class LoadTest(unittest.TestCase):
    def test_foreign_time_is_what_neither_we_nor_our_children_used(self):
        before = peers.CpuTimes(wall=100.0, busy=50.0, steal=1.0, ours=5.0)
        after = peers.CpuTimes(wall=110.0, busy=71.0, steal=1.4, ours=23.0)
        slack = 2 * 2 / os.sysconf("SC_CLK_TCK") / 10
        self.assertAlmostEqual(peers.foreign_cores(before, after, 2), 0.3 - slack)
        self.assertAlmostEqual(peers.steal_share(before, after, 2), 0.02)

    def test_rounding_never_makes_foreign_time_negative(self):
        before = peers.CpuTimes(0.0, 0.0, 0.0, 0.0)
        after = peers.CpuTimes(1.0, 1.98, 0.0, 2.0)
        self.assertEqual(peers.foreign_cores(before, after, 2), 0.0)

    def test_the_process_that_used_most_is_named(self):
        before = {1: ("init", 5), 2: ("calm", 50)}
        after = {1: ("init", 6), 2: ("calm", 50), 3: ("busy", 40), os.getpid(): ("self", 900)}
        self.assertEqual(peers.busiest_other(before, after), "busy")


class StatisticsTest(unittest.TestCase):
    def test_turns_alternate_so_that_drift_favours_nobody(self):
        turns = [peers.turn_order("ABC", r) for r in range(4)]
        self.assertEqual(["".join(t) for t in turns], ["ABC", "CBA", "ABC", "CBA"])

    def test_an_interval_that_holds_one_is_no_difference(self):
        low, high = peers.bootstrap_interval([0.98, 1.03, 0.99, 1.02, 1.0, 0.97])
        self.assertEqual(peers.verdict_of(low, high), "no difference shown")

    def test_a_planted_slowdown_is_found(self):
        low, high = peers.bootstrap_interval([0.97, 0.985, 0.98, 0.975, 0.98, 0.99])
        self.assertEqual(peers.verdict_of(low, high), "quern slower")
        self.assertLess(0.96, low)

    def test_the_interval_of_equal_values_is_that_value(self):
        self.assertEqual(peers.bootstrap_interval([2.0] * 5), (2.0, 2.0))


class WholeRunTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        self.log = self.root / "log"
        self.model = self.root / "model.gguf"
        self.model.write_bytes(b"GGUF")

    def engine(self, name, divisor=1.0, text=None):
        path = self.root / name
        path.write_text(text or FAKE_ENGINE.format(
            python=sys.executable, log=str(self.log), name=name, divisor=divisor))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def run_main(self, *arguments, max_foreign="99", max_steal="99"):
        out, err = io.StringIO(), io.StringIO()
        report = self.root / "report.json"
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = peers.main([*arguments, "-m", str(self.model), "--retry-pause", "0",
                                 "--max-foreign", max_foreign, "--max-steal", max_steal,
                                 "--json-out", str(report)])
        return status, json.loads(report.read_text()), out.getvalue()

    def test_ratios_and_order_of_a_whole_run(self):
        status, report, table = self.run_main(
            "--quern", self.engine("quern"), "--ik", self.engine("ik", divisor=2.0),
            "--rounds", "5", "--no-calibrate")
        self.assertEqual(status, 0)
        self.assertEqual(report["rounds_done"], 5)
        rows = {(r["test"], r["engine"]): r for r in report["rows"]}
        self.assertEqual(rows["tg128", "ik"]["ratio"], 2.0)
        self.assertEqual(rows["pp512", "quern"]["median"], 100.0)
        self.assertEqual(rows["pp512", "ik"]["verdict"], "quern faster")
        order = [line.split()[0] for line in self.log.read_text().splitlines()]
        self.assertEqual(order, ["quern", "ik", "ik", "quern"] * 2 + ["quern", "ik"])
        self.assertIn("quern bench model -m", self.log.read_text())
        self.assertIn("| model.gguf | tg128 | ik | -fa 1 -rtr 1 -thp 1 | 5.00 |", table)

    def test_calibration_chooses_the_faster_variant(self):
        ik = peers.KINDS["ik"]
        peers.KINDS["ik"] = peers.Kind(ik.subcommand, tuple(reversed(ik.variants)))
        self.addCleanup(peers.KINDS.__setitem__, "ik", ik)
        _status, report, _table = self.run_main("--ik", self.engine("ik"), "--rounds", "5")
        self.assertEqual({tuple(r["variant"]) for r in report["rows"]}, {ik.variants[0]})

    def test_a_noisy_machine_makes_the_rows_invalid(self):
        status, report, table = self.run_main("--quern", self.engine("quern"), "--rounds", "5",
                                              "--retries", "1", max_foreign="-1")
        self.assertEqual(status, peers.EXIT_NOTHING)
        self.assertEqual(report["rejected_samples"], 10)  # each of 5 rounds was tried twice
        self.assertIn("**INVALID**: 0 valid rounds, wanted 5", table)

    def test_an_engine_that_fails_is_left_out_and_the_others_go_on(self):
        broken = self.engine("ik", text="#!/bin/sh\necho cannot load this >&2\nexit 3\n")
        status, report, table = self.run_main("--quern", self.engine("quern"), "--ik", broken,
                                              "--rounds", "5")
        self.assertEqual(status, peers.EXIT_INVALID)
        self.assertIn("exit status 3: cannot load this", table)
        self.assertEqual({r["valid_rounds"] for r in report["rows"] if r["engine"] == "quern"}, {5})

    def test_an_engine_that_hangs_is_ended(self):
        hanging = self.engine("ik", text="#!/bin/sh\nsleep 600 & wait\n")
        status, _report, table = self.run_main("--ik", hanging, "--sample-timeout", "0.2",
                                               "--no-calibrate")
        self.assertEqual(status, peers.EXIT_NOTHING)
        self.assertIn("no answer within", table)

    def test_nothing_starts_after_the_time_limit(self):
        status, report, _table = self.run_main("--quern", self.engine("quern"), "--time-limit", "0")
        self.assertEqual(status, peers.EXIT_NOTHING)
        self.assertEqual(report["num_samples"], 0)


if __name__ == "__main__":
    unittest.main()
