#!/usr/bin/env python3
"""Hold planned bytes against the truth: promise 3.

usage: check_plan.py QUERN MODEL [MODEL ...] [--settings "dtype:context:sequences,..."]

Each setting runs `quern run MODEL --prompts -` with as many sequences as it names, each filled to the
context, and compares planned_bytes with VmHWM. Prints a markdown table. Exit status 8 if a plan was
below the truth, or above it by more than 5 % and more than 64 MiB.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

MIB = 1 << 20


def measure(quern, model, dtype, context, sequences):
    lines = "".join(
        json.dumps({"prompt_token_ids": [3 + (i * 7 + s) % 200 for i in range(context - 9)],
                    "max_tokens": 8, "ignore_eos": True, "temperature": 0,
                    "cache_salt": f"s{s}"}) + "\n" for s in range(sequences))
    with tempfile.TemporaryDirectory() as folder:
        summary = os.path.join(folder, "summary.json")
        done = subprocess.run(
            [quern, "run", model, "--prompts", "-", "--dtype", dtype, "--max-model-len",
             str(context), "--max-num-seqs", str(sequences), "--summary", summary],
            input=lines, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise SystemExit(f"{model} {dtype}: {done.stderr.strip()}")
        with open(summary, encoding="utf-8") as file:
            return json.load(file)["memory"]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("quern")
    ap.add_argument("models", nargs="+")
    ap.add_argument("--settings", default="auto:512:1,q8_0:1024:4,f32:256:2")
    args = ap.parse_args()
    bad = 0
    print("| model | dtype | context | sequences | planned MiB | VmHWM MiB | above |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for model in args.models:
        for setting in args.settings.split(","):
            dtype, context, sequences = setting.split(":")
            memory = measure(args.quern, model, dtype, int(context), int(sequences))
            planned, truth = memory["planned_bytes"], memory["peak_rss_bytes"]
            over = planned - truth
            ok = over >= 0 and (over <= 0.05 * truth or over <= 64 * MIB)
            bad += not ok
            print(f"| {os.path.basename(model)} | {dtype} | {context} | {sequences} | "
                  f"{planned / MIB:.1f} | {truth / MIB:.1f} | {over / MIB:+.1f} MiB, "
                  f"{100 * over / truth:+.1f} %{'' if ok else ' BAD'} |", flush=True)
    sys.exit(8 if bad else 0)


if __name__ == "__main__":
    main()
