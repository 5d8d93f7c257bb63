#!/usr/bin/env python3
"""A server under ten times what it can do: goodput, refusals, memory, and the time back to normal.

First a closed loop with as many users as run at once finds the peak. Then requests arrive at
`--times` that rate for `--seconds`, whatever the answers, while a watcher asks /health, asks for a
token as a client of its own and reads the process's memory. After the last answer the watcher asks
again until a token comes as fast as it did before the load.

Exit status: 0, 1 if the server or a load failed.
"""
import argparse
import http.client
import json
import statistics
import sys
import threading
import time
from pathlib import Path

from engines import EngineFailed
from machine import environment
from rounds import say
from serve_stall import percentile
from servers import Room, Running, add_arguments, servers_of, tokenizer_of


def ask(port, method, path, body=None):
    """(status, headers, milliseconds) of one request on a connection of its own."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, json.dumps(body) if body else None)
        response = connection.getresponse()
        response.read()
    finally:
        connection.close()
    return response.status, response.headers, 1e3 * (time.monotonic() - begun)


ONE_TOKEN = {"prompt": "a", "max_tokens": 1}


def rss_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Repeated(threading.Thread):
    """Calls what it is given, with pauses, until it is told to stop; notes what fails."""

    def __init__(self, call):
        super().__init__()
        self.call, self.stop, self.faults = call, threading.Event(), []

    def run(self):
        while not self.stop.wait(0.1):
            try:
                self.call(self.faults)
            except (OSError, http.client.HTTPException) as error:
                self.faults.append(repr(error))


class Watcher:
    """Its lists grow while the block runs: /health by the clock, and a client that asks for a
    token."""

    def __init__(self, running):
        self.port, self.pid = running.port, running.process.pid
        self.health_ms, self.refused_ms, self.rss = [], [], []
        self.threads = [Repeated(self.look), Repeated(self.ask_for_a_token)]

    def look(self, faults):
        self.rss.append(rss_mib(self.pid))
        status, _, took = ask(self.port, "GET", "/health")
        self.health_ms.append(took)
        if status != 200:
            faults.append(f"/health answered {status}")

    def ask_for_a_token(self, faults):
        status, headers, took = ask(self.port, "POST", "/v1/completions", ONE_TOKEN)
        if status == 200:
            return
        self.refused_ms.append(took)
        if status != 503 or "Retry-After" not in headers:
            faults.append(f"a refusal is {status}, Retry-After {headers.get('Retry-After')}")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.stop.set()
        for thread in self.threads:
            thread.join()

    def faults(self):
        return [fault for thread in self.threads for fault in thread.faults]


def seconds_until_normal(port, before_ms):
    """Until a token comes within twice the time it took before."""
    begun = time.monotonic()
    while time.monotonic() - begun < 60:
        status, _, took = ask(port, "POST", "/v1/completions", ONE_TOKEN)
        if status == 200 and took <= 2 * before_ms + 5:
            return time.monotonic() - begun
        time.sleep(0.02)
    raise EngineFailed("60 s after the load a token still takes longer than before it")


def measure(options, running):
    random = ["--dataset-name", "random", "--isl", str(options.isl), "--osl", str(options.osl),
              *tokenizer_of(options), "--seed", str(options.seed)]
    before_ms = statistics.median(
        ask(running.port, "POST", "/v1/completions", ONE_TOKEN)[2] for _ in range(9))
    idle_mib = rss_mib(running.process.pid)
    peak = running.load(options.quern, random + [
        "--max-concurrency", str(options.sequences), "--num-prompts", str(8 * options.sequences)])
    rate = options.times * peak["request_throughput"]
    say(f"peak {peak['output_throughput']:.1f} tok/s, {peak['request_throughput']:.2f} requests/s; "
        f"{rate:.1f} arrive")
    with Watcher(running) as watcher:
        load = running.load(options.quern, random + [
            "--request-rate", f"{rate:.3f}", "--benchmark-duration", str(options.seconds),
            "--num-prompts", str(int(rate * options.seconds * 1.2) + 10)], whole=False)
    normal_s = seconds_until_normal(running.port, before_ms)
    outcomes = load["outcomes"]
    refused = [1e3 * s for s, what in zip(load["latencies"], outcomes) if what == "refused"]
    return {
        "peak_tokens_per_s": peak["output_throughput"], "arrivals_per_s": rate,
        "goodput_tokens_per_s": load["output_throughput"],
        "goodput_share_of_peak": load["output_throughput"] / peak["output_throughput"],
        "outcomes": {what: outcomes.count(what) for what in sorted(set(outcomes))},
        "refusal_ms": {f"p{p:g}": percentile(refused, p / 100) for p in (50, 99, 100)}
        if refused else None,
        "watcher_refusal_p99_ms": percentile(watcher.refused_ms, 0.99)
        if watcher.refused_ms else None,
        "health_p99_ms": percentile(watcher.health_ms, 0.99), "faults": watcher.faults()[:20],
        "rss_idle_mib": idle_mib, "rss_most_mib": max(watcher.rss),
        "seconds_until_normal": normal_s, "client_cpu_s": load["client_cpu_s"],
        "validity": load.get("validity")}


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--sequences", type=int, default=16, help="that run at once")
    parser.add_argument("--isl", type=int, default=64)
    parser.add_argument("--osl", type=int, default=64)
    parser.add_argument("--times", type=float, default=10, help="the peak's rate")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    server = servers_of(parser, options)[-1]  # the one that --server names, else quern
    try:
        with Running(server, Room(options.threads, options.sequences, 512)) as running:
            result = measure(options, running)
    except EngineFailed as failure:
        say(str(failure))
        return 1
    report = {"environment": environment(), "arguments": arguments, **result}
    text = json.dumps(report, indent=1)
    if options.json_out:
        Path(options.json_out).write_text(text + "\n", encoding="utf-8")
    report.pop("environment")
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
