"""Turns samples into a report: medians, ratios with their uncertainty, and tables."""
import os
import random
import statistics
import sys
from dataclasses import asdict

MIN_ROUNDS = 5  # below this many valid pairs a row has no ratio
BASE = "quern"  # the engine that all others are compared with


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


def counted_samples(samples, engine, model, threads, test):
    return [s for s in samples
            if (s.engine, s.model, s.threads) == (engine, model, threads)
            and s.round >= 0 and test in s.speeds and not s.faults]


def summarise_one(options, engine, model, threads, test, samples):
    """One row, but for the ratio. Also round -> tokens per second of what counts."""
    counted = counted_samples(samples, engine.name, model.name, threads, test.name)
    own = {s.round: s.speeds[test.name] for s in counted}
    key = (model.name, threads, test.name)
    row = {"model": model.name, "test": test.name, "threads": threads, "engine": engine.name,
           "variant": list(engine.chosen.get(key, ())), "valid_rounds": len(own), "median": None,
           "min": None, "max": None, "share_of_ceiling": None, "read_gb_s": None, "ratio": None,
           "ratio_low": None, "ratio_high": None, "pairs": 0, "verdict": None, "invalid": None,
           "best_peer": False}
    if own:
        row |= {"median": statistics.median(own.values()), "min": min(own.values()),
                "max": max(own.values())}
    shares = [s.shares[test.name] for s in counted if s.shares.get(test.name) is not None]
    if shares:
        row["share_of_ceiling"] = statistics.median(shares)
    reads = [figures["read_gb_s"] for s in counted
             for figures in (s.ceilings_before, s.ceilings_after) if "read_gb_s" in figures]
    if reads:
        row["read_gb_s"] = statistics.median(reads)
    if key in engine.broken:
        row["invalid"] = f"cannot run: {engine.broken[key]}"
    elif len(own) < MIN_ROUNDS:
        row["invalid"] = f"{len(own)} valid rounds, wanted {MIN_ROUNDS}"
    return row, own


def add_ratio(row, base, own):
    """Of the base engine to this one, by what both did in the same rounds."""
    ratios = [base[r] / own[r] for r in sorted(own.keys() & base.keys())]
    row["pairs"] = len(ratios)
    if len(ratios) < MIN_ROUNDS:
        row["invalid"] = f"{len(ratios)} valid pairs, wanted {MIN_ROUNDS}"
        return
    low, high = bootstrap_interval(ratios)
    row |= {"ratio": statistics.median(ratios), "ratio_low": low, "ratio_high": high,
            "verdict": verdict_of(low, high)}


def mark_best_peer(rows, own_kind):
    """The fastest engine of another kind than quern's among rows of one case."""
    peers = [row for row in rows if row["engine"] not in own_kind and row["median"]
             and row["valid_rounds"] >= MIN_ROUNDS]
    if peers:
        max(peers, key=lambda row: row["median"])["best_peer"] = True


def summarise(options, engines, samples):
    """One row for each model, number of threads, test and engine."""
    own_kind = {engine.name for engine in engines if engine.kind is options.kinds[BASE]}
    rows = []
    for model in options.models:
        for threads in options.threads:
            for test in options.tests:
                case, speeds = [], {}
                for engine in engines:
                    if engine.file_of(model):
                        row, speeds[engine.name] = summarise_one(options, engine, model, threads,
                                                                 test, samples)
                        case.append(row)
                for row in case:
                    if row["engine"] != BASE and not row["invalid"] and speeds.get(BASE):
                        add_ratio(row, speeds[BASE], speeds[row["engine"]])
                mark_best_peer(case, own_kind)
                rows += case
    return rows


def build_report(options, engines, samples, models, started):
    counted = [s for s in samples if s.round >= 0 and not s.faults]
    return {
        "schema_version": 2,
        "environment": started,
        "load_average_end": os.getloadavg(),
        "arguments": sys.argv[1:],
        "threads": options.threads,
        "repetitions": options.repetitions,
        "max_foreign": options.max_foreign,
        "max_steal": options.max_steal,
        "max_drift": options.max_drift,
        "models": models,
        "engines": [{"name": e.name, "binary": e.binary, "build": e.build,
                     "broken": [[*key, why] for key, why in e.broken.items()]}
                    for e in engines],
        "probe": options.probe.missing or "taken before and after each sample",
        "rounds_done": len({s.round for s in counted}),
        "num_samples": len(samples),
        "rejected_samples": sum(bool(s.faults) for s in samples),
        "worst_foreign_cores": max((s.foreign_cores for s in counted), default=0.0),
        "worst_steal": max((s.steal_share for s in counted), default=0.0),
        "rows": summarise(options, engines, samples),
        "samples": [asdict(s) for s in samples],
    }


# --- tables ----------------------------------------------------------------------------------


def ratio_cell(row):
    if not row["ratio"]:
        return "-"
    return f"{row['ratio']:.3f} ({row['ratio_low']:.3f} - {row['ratio_high']:.3f})"


def verdict_cell(row):
    return f"**INVALID**: {row['invalid']}" if row["invalid"] else row["verdict"] or "-"


def engine_line(row):
    speed = f"{row['median']:.2f}" if row["median"] else "-"
    spread = f"{row['min']:.2f} - {row['max']:.2f}" if row["median"] else "-"
    share = f"{100 * row['share_of_ceiling']:.1f} %" if row["share_of_ceiling"] else "-"
    read = f"{row['read_gb_s']:.1f}" if row["read_gb_s"] else "-"
    cells = [row["model"], str(row["threads"]), row["test"], row["engine"],
             " ".join(row["variant"]) or "-", speed, spread, share, read, ratio_cell(row),
             verdict_cell(row)]
    return f"| {' | '.join(cells)} |"


def best_peer_lines(rows):
    lines = ["| model | threads | test | quern tok/s | best peer | its tok/s | quern / best peer | "
             "verdict |", "| --- | ---: | --- | ---: | --- | ---: | --- | --- |"]
    bases = {(r["model"], r["threads"], r["test"]): r for r in rows if r["engine"] == BASE}
    for row in rows:
        if row["best_peer"]:
            base = bases.get((row["model"], row["threads"], row["test"]))
            own = f"{base['median']:.2f}" if base and base["median"] else "-"
            cells = [row["model"], str(row["threads"]), row["test"], own, row["engine"],
                     f"{row['median']:.2f}", ratio_cell(row), verdict_cell(row)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


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
        f"Engines in turn, A B B A, {report['rounds_done']} rounds; a "
        "value is the median of a process's repetitions but the first; ratio: median of quern / "
        "engine within a round, 95 % bootstrap interval",
        f"Ceilings: {report['probe']}",
        "",
        "| model | threads | test | engine | options | tok/s median | min - max | share of ceiling "
        "| read GB/s beside | quern / engine | verdict |",
        "| --- | ---: | --- | --- | --- | ---: | --- | ---: | ---: | --- | --- |",
        *(engine_line(row) for row in report["rows"]), "",
        *best_peer_lines(report["rows"]), "",
        "Builds: " + ", ".join(f"{e['name']} {e['build'] or 'unknown'}"
                               for e in report["engines"])]
    return "\n".join(lines)
