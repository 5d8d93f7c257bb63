#!/usr/bin/env python3
"""Compares quern's speed with that of llama.cpp and ik_llama.cpp on this machine.

Engines take turns within minutes of each other, A B C C B A ..., because a machine's speed drifts
by more in an hour than most optimisations gain. One round gives one value per engine; quern and a
peer are compared by the ratio of their values in the same round. Absolute figures describe this
machine today, the ratios are the result.

A sample is one process that loads a model, warms up, and measures prefill (pp) and decode (tg)
itself; the time of starting and loading is not counted. While it runs, the CPU time of everybody
else is watched in /proc/stat: above a bound the sample is repeated, and if that does not help the
row is printed as INVALID, because with a foreign process on the machine two engines lose speed
by different amounts.

Each peer runs at its best: a short calibration tries its variants (KINDS below) for every model
and test, and the fastest one takes part in the rounds.

The table goes to stdout, progress to stderr, everything measured to --json-out.
Exit status: 0 all rows valid, 1 nothing could be measured, 2 wrong usage, 8 a row is INVALID.
"""
import argparse
import hashlib
import json
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

MIN_ROUNDS = 5  # below this many valid pairs a row has no ratio
EXIT_NOTHING, EXIT_INVALID = 1, 8


@dataclass(frozen=True)
class Kind:
    """How an engine is called. What all share is added in Engine.command()."""

    subcommand: tuple
    variants: tuple  # the first one is used when there is no calibration


# What each peer offers for speed on a CPU, best guess first. All print llama-bench's JSON.
KINDS = {
    "quern": Kind(("bench", "model"), ((),)),
    # Repacks weights while loading by itself; `--repack 0` shows where that does not pay.
    "mainline": Kind((), (("-fa", "1"), ("-fa", "0"), ("-fa", "1", "--repack", "0"))),
    # -rtr interleaves rows while loading (better decode, for some formats worse prefill),
    # -thp puts the weights on huge pages.
    "ik": Kind((), (("-fa", "1", "-rtr", "1", "-thp", "1"),
                    ("-fa", "1", "-rtr", "0", "-thp", "1"))),
}


@dataclass(frozen=True)
class Test:
    """pp512 processes a prompt of 512 tokens, tg128 decodes 128 tokens one by one."""

    name: str
    n_prompt: int
    n_gen: int


def parse_test(name):
    match = re.fullmatch(r"(pp|tg)([1-9]\d{0,5})", name)
    if not match:
        raise argparse.ArgumentTypeError(f"'{name}' is no test; wanted ppN or tgN, as in pp512")
    size = int(match[2])
    return Test(name, size, 0) if match[1] == "pp" else Test(name, 0, size)


@dataclass
class Engine:
    name: str
    kind: Kind
    binary: str
    chosen: dict = field(default_factory=dict)  # (model, test name) -> variant
    broken: dict = field(default_factory=dict)  # model -> why it cannot run there
    build: str = ""

    def command(self, model, tests, variant, threads, repetitions):
        prompts = ",".join(str(t.n_prompt) for t in tests if t.n_prompt) or "0"
        gens = ",".join(str(t.n_gen) for t in tests if t.n_gen) or "0"
        return [self.binary, *self.kind.subcommand, "-m", model, "-p", prompts, "-n", gens,
                "-t", str(threads), "-r", str(repetitions), "-o", "json", *variant]


# --- whose CPU time was it -------------------------------------------------------------------


@dataclass(frozen=True)
class CpuTimes:
    """Seconds since boot, over all CPUs. `steal` is what the hypervisor gave to other guests."""

    wall: float
    busy: float
    steal: float
    ours: float  # this script and its finished children


def read_cpu_times():
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:]]
    # user nice system idle iowait irq softirq steal; guest time is already inside user.
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
    per_second = os.sysconf("SC_CLK_TCK")
    ours = sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    return CpuTimes(time.monotonic(), (user + nice + system + irq + softirq) / per_second,
                    steal / per_second, ours)


def foreign_cores(before, after, num_cpus):
    """Cores that others kept busy, on average, less two ticks per CPU that rounding can make."""
    wall = after.wall - before.wall
    resolution = 2 * num_cpus / os.sysconf("SC_CLK_TCK")
    foreign = (after.busy - before.busy) - (after.ours - before.ours)
    return max(0.0, foreign - resolution) / wall


def steal_share(before, after, num_cpus):
    return (after.steal - before.steal) / ((after.wall - before.wall) * num_cpus)


def process_times():
    """pid -> (name, CPU ticks) of every process; for naming the culprit."""
    times = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it ended meanwhile
        name_end = stat.rindex(")")
        words = stat[name_end + 2:].split()
        name = stat[stat.index("(") + 1:name_end]
        times[int(entry.name)] = (name, int(words[11]) + int(words[12]))
    return times


def busiest_other(before, after):
    used = [(ticks - before.get(pid, ("", 0))[1], name) for pid, (name, ticks) in after.items()
            if pid != os.getpid()]
    ticks, name = max(used, default=(0, ""))
    return name if ticks > 0 else "a process that has ended"


# --- one sample ------------------------------------------------------------------------------


class EngineFailed(Exception):
    """The engine did not run, or its answer is not the one asked for."""


def parse_rows(text):
    """The array of a llama-bench JSON answer; some builds print notes around it."""
    try:
        rows = json.loads(text)
    except ValueError:
        start, end = text.find("[\n"), text.rfind("]")
        try:
            rows = json.loads(text[start:end + 1]) if start >= 0 else None
        except ValueError:
            rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise EngineFailed(f"stdout holds no JSON array of results; it begins {text[:200]!r}")
    return rows


def speed_of(rows, test, threads, repetitions):
    """Tokens per second of `test`: the median of its repetitions but the first.

    The first one is dropped where there are several: an engine that warms up with a single token
    pays there for memory it touches for the first time."""
    wanted = (test.n_prompt, test.n_gen, 0)
    found = [row for row in rows
             if (row.get("n_prompt"), row.get("n_gen"), row.get("n_depth", 0)) == wanted]
    if len(found) != 1:
        raise EngineFailed(f"{len(found)} results for {test.name}, wanted one")
    samples = found[0].get("samples_ts")
    if not isinstance(samples, list) or len(samples) != repetitions:
        raise EngineFailed(f"{test.name}: samples_ts is {samples!r}, wanted {repetitions} numbers")
    if not all(isinstance(x, (int, float)) and 0 < x < float("inf") for x in samples):
        raise EngineFailed(f"{test.name}: samples_ts {samples!r} holds what is not a speed")
    if found[0].get("n_threads", threads) != threads:
        raise EngineFailed(f"{test.name}: ran {found[0]['n_threads']} threads, wanted {threads}")
    return statistics.median(samples[1:] or samples)


@dataclass
class Sample:
    engine: str
    model: str
    round: int  # -1: calibration
    attempt: int
    variant: tuple
    speeds: dict  # test name -> tokens per second
    wall_s: float
    foreign_cores: float
    steal_share: float
    faults: list  # why it does not count; empty if it does
    rows: list  # as the engine printed them


def run_process(command, timeout_s):
    """stdout of the command. Its whole process group is gone when this returns."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       start_new_session=True)
        except OSError as error:
            raise EngineFailed(f"cannot start {command[0]}: {error.strerror}") from error
        try:
            status = process.wait(timeout=timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise EngineFailed(f"no answer within {timeout_s:.0f} s") from error
            raise
        out.seek(0)
        err.seek(0)
        if status != 0:
            lines = err.read().decode(errors="replace").strip().splitlines()
            message = lines[-1][:200] if lines else "no message"
            raise EngineFailed(f"exit status {status}: {message}")
        return out.read().decode(errors="replace")


def take_sample(options, engine, model, tests, variant, round_idx, attempt):
    num_cpus = os.cpu_count()
    command = engine.command(model, tests, variant, options.threads, options.repetitions)
    others_before, before = process_times(), read_cpu_times()
    text = run_process(command, options.sample_timeout)
    after = read_cpu_times()
    rows = parse_rows(text)
    speeds = {t.name: speed_of(rows, t, options.threads, options.repetitions) for t in tests}
    engine.build = engine.build or str(rows[0].get("build_commit", ""))

    foreign, steal = foreign_cores(before, after, num_cpus), steal_share(before, after, num_cpus)
    faults = []
    if foreign > options.max_foreign:
        culprit = busiest_other(others_before, process_times())
        faults.append(f"others used {foreign:.2f} cores (mostly {culprit}), "
                      f"allowed {options.max_foreign:g}")
    if steal > options.max_steal:
        faults.append(f"steal {100 * steal:.1f} %, allowed {100 * options.max_steal:g} %")
    sample = Sample(engine.name, model, round_idx, attempt, variant, speeds,
                    after.wall - before.wall, foreign, steal, faults, rows)
    figures = ", ".join(f"{name} {speed:.2f}" for name, speed in speeds.items())
    say(f"{'calibration' if round_idx < 0 else f'round {round_idx + 1}'}: {Path(model).name} "
        f"{engine.name} {' '.join(variant)}: {figures} tok/s"
        + (f"; does not count: {'; '.join(faults)}" if faults else ""))
    return sample


def say(line):
    print(line, file=sys.stderr, flush=True)


# --- the rounds ------------------------------------------------------------------------------


def turn_order(engines, round_idx):
    """A B C, C B A, A B C, ...: a steady drift favours nobody over two rounds."""
    return list(engines) if round_idx % 2 == 0 else list(reversed(engines))


def sample_until_quiet(options, samples, *what):
    """Takes a sample, again while it does not count and retries are left. Keeps every one."""
    for attempt in range(options.retries + 1):
        if attempt > 0:
            if time.monotonic() > options.deadline:
                break
            time.sleep(options.retry_pause)
        samples.append(take_sample(options, *what, attempt))
        if not samples[-1].faults:
            break
    return samples[-1]


def calibrate(options, engine, model, samples):
    """Chooses the engine's fastest variant for each test on this model."""
    variants = engine.kind.variants if options.calibrate else engine.kind.variants[:1]
    best = {}
    failures = []
    for variant in variants:
        if len(variants) == 1 or time.monotonic() > options.deadline:
            break
        try:
            sample = sample_until_quiet(options, samples, engine, model, options.tests, variant, -1)
        except EngineFailed as failure:
            failures.append(f"{' '.join(variant)}: {failure}")
            continue
        for name, speed in sample.speeds.items():
            best[name] = max(best.get(name, (0.0, ())), (speed, variant))
    if not best and not failures:  # nothing was tried
        best = {test.name: (0.0, variants[0]) for test in options.tests}
    if not best:
        engine.broken[model] = "; ".join(failures)
        say(f"{Path(model).name} {engine.name}: left out: {engine.broken[model]}")
    for name, (_speed, variant) in best.items():
        engine.chosen[model, name] = variant


def take_turn(options, engine, model, round_idx, samples):
    """One value per test, with one process for all tests that share a variant."""
    groups = {}
    for test in options.tests:
        groups.setdefault(engine.chosen[model, test.name], []).append(test)
    for variant, tests in groups.items():
        try:
            sample_until_quiet(options, samples, engine, model, tests, variant, round_idx)
        except EngineFailed as failure:
            engine.broken[model] = str(failure)
            say(f"{Path(model).name} {engine.name}: left out: {failure}")
            return


def run_rounds(options, engines):
    """All samples, calibration included. Rounds are outermost, so that a run that is cut short
    has equally many of every model."""
    samples = []
    for model in options.model:
        for engine in engines:
            calibrate(options, engine, model, samples)
    for round_idx in range(options.rounds):
        for model in options.model:
            for engine in turn_order(engines, round_idx):
                if time.monotonic() > options.deadline:
                    say(f"time limit reached in round {round_idx + 1}; what is done is reported")
                    return samples
                if model not in engine.broken:
                    take_turn(options, engine, model, round_idx, samples)
    return samples


# --- what they say ---------------------------------------------------------------------------


def bootstrap_interval(values, draws=10000, seed=1):
    """95 % interval of the median, by resampling the values. The seed makes a report repeatable."""
    rng = random.Random(seed)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]


def verdict_of(low, high):
    if low > 1:
        return "quern faster"
    if high < 1:
        return "quern slower"
    return "no difference shown"


def values_by_round(samples, engine, model, test):
    """round -> tokens per second, only of samples that count."""
    return {s.round: s.speeds[test] for s in samples
            if (s.engine, s.model) == (engine, model) and s.round >= 0 and test in s.speeds
            and not s.faults}


def summarise(options, engines, samples):
    """One row for each model, test and engine."""
    rows = []
    for model in options.model:
        for test in options.tests:
            quern = values_by_round(samples, "quern", model, test.name)
            for engine in engines:
                own = values_by_round(samples, engine.name, model, test.name)
                row = {"model": Path(model).name, "test": test.name, "engine": engine.name,
                       "variant": list(engine.chosen.get((model, test.name), ())),
                       "valid_rounds": len(own), "median": None, "min": None, "max": None,
                       "ratio": None, "ratio_low": None, "ratio_high": None, "pairs": 0,
                       "verdict": None, "invalid": None}
                if own:
                    row |= {"median": statistics.median(own.values()), "min": min(own.values()),
                            "max": max(own.values())}
                if model in engine.broken:
                    row["invalid"] = f"cannot run: {engine.broken[model]}"
                elif len(own) < MIN_ROUNDS:
                    row["invalid"] = f"{len(own)} valid rounds, wanted {MIN_ROUNDS}"
                elif engine.name != "quern" and quern:
                    ratios = [quern[r] / own[r] for r in sorted(own.keys() & quern.keys())]
                    row["pairs"] = len(ratios)
                    if len(ratios) < MIN_ROUNDS:
                        row["invalid"] = f"{len(ratios)} valid pairs, wanted {MIN_ROUNDS}"
                    else:
                        low, high = bootstrap_interval(ratios)
                        row |= {"ratio": statistics.median(ratios), "ratio_low": low,
                                "ratio_high": high, "verdict": verdict_of(low, high)}
                rows.append(row)
    return rows


def markdown(report):
    env = report["environment"]
    lines = [
        f"CPU: {env['cpu_model']}, {env['num_cpus']} CPUs, L2 {env['l2']}, L3 {env['l3']} "
        f"(as this system reports them); {' '.join(env['isa'])}",
        f"Memory {env['memory_gib']:.0f} GiB, huge pages {env['huge_pages']}, "
        f"Linux {env['kernel']}, governor {env['governor']}",
        f"Foreign load: at most {report['worst_foreign_cores']:.2f} cores in a sample that counts; "
        f"steal at most {100 * report['worst_steal']:.1f} %; {report['rejected_samples']} of "
        f"{report['num_samples']} samples did not count",
        f"{report['threads']} threads; engines in turn, A B B A, {report['rounds_done']} rounds; a "
        "value is the median of a process's repetitions but the first; ratio: median of quern / "
        "engine within a round, 95 % bootstrap interval",
        "",
        "| model | test | engine | options | tok/s median | min - max | quern / engine | verdict |",
        "| --- | --- | --- | --- | ---: | --- | --- | --- |",
    ]
    for row in report["rows"]:
        speed = f"{row['median']:.2f}" if row["median"] else "-"
        spread = f"{row['min']:.2f} - {row['max']:.2f}" if row["median"] else "-"
        ratio = (f"{row['ratio']:.3f} ({row['ratio_low']:.3f} - {row['ratio_high']:.3f})"
                 if row["ratio"] else "-")
        verdict = f"**INVALID**: {row['invalid']}" if row["invalid"] else row["verdict"] or "-"
        cells = [row["model"], row["test"], row["engine"], " ".join(row["variant"]) or "-",
                 speed, spread, ratio, verdict]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Builds: " + ", ".join(f"{e['name']} {e['build'] or 'unknown'}"
                                        for e in report["engines"])]
    return "\n".join(lines)


# --- where it ran ----------------------------------------------------------------------------


def read_or(path, otherwise):
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return otherwise


def environment():
    cpuinfo = read_or("/proc/cpuinfo", "")

    def cpu_field(name):
        match = re.search(rf"^{name}\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
        return match[1] if match else "unknown"

    caches = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if read_or(index / "type", "") != "Instruction":
            caches[read_or(index / "level", "")] = read_or(index / "size", "unknown")
    flags = set(cpu_field("flags").split())
    speaking = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
                "amx_int8", "amx_bf16", "hypervisor")
    memory = re.search(r"MemTotal:\s*(\d+)", read_or("/proc/meminfo", ""))
    return {
        "cpu_model": cpu_field("model name"),
        "num_cpus": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "l2": caches.get("2", "unknown"),
        "l3": caches.get("3", "unknown"),
        "isa": [flag for flag in speaking if flag in flags],
        "microcode": cpu_field("microcode"),
        "memory_gib": int(memory[1]) / 2**20 if memory else 0.0,
        "huge_pages": read_or("/sys/kernel/mm/transparent_hugepage/enabled", "unknown"),
        "governor": read_or("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                            "not readable"),
        "cgroup_cpu_max": read_or("/sys/fs/cgroup/cpu.max", "not readable"),
        "kernel": os.uname().release,
        "load_average": os.getloadavg(),
        "environment_variables": {k: v for k, v in os.environ.items()
                                  if k.startswith(("OMP_", "GOMP_", "GGML_", "LLAMA_", "QUERN_"))},
    }


def sha256_of(path):
    """Also brings the file into the page cache, so that no engine is the first to read it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def build_report(options, engines, samples, models, started):
    counted = [s for s in samples if s.round >= 0 and not s.faults]
    return {
        "schema_version": 1,
        "environment": started,
        "load_average_end": os.getloadavg(),
        "arguments": sys.argv[1:],
        "threads": options.threads,
        "repetitions": options.repetitions,
        "max_foreign": options.max_foreign,
        "max_steal": options.max_steal,
        "models": models,
        "engines": [{"name": e.name, "binary": e.binary, "build": e.build,
                     "broken": {Path(m).name: why for m, why in e.broken.items()}}
                    for e in engines],
        "rounds_done": len({s.round for s in counted}),
        "num_samples": len(samples),
        "rejected_samples": sum(bool(s.faults) for s in samples),
        "worst_foreign_cores": max((s.foreign_cores for s in counted), default=0.0),
        "worst_steal": max((s.steal_share for s in counted), default=0.0),
        "rows": summarise(options, engines, samples),
        "samples": [asdict(s) for s in samples],
    }


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quern", metavar="BINARY", help="quern's binary")
    parser.add_argument("--mainline", metavar="BINARY", help="llama-bench of llama.cpp")
    parser.add_argument("--ik", metavar="BINARY", help="llama-bench of ik_llama.cpp")
    parser.add_argument("-m", "--model", metavar="FILE", action="append", required=True,
                        help="GGUF file that every engine loads; may be given again")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--tests", metavar="LIST", default="tg128,pp512",
                        help="as in tg128,pp512 (default)")
    parser.add_argument("--rounds", type=int, default=6,
                        help=f"default 6, at least {MIN_ROUNDS}; an even number is fairest")
    parser.add_argument("-r", "--repetitions", type=int, default=2,
                        help="measurements inside one process; the first of several is dropped")
    parser.add_argument("--no-calibrate", dest="calibrate", action="store_false",
                        help="use each peer's first variant without trying the others")
    parser.add_argument("--max-foreign", type=float, default=0.05,
                        help="cores that others may use during a sample (default 0.05)")
    parser.add_argument("--max-steal", type=float, default=0.01,
                        help="share of the CPUs the hypervisor may take (default 0.01)")
    parser.add_argument("--retries", type=int, default=2,
                        help="repeats of a sample that does not count")
    parser.add_argument("--retry-pause", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--sample-timeout", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--time-limit", type=float, default=45.0, metavar="MINUTES",
                        help="no sample is started after this (default 45)")
    parser.add_argument("--json-out", metavar="FILE", help="where everything measured is written")
    options = parser.parse_args(arguments)
    try:
        options.tests = [parse_test(name) for name in options.tests.split(",")]
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    if len(set(options.tests)) != len(options.tests):
        parser.error("--tests names a test twice")
    if options.rounds < MIN_ROUNDS:
        parser.error(f"--rounds is {options.rounds}, wanted at least {MIN_ROUNDS}")
    if options.threads < 1 or options.repetitions < 1 or options.retries < 0:
        parser.error("--threads and --repetitions must be at least 1, --retries at least 0")
    for model in options.model:
        if not os.path.isfile(model):
            parser.error(f"model {model} is not a file")
    options.deadline = time.monotonic() + 60 * options.time_limit
    engines = [Engine(name, kind, path) for name, kind in KINDS.items()
               if (path := getattr(options, name))]
    if not engines:
        parser.error("no engine given; wanted at least one of --quern, --mainline, --ik")
    return options, engines


def main(arguments):
    options, engines = parse_arguments(arguments)
    started = environment()
    models = [{"path": path, "bytes": os.path.getsize(path), "sha256": sha256_of(path)}
              for path in options.model]
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
