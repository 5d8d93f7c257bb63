#!/usr/bin/env python3
"""Compares quern's speed with that of other engines on this machine.

Engines take turns within minutes of each other, A B C C B A ..., because a machine's speed drifts
by more in an hour than most optimisations gain. One round gives one value per engine; quern and a
peer are compared by the ratio of their values in the same round. Absolute figures describe this
machine today, the ratios are the result.

A sample is one process that loads a model, warms up, and measures by itself; the time of starting
and loading is not counted. While it runs, the CPU time of everybody else is watched in /proc/stat,
and seconds before and after it a short probe measures how fast memory can be read: above a bound
the sample is repeated, and if that does not help the row is printed as INVALID, because with a
foreign process on the machine two engines lose speed by different amounts.

Tests: ppN is a prompt of N tokens, tgN decodes N tokens one by one, tgN@dD does so after D tokens,
tgNxB by B sequences together (tok/s are of all of them).

Each peer runs at its best: a short calibration tries its variants (KINDS in engines.py, or those of
--variant) for every model and test, and the fastest one takes part in the rounds.

The tables go to stdout, progress to stderr, everything measured to --json-out.
Exit status: 0 all rows valid, 1 nothing could be measured, 2 wrong usage, 8 a row is INVALID.
"""
import argparse
import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from engines import KINDS, Engine, Model
from machine import environment, sha256_of, size_of
from peers.driver import parse_test
from probe import Probe
from report import BASE, MIN_ROUNDS, build_report, markdown
from rounds import run_rounds, say

EXIT_NOTHING, EXIT_INVALID = 1, 8


def parse_engine(text):
    """NAME=BINARY, where NAME is a kind, or NAME:KIND=BINARY."""
    who, equals, binary = text.partition("=")
    name, colon, kind = who.partition(":")
    kind = kind if colon else name
    if not equals or not name or not binary:
        raise argparse.ArgumentTypeError(f"'{text}' is no engine; wanted NAME[:KIND]=BINARY")
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(f"'{text}': there is no kind '{kind}'; there are "
                                         f"{', '.join(KINDS)}")
    # Engines run in folders of their own. (A link stays one: it tells Python its environment.)
    binary = os.path.abspath(shutil.which(binary) or binary)
    return Engine(name, KINDS[kind], binary, KINDS[kind].variants)


def parse_variant(text):
    """NAME=OPTIONS of an engine, as a shell splits them."""
    name, equals, options = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is no variant; wanted ENGINE=OPTIONS")
    return name, tuple(shlex.split(options))


def add_model(models, text, engine_names):
    """FILE, or NAME:ENGINE=PATH, or NAME:gguf=PATH for all engines that read that format."""
    who, equals, path = text.partition("=")
    if not equals:
        models.setdefault(Path(text).name, Model(Path(text).name)).files["gguf"] = check_path(text)
        return
    name, colon, engine = who.partition(":")
    if not name or not colon:
        raise argparse.ArgumentTypeError(f"model '{text}' is neither FILE nor NAME:ENGINE=PATH")
    if engine not in engine_names | {"gguf"}:
        raise argparse.ArgumentTypeError(f"model '{text}': no engine '{engine}' is given; there "
                                         f"are gguf, {', '.join(sorted(engine_names))}")
    models.setdefault(name, Model(name)).files[engine] = check_path(path)


def check_path(path):
    if not os.path.exists(path):
        raise argparse.ArgumentTypeError(f"model {path} is not there")
    return os.path.abspath(path)


def make_parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", metavar="NAME[:KIND]=BINARY", action="append", default=[],
                        type=parse_engine, help=f"kinds: {', '.join(KINDS)}; for those with a "
                        "driver in peers/, the Python that has them")
    for kind, what in (("quern", "quern's binary"), ("mainline", "llama-bench of llama.cpp"),
                       ("ik", "llama-bench of ik_llama.cpp")):
        parser.add_argument(f"--{kind}", metavar="BINARY",
                            help=f"{what}, as --engine {kind}=BINARY")
    parser.add_argument("-m", "--model", metavar="FILE or NAME:ENGINE=PATH", action="append",
                        required=True, help="a GGUF file that every engine loads, or the same "
                        "model as one engine stores it; 'gguf' stands for all that load GGUF")
    parser.add_argument("--variant", metavar="ENGINE=OPTIONS", action="append", default=[],
                        type=parse_variant, help="one more choice for the calibration; with "
                        "--no-calibrate the one that is used")
    parser.add_argument("-t", "--threads", metavar="LIST", default="2", help="as in 1,2")
    parser.add_argument("--tests", metavar="LIST", default="tg128,pp512",
                        help="as in tg128,pp512 (default), tg64@d2048, tg64x8")
    parser.add_argument("--rounds", type=int, default=6,
                        help=f"default 6, at least {MIN_ROUNDS}; an even number is fairest")
    parser.add_argument("-r", "--repetitions", type=int, default=2,
                        help="measurements inside one process; the first of several is dropped")
    parser.add_argument("--no-calibrate", dest="calibrate", action="store_false",
                        help="use each peer's first variant without trying the others")
    parser.add_argument("--no-probe", dest="probes", action="store_false",
                        help="measure no ceilings beside the samples")
    parser.add_argument("--max-foreign", type=float, default=0.05,
                        help="cores that others may use during a sample (default 0.05)")
    parser.add_argument("--max-steal", type=float, default=0.01,
                        help="share of the CPUs the hypervisor may take (default 0.01)")
    parser.add_argument("--max-drift", type=float, default=0.15,
                        help="by how much the probes before and after may differ (default 0.15)")
    parser.add_argument("--retries", type=int, default=2,
                        help="repeats of a sample that does not count")
    parser.add_argument("--retry-pause", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--sample-timeout", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--time-limit", type=float, default=45.0, metavar="MINUTES",
                        help="no sample is started after this (default 45)")
    parser.add_argument("--json-out", metavar="FILE", help="where everything measured is written")
    return parser


def parse_arguments(arguments):
    parser = make_parser()
    options = parser.parse_args(arguments)
    options.kinds = KINDS
    short = [parse_engine(f"{name}={path}") for name in ("quern", "mainline", "ik")
             if (path := getattr(options, name))]
    engines = {}
    for engine in short + options.engine:
        if engine.name in engines:
            parser.error(f"engine {engine.name} is given twice; wanted NAME:KIND=BINARY with "
                         "another NAME")
        engines[engine.name] = engine
    if not engines:
        parser.error("no engine given; wanted at least one --engine, --quern, --mainline or --ik")
    given = {}
    for name, variant in options.variant:
        if name not in engines:
            parser.error(f"--variant {name}: no such engine is given")
        given.setdefault(name, []).append(variant)
    for name, variants in given.items():
        engines[name].variants = (*variants, *engines[name].variants)
    models = {}
    try:
        options.tests = [parse_test(name) for name in options.tests.split(",")]
        for text in options.model:
            add_model(models, text, set(engines))
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    options.models = list(models.values())
    try:
        options.threads = [int(count) for count in options.threads.split(",")]
    except ValueError:
        parser.error(f"--threads is {options.threads}, wanted numbers as in 1,2")
    for name, values in (("--tests", options.tests), ("--threads", options.threads)):
        if len(set(values)) != len(values):
            parser.error(f"{name} names one twice")
    if options.rounds < MIN_ROUNDS:
        parser.error(f"--rounds is {options.rounds}, wanted at least {MIN_ROUNDS}")
    if min(options.threads) < 1 or options.repetitions < 1 or options.retries < 0:
        parser.error("--threads and --repetitions must be at least 1, --retries at least 0")
    options.deadline = time.monotonic() + 60 * options.time_limit
    base = engines.get(BASE)
    options.probe = Probe(base.binary if base and options.probes else None, say)
    return options, list(engines.values())


def main(arguments):
    options, engines = parse_arguments(arguments)
    started = environment()
    models = [{"name": model.name, "for": who, "path": path, "bytes": size_of(path),
               "sha256": sha256_of(path)}
              for model in options.models for who, path in model.files.items()]
    samples = run_rounds(options, engines)
    report = build_report(options, engines, samples, models, started)
    if options.json_out:
        Path(options.json_out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(markdown(report))
    if not any(row["median"] for row in report["rows"]):
        return EXIT_NOTHING
    return EXIT_INVALID if any(row["invalid"] for row in report["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
