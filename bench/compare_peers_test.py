#!/usr/bin/env python3
"""Tests of compare_peers.py and what it is made of, with engines that are small scripts."""
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
import engines
import foreign_load
import report
import rounds
from peers import driver

# Answers as llama-bench does, with speeds that depend on its divisor and its options only.
FAKE_ENGINE = """#!{python}
import json, os, sys
args = sys.argv[1:]
if args[:2] == ["doctor", "--probe"]:
    figures = {{"read_gb_s": {{"value": {read}}}, "int8_amx": {{"value": 1000.0}}}}
    print(json.dumps({{"ceilings": {{"by_threads": {{args[-1]: {{"figures": figures}}}}}}}}))
    sys.exit({probe_status})
option = lambda name: args[args.index(name) + 1]
open({log!r}, "a").write({name!r} + " " + " ".join(args) + "\\n")
scale = 1 / {divisor} / (2 if "-rtr" in args and option("-rtr") == "0" else 1)
rows = []
if "--tests" in args:
    args += ["-p", "0", "-n", option("--tests").removeprefix("tg").split("@")[0].split("x")[0]]
depth = int(option("-d")) if "-d" in args else 0
batch = int(option("-b")) if "-b" in args and "bench" in args else 1
def add(n_prompt, n_gen, speed):
    if n_prompt or n_gen:
        speed *= batch
        samples = [1.0] + [speed * scale] * (int(option("-r")) - 1)
        rows.append(dict(n_prompt=n_prompt, n_gen=n_gen, n_depth=depth, batch=batch,
                         work_bytes=1e9 * n_gen * batch, work_operations={{}},
                         n_threads=int(option("-t")), build_commit="fake", samples_ts=samples))
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
        self.assertEqual(engines.parse_rows(text), [{"n_gen": 1}])

    def test_an_answer_without_an_array_is_refused(self):
        for text in ("", "no", "{}", "[1]", "[\n{", "[\n 1\n]"):
            with self.assertRaises(engines.EngineFailed, msg=text):
                engines.parse_rows(text)

    def test_the_first_of_several_repetitions_is_dropped(self):
        test = driver.parse_test("pp512")
        row = {"n_prompt": 512, "n_gen": 0, "n_threads": 2}
        self.assertEqual(engines.speed_of([row | {"samples_ts": [1.0, 5.0, 7.0]}], test, 2, 3), 6.0)
        self.assertEqual(engines.speed_of([row | {"samples_ts": [4.0]}], test, 2, 1), 4.0)

    def test_a_result_that_is_not_the_one_asked_for_is_refused(self):
        test = driver.parse_test("pp512")
        good = {"n_prompt": 512, "n_gen": 0, "n_threads": 2, "samples_ts": [4.0]}
        self.assertEqual(engines.speed_of([good], test, 2, 1), 4.0)
        for change in ({"n_prompt": 511}, {"n_gen": 1}, {"n_depth": 64}, {"n_threads": 1},
                       {"samples_ts": []}, {"samples_ts": [0.0]}, {"samples_ts": [float("nan")]},
                       {"samples_ts": None}):
            with self.assertRaises(engines.EngineFailed, msg=change):
                engines.speed_of([good | change], test, 2, 1)
        with self.assertRaises(engines.EngineFailed):
            engines.speed_of([good, good], test, 2, 1)


class LoadTest(unittest.TestCase):
    def test_foreign_time_is_what_neither_we_nor_our_children_used(self):
        before = foreign_load.CpuTimes(wall=100.0, busy=50.0, steal=1.0, ours=5.0)
        after = foreign_load.CpuTimes(wall=110.0, busy=71.0, steal=1.4, ours=23.0)
        slack = 2 * 2 / os.sysconf("SC_CLK_TCK") / 10
        self.assertAlmostEqual(foreign_load.foreign_cores(before, after, 2), 0.3 - slack)
        self.assertAlmostEqual(foreign_load.steal_share(before, after, 2), 0.02)

    def test_rounding_never_makes_foreign_time_negative(self):
        before = foreign_load.CpuTimes(0.0, 0.0, 0.0, 0.0)
        after = foreign_load.CpuTimes(1.0, 1.98, 0.0, 2.0)
        self.assertEqual(foreign_load.foreign_cores(before, after, 2), 0.0)

    def test_the_process_that_used_most_is_named(self):
        before = {1: ("init", 5), 2: ("calm", 50)}
        after = {1: ("init", 6), 2: ("calm", 50), 3: ("busy", 40), os.getpid(): ("self", 900)}
        self.assertEqual(foreign_load.busiest_other(before, after), "busy")


class StatisticsTest(unittest.TestCase):
    def test_turns_alternate_so_that_drift_favours_nobody(self):
        turns = [rounds.turn_order("ABC", r) for r in range(4)]
        self.assertEqual(["".join(t) for t in turns], ["ABC", "CBA", "ABC", "CBA"])

    def test_an_interval_that_holds_one_is_no_difference(self):
        low, high = report.bootstrap_interval([0.98, 1.03, 0.99, 1.02, 1.0, 0.97])
        self.assertEqual(report.verdict_of(low, high), "no difference shown")

    def test_a_planted_slowdown_is_found(self):
        low, high = report.bootstrap_interval([0.97, 0.985, 0.98, 0.975, 0.98, 0.99])
        self.assertEqual(report.verdict_of(low, high), "quern slower")
        self.assertLess(0.96, low)

    def test_the_interval_of_equal_values_is_that_value(self):
        self.assertEqual(report.bootstrap_interval([2.0] * 5), (2.0, 2.0))


class WholeRunTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        self.log = self.root / "log"
        self.model = self.root / "model.gguf"
        self.model.write_bytes(b"GGUF")

    def engine(self, name, divisor=1.0, text=None, read="40.0", probe_status=0):
        path = self.root / name
        path.write_text(text or FAKE_ENGINE.format(
            python=sys.executable, log=str(self.log), name=name, divisor=divisor, read=read,
            probe_status=probe_status))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def run_main(self, *arguments, max_foreign="99", max_steal="99", models=None, probe=False):
        out, err = io.StringIO(), io.StringIO()
        report = self.root / "report.json"
        models = models or ["-m", str(self.model)]
        arguments = [*arguments, *([] if probe else ["--no-probe"])]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = peers.main([*arguments, *models, "--retry-pause", "0",
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
        self.assertIn("| model.gguf | 2 | tg128 | ik | -fa 1 -rtr 1 -thp 1 | 5.00 |", table)
        self.assertIn("| model.gguf | 2 | tg128 | 10.00 | ik | 5.00 | 2.000", table)

    def test_calibration_chooses_the_faster_variant(self):
        ik = peers.KINDS["ik"]
        peers.KINDS["ik"] = engines.LlamaBench(tuple(reversed(ik.variants)))
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

    def test_depths_and_batches_are_calls_of_their_own(self):
        status, report, _table = self.run_main(
            "--quern", self.engine("quern"), "--rounds", "5",
            "--tests", "tg8,pp16,tg8@d64,tg8x4", "-t", "1,2")
        self.assertEqual(status, 0)
        rows = {(r["test"], r["threads"]): r["median"] for r in report["rows"]}
        self.assertEqual({k: v for k, v in rows.items() if k[1] == 1},
                         {("tg8", 1): 10.0, ("pp16", 1): 100.0, ("tg8@d64", 1): 10.0,
                          ("tg8x4", 1): 40.0})
        lines = self.log.read_text().splitlines()
        self.assertEqual(len(lines), 5 * 2 * 3)
        self.assertIn("-p 16 -n 8 -d 0 -b 1 -t 1", lines[0])
        self.assertIn("-p 0 -n 8 -d 64 -b 1 -t 1", lines[1])
        self.assertIn("-p 0 -n 8 -d 0 -b 4 -t 1", lines[2])

    def test_each_engine_loads_the_model_as_it_stores_it(self):
        folder = self.root / "converted"
        folder.mkdir()
        (folder / "weights").write_bytes(b"1234")
        status, report, table = self.run_main(
            "--quern", self.engine("quern"), "--ik", self.engine("ik", divisor=4.0),
            "--engine", f"ct2:ctranslate2={self.engine('python', divisor=2.0)}",
            "--tests", "tg8", "--rounds", "5", "--no-calibrate",
            models=["--model", f"small:gguf={self.model}", "--model", f"small:ct2={folder}",
                    "--model", f"other:quern={self.model}"])
        self.assertEqual(status, 0)
        rows = {(r["model"], r["engine"]): r for r in report["rows"]}
        self.assertEqual(set(rows), {("small", "quern"), ("small", "ik"), ("small", "ct2"),
                                     ("other", "quern")})
        self.assertEqual([k for k, r in rows.items() if r["best_peer"]], [("small", "ct2")])
        self.assertEqual(rows["small", "ct2"]["ratio"], 2.0)
        self.assertIn("| small | 2 | tg8 | 10.00 | ct2 | 5.00 | 2.000", table)
        self.assertIn(f"ctranslate2_bench.py -m {folder}", self.log.read_text())
        sizes = {(m["name"], m["for"]): m["bytes"] for m in report["models"]}
        self.assertEqual(sizes["small", "ct2"], 4)

    def test_paths_may_be_relative_to_where_the_script_is_called(self):
        self.engine("quern")
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.root)
        status, _report, _table = self.run_main("--quern", "./quern", "--rounds", "5",
                                                models=["-m", "model.gguf"])
        self.assertEqual(status, 0)

    def test_an_added_variant_is_tried_first(self):
        self.run_main("--quern", self.engine("quern"), "--rounds", "5", "--no-calibrate",
                      "--variant", "quern=-ctk q8_0")
        self.assertTrue(all(line.endswith("-o json -ctk q8_0")
                            for line in self.log.read_text().splitlines()))

    def test_ceilings_stand_beside_each_sample(self):
        _status, report, table = self.run_main(
            "--quern", self.engine("quern"), "--rounds", "5", "--tests", "tg8", probe=True)
        self.assertEqual(report["samples"][0]["ceilings_before"]["read_gb_s"], 40.0)
        # 10 tokens a second of 1 GB each, of 40 GB a second.
        self.assertAlmostEqual(report["rows"][0]["share_of_ceiling"], 0.25)
        self.assertIn("| 25.0 % | 40.0 |", table)

    def test_a_sample_during_which_memory_changed_does_not_count(self):
        counter = self.root / "count"
        drifting = self.engine("quern", read=(
            f"(open({str(counter)!r}, 'a').write('x'), "
            f"[40.0, 20.0][len(open({str(counter)!r}).read()) % 2])[1]"))
        _status, report, _table = self.run_main(
            "--quern", drifting, "--rounds", "5", "--retries", "0", "--tests", "tg8", probe=True)
        self.assertEqual(report["rejected_samples"], 5)
        self.assertIn("memory read went from", report["samples"][0]["faults"][0])

    def test_a_quern_without_the_probe_is_said_once_and_measured(self):
        status, report, table = self.run_main(
            "--quern", self.engine("quern", probe_status=2), "--rounds", "5", "--tests", "tg8",
            probe=True)
        self.assertEqual(status, 0)
        self.assertIn("Ceilings: exit status 2", table)
        self.assertEqual(report["samples"][0]["ceilings_before"], {})

    def test_sequences_together_are_measured_with_the_tool_beside_llama_bench(self):
        ik = self.engine("ik")
        status, report, table = self.run_main("--ik", ik, "--rounds", "5", "--tests", "tg8,tg8x4",
                                              "--no-calibrate")
        self.assertEqual(status, peers.EXIT_INVALID)
        self.assertIn("cannot start", table)
        self.assertEqual({r["test"]: r["valid_rounds"] for r in report["rows"]},
                         {"tg8": 5, "tg8x4": 0})
        self.engine("llama-batched-bench", text="#!/bin/sh\n" + "".join(
            f"echo '| 1 | 8 | 4 | 36 | 0.1 | 40.00 | {t} | 12.80 | 2.6 | 13.8 |' >&2\n"
            for t in ("9.0", "2.0")))
        _status, report, _table = self.run_main("--ik", ik, "--rounds", "5", "--tests", "tg8x4",
                                                "--no-calibrate")
        self.assertEqual(report["rows"][0]["median"], 16.0)

    def test_options_are_spelled_as_the_tool_for_sequences_wants_them(self):
        def commands(kind, test):
            tests = [driver.parse_test(test)]
            return [call.command for call in peers.KINDS[kind].calls(
                "/bin/llama-bench", "m", tests, peers.KINDS[kind].variants[-1], 2, 3)]

        self.assertEqual(commands("ik", "tg8@d64"), [[
            "/bin/llama-batched-bench", "-m", "m", "-c", "256", "-b", "2048", "-ub", "512", "-npp",
            "64", "-ntg", "8", "-npl", "1,1,1", "-t", "2", "-tb", "2", "-fa", "1", "-thp"]])
        self.assertEqual(commands("mainline", "tg8x4")[0][-3:], ["-fa", "on", "--no-repack"])
        self.assertEqual(commands("mainline", "tg8@d64")[0][:7], [
            "/bin/llama-bench", "-m", "m", "-p", "0", "-n", "8"])


class UsageTest(unittest.TestCase):
    def refused(self, *arguments):
        err = io.StringIO()
        with contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as exit_of:
            peers.main(list(arguments))
        self.assertEqual(exit_of.exception.code, 2)
        return err.getvalue().splitlines()[-1]

    def test_what_is_wrong_is_named(self):
        model = ["-m", __file__]
        engine = ["--quern", "q"]
        self.assertIn("no engine given", self.refused(*model))
        self.assertIn("there is no kind 'fast'", self.refused(*model, "--engine", "x:fast=q"))
        self.assertIn("given twice", self.refused(*model, *engine, "--engine", "quern=r"))
        self.assertIn("is not there", self.refused(*engine, "-m", "/no/such/file"))
        self.assertIn("no engine 'ik' is given",
                      self.refused(*engine, "-m", f"a:ik={__file__}"))
        self.assertIn("wanted ppN or tgN", self.refused(*model, *engine, "--tests", "tg"))
        self.assertIn("timed alone", self.refused(*model, *engine, "--tests", "pp8@d4"))
        self.assertIn("names one twice", self.refused(*model, *engine, "-t", "2,2"))
        self.assertIn("wanted at least 5", self.refused(*model, *engine, "--rounds", "4"))


class DriverTest(unittest.TestCase):
    """peers/driver.py with an engine whose steps take a known time."""

    def test_prompt_and_decoding_are_timed_apart(self):
        now = [100.0]
        original = driver.time.perf_counter
        driver.time.perf_counter = lambda: now[0]
        self.addCleanup(setattr, driver.time, "perf_counter", original)

        class Fake:
            vocab_size = 1000

            def generate(self, prompts, new_tokens, on_tokens):
                now[0] += 0.25 * len(prompts[0])
                on_tokens(1)
                for tokens in range(2, new_tokens + 1):
                    now[0] += 0.5
                    on_tokens(tokens)

        self.assertEqual(driver.timed_run(Fake(), driver.parse_test("pp16"), 0), 4.0)
        self.assertEqual(driver.timed_run(Fake(), driver.parse_test("tg8@d64x2"), 0), 4.0)

    def test_an_engine_that_gives_too_few_tokens_is_refused(self):
        class Fake:
            vocab_size = 1000

            def generate(self, prompts, new_tokens, on_tokens):
                on_tokens(1)

        with self.assertRaises(SystemExit):
            driver.timed_run(Fake(), driver.parse_test("tg8"), 0)

    def test_an_engine_that_tells_of_its_first_token_is_held_to_the_clock(self):
        clock = driver.StepClock()
        clock.told(1e-9, 8)
        self.assertAlmostEqual(clock.first - clock.begin, 1e-9, places=6)
        with self.assertRaises(SystemExit):
            driver.StepClock().told(3600.0, 8)

    def test_prompts_differ_between_sequences_and_repetitions(self):
        test = driver.parse_test("tg8@d64x3")
        first = driver.meaningless_prompts(test, 1000, 0)
        again = driver.meaningless_prompts(test, 1000, 1)
        self.assertEqual(len({tuple(prompt) for prompt in first + again}), 6)
        self.assertEqual({len(prompt) for prompt in first}, {64})
        self.assertTrue(all(256 <= token < 500 for prompt in first for token in prompt))


if __name__ == "__main__":
    unittest.main()
