#!/usr/bin/env python3
"""Tests of compare_servers.py, serve_stall.py and serve_overload.py, with a server and a client that are one script."""
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
import compare_servers
import serve_overload
import serve_stall
import servers
from engines import EngineFailed

# As a server it answers /health; as a client it writes a result of known figures.
FAKE = """#!{python}
import http.server, json, os, sys, time
args = sys.argv[1:]
open({log!r}, "a").write(" ".join(args) + "\\n")
option = lambda name: args[args.index(name) + 1]
if {broken!r}:
    sys.exit("no such model")
if args[:2] == ["bench", "serve"]:
    rows = 0
    if option("--dataset-name") == "trace":
        rows = sum(1 for _ in open(option("--dataset-path")))
    count = rows or int(option("--num-prompts"))
    slow = {slow}
    result = dict(
        completed=count, duration=20.0, output_throughput=100.0 / slow,
        request_throughput=10.0, client_cpu_s=1.0, latencies=[0.01] * count, median_ttft_ms=10.0 * slow,
        p99_ttft_ms=20.0 * slow, median_tpot_ms=5.0 * slow, p99_tpot_ms=6.0 * slow,
        outcomes=["completed"] * count, errors=[""] * count, input_lens=[16] * count,
        output_lens=[200] * count, ttfts=[0.5] * (count - 1) + [5.0],
        start_times=[0.0] * (count - 1) + [4.02],
        itls=[[0.05] * 70 + [0.1 * slow] * 45 + [0.05] * 50] * (count - 1) + [[]])
    with open(os.path.join(option("--result-dir"), option("--result-filename")), "w") as file:
        json.dump(result, file)
    if "--benchmark-duration" in args:
        open({log!r} + ".full", "w").close()
        time.sleep(1)
        os.remove({log!r} + ".full")
    sys.exit({status})
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if os.path.exists({log!r} + ".full") else 200)
        self.send_header("Retry-After", "1")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(option("--port"))), Health).serve_forever()
"""


class WithFakes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.log = self.folder / "log"
        Path(self.folder, "model").write_text("weights", encoding="utf-8")

    def fake(self, name, slow=1, broken=False, status=0):
        path = self.folder / name
        path.write_text(FAKE.format(python=sys.executable, log=str(self.log), slow=slow,
                                    broken=broken, status=status), encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def run_script(self, script, *arguments):
        out = self.folder / "out.json"
        text, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(said):
            status = script.main([*arguments, "-m", str(self.folder / "model"), "-t", "2",
                                  "--json-out", str(out)])
        return status, text.getvalue(), said.getvalue(), json.loads(out.read_text())


class CompareServersTest(WithFakes):
    def test_servers_take_turns_and_every_load_is_run(self):
        own, other = self.fake("quern"), self.fake("other")
        status, text, _, report = self.run_script(
            compare_servers, "--quern", own, "--server", f"peer:llama_server={other}",
            "--users", "1,4", "--rounds", "2", "--options-of", "peer=-fa on")
        self.assertEqual(status, 0)
        self.assertEqual([(row["round"], row["server"], row["users"]) for row in report["rows"]],
                         [(0, "quern", 1), (0, "quern", 4), (0, "peer", 1), (0, "peer", 4),
                          (1, "peer", 1), (1, "peer", 4), (1, "quern", 1), (1, "quern", 4)])
        log = self.log.read_text()
        self.assertIn("--max-num-seqs 4", log)
        self.assertIn("-np 4", log)
        self.assertIn("-fa on", log)
        self.assertIn("--max-concurrency 4 --num-prompts 8", log)
        self.assertIn("| 4 | 100 | 100 [1.00 (2 rounds)] |", text)

    def test_ratios_say_how_many_times_quern_is_better(self):
        self.assertEqual(compare_servers.ratio_cell({0: 10.0}, {0: 5.0}, True), "2.00 (1 rounds)")
        self.assertEqual(compare_servers.ratio_cell({0: 10.0}, {0: 5.0}, False), "0.50 (1 rounds)")
        self.assertEqual(compare_servers.ratio_cell({0: 10.0}, {1: 5.0}, True), "-")
        many = {i: 3.0 for i in range(5)}
        self.assertEqual(compare_servers.ratio_cell(many, many, True), "1.00 (1.00 - 1.00)")

    def test_a_server_that_does_not_start_is_named_with_what_it_said(self):
        own, other = self.fake("quern"), self.fake("other", broken=True)
        status, _, said, report = self.run_script(
            compare_servers, "--quern", own, "--server", f"peer:llama_server={other}",
            "--users", "1", "--rounds", "1")
        self.assertEqual(status, 1)
        self.assertIn("peer ended with 1; it said last: no such model", said)
        self.assertEqual({row["server"] for row in report["rows"]}, {"quern"})

    def test_a_load_that_does_not_count_gives_no_row(self):
        status, _, said, report = self.run_script(
            compare_servers, "--quern", self.fake("quern", status=8), "--users", "1", "--rounds",
            "1")
        self.assertEqual((status, report["rows"]), (1, []))
        self.assertIn("quern bench serve ended with 8", said)

    def test_wrong_usage_is_refused(self):
        for wrong in (["--server", "peer=x"], ["--server", "peer:nothing=x"],
                      ["--model-of", "nobody=x"], ["--options-of", "quern"]):
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as exit_:
                compare_servers.main(["--quern", "quern", "-m", "model", *wrong])
            self.assertEqual(exit_.exception.code, 2)


class ServeStallTest(WithFakes):
    def test_gaps_before_and_during_the_prompt_are_told_apart(self):
        status, text, _, report = self.run_script(
            serve_stall, "--quern", self.fake("quern", slow=3), "--rounds", "1", "--after", "4")
        self.assertEqual(status, 0)
        row = report["rows"][0]
        # The prompt comes at 4.02 s, when each of 8 streams has had 70 gaps of 50 ms; until its
        # first token at 9.02 s there are 16 of 300 ms.
        self.assertAlmostEqual(row["idle_p95_ms"], 50)
        self.assertAlmostEqual(row["during_p50_ms"], 300)
        self.assertAlmostEqual(row["p95_stretch"], 6)
        self.assertAlmostEqual(row["p95_stretch_alone"], 1)  # the fake knows no prompts
        self.assertEqual((row["gaps_idle"], row["gaps_during"]), (8 * 70, 8 * 16))
        self.assertAlmostEqual(row["tokens_per_s"], 9 * (16 + 200) / 20)
        self.assertIn("| quern | 1 |", text)

    def test_too_few_gaps_give_no_figure(self):
        status, _, said, report = self.run_script(
            serve_stall, "--quern", self.fake("quern"), "--streams", "1", "--rounds", "1")
        self.assertEqual((status, report["rows"]), (1, []))
        self.assertIn("wanted 100 and", said)

    def test_percentiles_lie_between_values(self):
        self.assertEqual(serve_stall.percentile([4, 1, 3, 2], 0.5), 2.5)
        self.assertEqual(serve_stall.percentile([7], 0.99), 7)


class ServeOverloadTest(WithFakes):
    def test_refusals_are_watched_and_the_peak_is_the_measure(self):
        status, text, _, report = self.run_script(
            serve_overload, "--quern", self.fake("quern"), "--sequences", "2", "--seconds", "1")
        self.assertEqual(status, 0)
        self.assertEqual(report["arrivals_per_s"], 100)
        self.assertEqual(report["goodput_share_of_peak"], 1)
        self.assertEqual(report["faults"], [])
        self.assertGreater(report["watcher_refusal_p99_ms"], 0)
        self.assertGreater(report["rss_most_mib"], 1)
        self.assertLess(report["seconds_until_normal"], 10)
        self.assertIn('"health_p99_ms"', text)


class IsComparableTest(unittest.TestCase):
    @staticmethod
    def comparable(**values):
        bounds = {"steal": 0.01, "ttft_beyond_server_ms": 1, "send_lag_p99_ms": 5}
        checks = {name: {"value": value, "bound": bounds[name]} for name, value in values.items()}
        broken = [name for name, value in values.items()
                  if value is not None and abs(value) > bounds[name]]
        return servers.is_comparable({"validity": {"checks": checks, "reasons": broken}})

    def test_what_only_one_server_has_to_answer_for_does_not_count_against_it(self):
        self.assertTrue(self.comparable(steal=0.03, ttft_beyond_server_ms=-2))
        self.assertTrue(self.comparable(ttft_beyond_server_ms=2, send_lag_p99_ms=None))
        self.assertFalse(self.comparable(steal=0.06))
        self.assertFalse(self.comparable(steal=0.03, send_lag_p99_ms=6))

    def test_a_reason_that_no_check_explains_counts(self):
        self.assertFalse(servers.is_comparable({}))
        self.assertFalse(servers.is_comparable({"validity": {"reasons": ["it broke"]}}))


class RunningTest(WithFakes):
    def test_nothing_is_left_when_the_block_ends(self):
        server = servers.Server("s", "quern", self.fake("quern"), "model")
        with servers.Running(server, servers.Room(1, 1, 64)) as running:
            pid = running.process.pid
        with self.assertRaises(ProcessLookupError):
            os.killpg(pid, 0)

    def test_a_program_that_is_not_there_is_said(self):
        server = servers.Server("s", "quern", str(self.folder / "none"), "model")
        with self.assertRaisesRegex(EngineFailed, "cannot start .*none: No such file"):
            with servers.Running(server, servers.Room(1, 1, 64)):
                self.fail("it started")


if __name__ == "__main__":
    unittest.main()
