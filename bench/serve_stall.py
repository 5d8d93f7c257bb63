#!/usr/bin/env python3
"""What a long prompt costs those whose answers are being written.

Streams decode; after a while a long prompt arrives. The gaps between the tokens of the streams
before it comes (idle) and while it is computed (from its arrival to its first token) are compared,
in one run on one server, and servers take turns: A B B A. Answers grow meanwhile, and a longer one
takes longer by itself: so the same streams also run without the prompt, and the gaps before the
same tokens are compared too (alone). The rate is of all tokens, those of prompts and those of
answers, over the time until everything is answered.

Exit status: 0, 1 if a server or a load failed.
"""
import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from engines import EngineFailed
from machine import environment
from rounds import say, turn_order
from servers import Room, Running, add_arguments, servers_of, tokenizer_of

PROMPT_OF_STREAM = 16


def percentile(values, share):
    """By linear interpolation, as numpy and `quern bench serve` do."""
    values = sorted(values)
    at = share * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def write_trace(path, options, with_prompt):
    streams = [{"timestamp": 0, "input_length": PROMPT_OF_STREAM, "output_length": options.osl}]
    late = {"timestamp": 1000 * options.after, "input_length": options.isl, "output_length": 1}
    lines = [json.dumps(row) for row in streams * options.streams + [late] * with_prompt]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["--dataset-name", "trace", "--dataset-path", str(path), "--arrivals", "trace",
            *tokenizer_of(options)]


def places_between(result, options, begin, end):
    """Which gaps of which streams end within [begin, end): pairs of a stream and a place."""
    for i in range(options.streams):
        now = result["start_times"][i] + result["ttfts"][i]
        for place, gap in enumerate(result["itls"][i]):
            now += gap
            if begin <= now < end:
                yield i, place


def gaps_at(result, places):
    """In milliseconds; a place that an answer does not have is left out."""
    return [1e3 * result["itls"][i][place] for i, place in places
            if place < len(result["itls"][i])]


def figures(result, alone, options):
    late = options.streams
    for load, count in ((result, options.streams + 1), (alone, options.streams)):
        if load["outcomes"] != ["completed"] * count:
            raise EngineFailed(f"not all were answered: {load['errors']}")
    start = result["start_times"][late]
    first_token = start + result["ttfts"][late]
    decoding = max(result["start_times"][i] + result["ttfts"][i] for i in range(options.streams))
    idle = gaps_at(result, places_between(result, options, decoding, start))
    places = list(places_between(result, options, start, first_token))
    during, same_alone = gaps_at(result, places), gaps_at(alone, places)
    # A server that computes thousands of prompt tokens in one step has few gaps, and long ones.
    if len(idle) < 100 or min(len(during), len(same_alone)) < options.streams:
        raise EngineFailed(f"{len(idle)} gaps before the prompt and {len(during)} during it "
                           f"({len(same_alone)} without it), wanted 100 and {options.streams}: use --after and --osl")
    tokens = sum(result["input_lens"]) + sum(result["output_lens"])
    row = {"prompt_tokens": result["input_lens"][late], "ttft_s": result["ttfts"][late],
           "tokens_per_s": tokens / result["duration"], "duration_s": result["duration"],
           "gaps_idle": len(idle), "gaps_during": len(during)}
    for name, gaps in (("idle", idle), ("alone", same_alone), ("during", during)):
        for share in (0.5, 0.95, 0.99):
            row[f"{name}_p{100 * share:g}_ms"] = percentile(gaps, share)
        row[f"{name}_max_ms"] = max(gaps)
    row["p95_stretch"] = row["during_p95_ms"] / row["idle_p95_ms"]
    row["p95_stretch_alone"] = row["during_p95_ms"] / row["alone_p95_ms"]
    return row


def table(rows, servers):
    names = ("gaps_during", "idle_p50_ms", "idle_p95_ms", "alone_p95_ms", "during_p50_ms",
             "during_p95_ms", "during_p99_ms", "during_max_ms", "p95_stretch", "p95_stretch_alone",
             "prompt_tokens", "ttft_s", "tokens_per_s")
    yield f"| server | rounds | {' | '.join(names)} |"
    yield f"| --- | ---: | {' | '.join('---:' for _ in names)} |"
    for server in servers:
        own = [row for row in rows if row["server"] == server.name]
        if own:
            cells = (f"{statistics.median(row[name] for row in own):.4g} "
                     f"({min(row[name] for row in own):.4g} - {max(row[name] for row in own):.4g})"
                     for name in names)
            yield f"| {server.name} | {len(own)} | {' | '.join(cells)} |"


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--isl", type=int, default=8192, help="tokens, or words, of the long prompt")
    parser.add_argument("--osl", type=int, default=1024, help="tokens of each stream's answer")
    parser.add_argument("--after", type=float, default=15, help="seconds until the prompt arrives")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    servers = servers_of(parser, options)
    most = max(2 * options.isl, 2 * PROMPT_OF_STREAM + options.osl) + 64
    room = Room(options.threads, options.streams + 1, options.max_model_len or most)
    report = {"environment": environment(), "arguments": arguments, "rows": []}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        load, load_alone = (write_trace(Path(folder, f"trace{with_prompt:d}.jsonl"), options,
                                        with_prompt) for with_prompt in (True, False))
        for round_idx in range(options.rounds):
            for server in turn_order(servers, round_idx):
                try:
                    with Running(server, room) as running:
                        seed = ["--seed", str(round_idx + 1)]
                        row = figures(running.load(options.quern, load + seed),
                                      running.load(options.quern, load_alone + seed), options)
                except EngineFailed as failure:
                    say(f"round {round_idx + 1}: {server.name}: {failure}")
                    failed = True
                    continue
                report["rows"].append({"server": server.name, "round": round_idx, **row})
                say(f"round {round_idx + 1}: {server.name}: idle p95 {row['idle_p95_ms']:.1f} ms, "
                    f"during {row['during_p95_ms']:.1f} ms, p99 {row['during_p99_ms']:.1f} ms, "
                    f"{row['tokens_per_s']:.1f} tok/s")
    if options.json_out:
        Path(options.json_out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(report["rows"], servers)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
