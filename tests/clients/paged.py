#!/usr/bin/env python3
"""How many short sequences live in the bytes that eight of the full context take, and what a second
equal prompt costs, also while the first is being answered.

    tests/clients/paged.py build/release/quern models/real/smollm2.gguf

Needs Python alone. Exit status 0 if ten times as many short sequences ran at once and a second
prompt of 4,096 tokens had at most one block computed, else 1.
"""

import argparse
import json
import subprocess
import sys
import threading
import time

from serving import Serving

CONTEXT, SLOTS, BLOCK = 4096, 8, 32
SHORT = 100  # tokens of a prompt, and of its answer


def most_at_once(server, count):
    """The most sequences that /metrics showed running while `count` were asked for at once."""
    answers = []

    def ask(i):
        prompt = [1 + (i * 131 + j) % 1000 for j in range(SHORT)]
        answers.append(server.post("/v1/completions", {
            "prompt": prompt, "max_tokens": SHORT, "ignore_eos": True})[0])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, int(server.metrics()["quern_num_requests_running"]))
        time.sleep(0.05)
    return most, answers.count(200)


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quern")
    parser.add_argument("model")
    parser.add_argument("--sequences", type=int, default=400)
    options = parser.parse_args()
    plan = json.loads(subprocess.run(
        [options.quern, "plan", options.model, "--max-model-len", str(CONTEXT),
         "--max-num-seqs", str(SLOTS), "--json"], capture_output=True, check=True).stdout)
    room = ["--max-model-len", str(CONTEXT + 2 * BLOCK), "--max-queue", str(options.sequences),
            "--max-num-seqs", str(options.sequences),
            "--kv-cache-memory-bytes", str(plan["bytes"]["kv"])]
    with Serving(options.quern, options.model, *room) as server:
        most, answered = most_at_once(server, options.sequences)
        prompt = [7 + 13 * j % 997 for j in range(CONTEXT)]
        body = {"prompt": prompt, "max_tokens": 1}
        first, second = (server.post("/v1/completions", body)[1] for _ in range(2))
        other = {"prompt": prompt[::-1], "max_tokens": 60, "ignore_eos": True}
        statuses = []
        owner = threading.Thread(
            target=lambda: statuses.append(server.post("/v1/completions", other)[0]))
        generated = server.metrics()["quern_generation_tokens_total"]
        owner.start()
        while owner.is_alive() and server.metrics()["quern_generation_tokens_total"] == generated:
            time.sleep(0.02)
        beside = server.post("/v1/completions", other | {"max_tokens": 1})[1]
        owner_runs = owner.is_alive()
        owner.join()
    print(f"{plan['bytes']['kv']} bytes of keys and values, {SLOTS} sequences of {CONTEXT}: "
          f"{most} of {2 * SHORT} at once ({most / SLOTS:.1f} times), {answered} of "
          f"{options.sequences} answered")
    print(f"the same prompt of {CONTEXT}: first {cached(first)} cached, then {cached(second)}; "
          f"{cached(beside)} beside its owner, who was {'running' if owner_runs else 'done'}")
    holds = (most >= 10 * SLOTS and answered == options.sequences and owner_runs and
             statuses == [200] and
             min(cached(second), cached(beside)) >= CONTEXT - BLOCK)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
