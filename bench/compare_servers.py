#!/usr/bin/env python3
"""Throughput and latency of servers of the OpenAI API, by how many users they have at once.

Every server gets the same prompts from the same client (`quern bench serve`, closed loop, greedy,
past any end token), and servers take turns, A B C C B A: ratios are of values within a round. The
client runs on the same cores as the server; its CPU time stands in the result.

Exit status: 0, 1 if a server or a load failed.
"""
import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from engines import EngineFailed
from machine import environment
from report import BASE, MIN_ROUNDS, bootstrap_interval
from rounds import say, turn_order
from servers import Room, Running, add_arguments, servers_of, tokenizer_of

# Of the result of `quern bench serve`; False: less is better.
METRICS = {"output_throughput": True, "median_ttft_ms": False, "p99_ttft_ms": False,
           "median_tpot_ms": False, "p99_tpot_ms": False}
# Long lists, and what is the same for every row; the medians and percentiles stay.
DETAILS = ("definitions", "input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times",
           "queue_times", "outcomes", "generated_texts", "errors")


def take_turn(options, server, round_idx):
    """One start of the server, then a load for each number of users."""
    most = 2 * options.isl + options.osl + 32
    room = Room(options.threads, max(options.users), options.max_model_len or most)
    with Running(server, room) as running:
        for users in options.users:
            count = max(options.per_user * users, options.at_least)
            result = running.load(options.quern, [
                "--dataset-name", "random", "--isl", str(options.isl), "--osl", str(options.osl),
                *tokenizer_of(options), "--num-warmups", "1",
                "--max-concurrency", str(users), "--num-prompts", str(count),
                "--seed", str(1000 * round_idx + users)])
            if result["completed"] != count:
                raise EngineFailed(f"{users} users: {result['completed']} of {count} answered: "
                                   f"{result.get('error_counts')}")
            for name in DETAILS:
                result.pop(name, None)
            say(f"round {round_idx + 1}: {server.name}, {users} users: "
                f"{result['output_throughput']:.1f} tok/s, TTFT {result['median_ttft_ms']:.0f} ms, "
                f"TPOT {result['median_tpot_ms']:.1f} ms")
            yield {"server": server.name, "round": round_idx, "users": users, **result}


def ratio_cell(base, own, more_is_better):
    """How many times quern is better, in the rounds that both have."""
    ratios = [base[r] / own[r] if more_is_better else own[r] / base[r]
              for r in sorted(base.keys() & own.keys())]
    if not ratios:
        return "-"
    if len(ratios) < MIN_ROUNDS:
        return f"{statistics.median(ratios):.2f} ({len(ratios)} rounds)"
    low, high = bootstrap_interval(ratios)
    return f"{statistics.median(ratios):.2f} ({low:.2f} - {high:.2f})"


def tables(rows, servers, users):
    for name, more_is_better in METRICS.items():
        yield f"**{name}**, median of the rounds; in brackets how many times quern is better"
        yield ""
        yield f"| users | {' | '.join(server.name for server in servers)} |"
        yield f"| ---: | {' | '.join('---:' for _ in servers)} |"
        for count in users:
            by_server = {server.name: {row["round"]: row[name] for row in rows
                                       if (row["server"], row["users"]) == (server.name, count)}
                         for server in servers}
            cells = []
            for server in servers:
                own = by_server[server.name]
                cell = f"{statistics.median(own.values()):.4g}" if own else "-"
                if own and server.name != BASE:
                    cell += f" [{ratio_cell(by_server[BASE], own, more_is_better)}]"
                cells.append(cell)
            yield f"| {count} | {' | '.join(cells)} |"
        yield ""


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--users", default="1,2,4,8,16,32",
                        type=lambda text: [int(count) for count in text.split(",")])
    parser.add_argument("--isl", type=int, default=128, help="tokens, or words, of a prompt")
    parser.add_argument("--osl", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--per-user", type=int, default=2, help="requests for each user")
    parser.add_argument("--at-least", type=int, default=4, help="requests of one load")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS)
    parser.add_argument("--time-limit", type=float, default=60, metavar="MINUTES",
                        help="no server is started after this")
    options = parser.parse_args(arguments)
    servers = servers_of(parser, options)
    stop = time.monotonic() + 60 * options.time_limit
    report = {"environment": environment(), "arguments": arguments, "rows": []}
    failed = False
    for round_idx in range(options.rounds):
        for server in turn_order(servers, round_idx):
            if time.monotonic() > stop:
                say(f"time limit: {server.name} not started in round {round_idx + 1}")
                continue
            try:
                report["rows"] += take_turn(options, server, round_idx)
            except EngineFailed as failure:
                say(f"round {round_idx + 1}: {server.name}: {failure}")
                failed = True
    if options.json_out:
        Path(options.json_out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n".join(tables(report["rows"], servers, options.users)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
