#!/usr/bin/env python3
"""What each type of keys and values costs and gives, against f16.

Of each model and type: KL divergence from the same model with f16, perplexity, tokens per second of
decoding at a depth, and how many sequences of that length fit where eight fit with f16. For quality
activations are f32, so that nothing but keys and values differs; speed is that of the default, in
rounds, types in turn, and as a ratio to f16 in the same round.

Exit status: 0, 1 if a command failed.
"""
import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from engines import EngineFailed
from machine import environment
from rounds import run_process, say, turn_order

TYPES = ("f16", "q8_0", "fp8_e4m3", "q4_0")
SEQUENCES = 8


def ask(command, timeout_s=1800):
    return json.loads(run_process(command, timeout_s)[0])


def quality(options, model, kv_type, text):
    found = ask([options.quern, "perplexity", model, text, "--ctx", str(options.ctx),
                 "--reference", model, "--reference-kv-cache-dtype", "f16", "--kv-cache-dtype",
                 kv_type, "--activations", "f32", "--reference-activations", "f32", "--json"])
    return {"perplexity": found["perplexity"], "kl_mean": found["kl"]["mean"],
            "kl_p99": found["kl"]["p99"], "same_top1": found["kl"]["same_top1"],
            "tokens": found["scored"]}


def kv_bytes(options, model, kv_type, sequences):
    plan = ask([options.quern, "plan", model, "--max-model-len", str(options.depth),
                "--max-num-seqs", str(sequences), "--kv-cache-dtype", kv_type, "--json"])
    return plan["bytes"]["kv"]


def speed(options, model, kv_type):
    rows = ask([options.quern, "bench", "model", "-m", model, "-p", "0", "-n", str(options.tokens),
                "-d", str(options.depth - options.tokens), "-t", str(options.threads), "-r", "3",
                "--kv-cache-dtype", kv_type, "-o", "json"])
    return statistics.median(rows[0]["samples_ts"])


def measure(options, model, text):
    rows = {kv_type: quality(options, model, kv_type, text) for kv_type in TYPES}
    room = kv_bytes(options, model, "f16", SEQUENCES)
    for kv_type, row in rows.items():
        one, many = (kv_bytes(options, model, kv_type, n) for n in (1, SEQUENCES))
        each = (many - one) / (SEQUENCES - 1)  # what sequences share is in `one` too
        row["bytes_per_sequence"] = each
        row["sequences"] = int((room - (one - each)) / each)
        row["tokens_per_s"] = []
    for round_idx in range(options.rounds):
        for kv_type in turn_order(TYPES, round_idx):
            rows[kv_type]["tokens_per_s"].append(speed(options, model, kv_type))
            say(f"{Path(model).name}, round {round_idx + 1}: {kv_type} "
                f"{rows[kv_type]['tokens_per_s'][-1]:.1f} tok/s")
    for row in rows.values():
        row["ratios"] = [own / base for own, base
                         in zip(row["tokens_per_s"], rows["f16"]["tokens_per_s"])]
    return rows


def table(report):
    yield ("| model | type | KL mean | KL p99 | same first choice | perplexity | tok/s at depth | "
           "times f16 (range) | sequences |")
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for model, rows in report["models"].items():
        for kv_type, row in rows.items():
            yield (f"| {model} | {kv_type} | {row['kl_mean']:.5f} | {row['kl_p99']:.4f} | "
                   f"{100 * row['same_top1']:.2f} % | {row['perplexity']:.4f} | "
                   f"{statistics.median(row['tokens_per_s']):.4g} | "
                   f"{statistics.median(row['ratios']):.2f} ({min(row['ratios']):.2f} - "
                   f"{max(row['ratios']):.2f}) | {row['sequences']} |")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quern", metavar="BINARY", required=True)
    parser.add_argument("-m", "--model", metavar="FILE", action="append", required=True)
    parser.add_argument("--text", metavar="FILE", required=True, help="what is predicted")
    parser.add_argument("--bytes", type=int, default=100_000, help="of the text, from its start")
    parser.add_argument("--ctx", type=int, default=512, help="tokens of a window of the text")
    parser.add_argument("--depth", type=int, default=4096, help="tokens of a sequence")
    parser.add_argument("--tokens", type=int, default=32, help="decoded up to that depth")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json-out", metavar="FILE")
    options = parser.parse_args(arguments)
    report = {"environment": environment(), "arguments": arguments, "models": {}}
    try:
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder, "text")
            text.write_bytes(Path(options.text).read_bytes()[:options.bytes]
                             .decode("utf-8", "ignore").encode())
            for model in options.model:
                report["models"][Path(model).name] = measure(options, model, str(text))
    except EngineFailed as failure:
        say(str(failure))
        return 1
    if options.json_out:
        Path(options.json_out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
