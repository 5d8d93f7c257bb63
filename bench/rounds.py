"""Takes the samples: engines in turn, each watched for foreign load and machine drift."""
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from engines import EngineFailed, row_for, speed_of
from foreign_load import (busiest_other, foreign_cores, process_times, read_cpu_times,
                          steal_share)
from probe import drift, mean_figures, share_of_ceiling


@dataclass
class Sample:
    engine: str
    model: str
    threads: int
    round: int  # -1: calibration
    attempt: int
    variant: tuple
    speeds: dict  # test name -> tokens per second
    wall_s: float
    foreign_cores: float
    steal_share: float
    ceilings_before: dict
    ceilings_after: dict
    shares: dict  # test name -> share of the ceiling, where it is known
    faults: list  # why it does not count; empty if it does
    rows: list  # as the engine printed them


def say(line):
    print(line, file=sys.stderr, flush=True)


def run_process(command, timeout_s):
    """(stdout, stderr) of the command. Its whole process group is gone when this returns."""
    with (tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err,
          tempfile.TemporaryDirectory() as folder):  # some engines leave logs where they stand
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       cwd=folder, start_new_session=True)
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
        errors = err.read().decode(errors="replace")
        if status != 0:
            lines = errors.strip().splitlines()
            message = lines[-1][:200] if lines else "no message"
            raise EngineFailed(f"exit status {status}: {message}")
        return out.read().decode(errors="replace"), errors


@dataclass(frozen=True)
class Turn:
    """One engine with one model, and with one number of threads."""

    engine: object
    model: object
    threads: int

    def key(self, test):
        return self.model.name, self.threads, test.name

    def label(self):
        return f"{self.model.name} {self.engine.name} t{self.threads}"


def take_sample(options, turn, call, variant, round_idx, attempt):
    num_cpus = os.cpu_count()
    ceilings_before = options.probe.take(turn.threads)
    others_before, before = process_times(), read_cpu_times()
    text, errors = run_process(call.command, options.sample_timeout)
    after = read_cpu_times()
    others_after = process_times()
    ceilings_after = options.probe.take(turn.threads)
    rows = call.read(text, errors)
    speeds = {t.name: speed_of(rows, t, turn.threads, options.repetitions) for t in call.tests}
    turn.engine.build = turn.engine.build or str(rows[0].get("build_commit", ""))

    foreign, steal = foreign_cores(before, after, num_cpus), steal_share(before, after, num_cpus)
    faults = []
    if foreign > options.max_foreign:
        culprit = busiest_other(others_before, others_after)
        faults.append(f"others used {foreign:.2f} cores (mostly {culprit}), "
                      f"allowed {options.max_foreign:g}")
    if steal > options.max_steal:
        faults.append(f"steal {100 * steal:.1f} %, allowed {100 * options.max_steal:g} %")
    if drift(ceilings_before, ceilings_after) > options.max_drift:
        faults.append(f"memory read went from {ceilings_before['read_gb_s']:.1f} to "
                      f"{ceilings_after['read_gb_s']:.1f} GB/s, "
                      f"allowed {100 * options.max_drift:g} %")
    figures = mean_figures(ceilings_before, ceilings_after)
    shares = {t.name: share_of_ceiling(row_for(rows, t), speeds[t.name], figures)
              for t in call.tests}
    sample = Sample(turn.engine.name, turn.model.name, turn.threads, round_idx, attempt, variant,
                    speeds, after.wall - before.wall, foreign, steal, ceilings_before,
                    ceilings_after, shares, faults, rows)
    said = ", ".join(f"{name} {speed:.2f}" for name, speed in speeds.items())
    say(f"{'calibration' if round_idx < 0 else f'round {round_idx + 1}'}: {turn.label()} "
        f"{' '.join(variant)}: {said} tok/s"
        + (f"; does not count: {'; '.join(faults)}" if faults else ""))
    return sample


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


def calls_of(options, turn, tests, variant):
    return turn.engine.calls(turn.model, tests, variant, turn.threads, options.repetitions)


def calibrate(options, turn, samples):
    """Chooses the engine's fastest variant for each test on this model. One that fails a test is
    out of the choice; a test that all of them fail is not run."""
    engine = turn.engine
    variants = engine.variants if options.calibrate else engine.variants[:1]
    best, failures = {}, {}
    for variant in variants:
        if len(variants) == 1 or time.monotonic() > options.deadline:
            break
        for call in calls_of(options, turn, options.tests, variant):
            try:
                sample = sample_until_quiet(options, samples, turn, call, variant, -1)
            except EngineFailed as failure:
                for test in call.tests:
                    failures.setdefault(test.name, []).append(f"{' '.join(variant)}: {failure}")
                continue
            for name, speed in sample.speeds.items():
                best[name] = max(best.get(name, (0.0, ())), (speed, variant))
    for test in options.tests:
        if test.name in best:
            engine.chosen[turn.key(test)] = best[test.name][1]
        elif test.name in failures:
            leave_out(turn, [test], "; ".join(failures[test.name]))
        else:  # nothing was tried
            engine.chosen[turn.key(test)] = variants[0]


def leave_out(turn, tests, why):
    for test in tests:
        turn.engine.broken[turn.key(test)] = why
    say(f"{turn.label()}: left out of {', '.join(t.name for t in tests)}: {why}")


def take_turn(options, turn, round_idx, samples):
    """One value per test, with as few processes as its variants and tests allow."""
    by_variant = {}
    for test in options.tests:
        if turn.key(test) not in turn.engine.broken:
            by_variant.setdefault(turn.engine.chosen[turn.key(test)], []).append(test)
    for variant, tests in by_variant.items():
        for call in calls_of(options, turn, tests, variant):
            try:
                sample_until_quiet(options, samples, turn, call, variant, round_idx)
            except EngineFailed as failure:
                leave_out(turn, call.tests, str(failure))


def run_rounds(options, engines):
    """All samples, calibration included. Rounds are outermost, so that a run that is cut short
    has equally many of every model."""
    samples = []
    for model in options.models:
        for threads in options.threads:
            for engine in engines:
                if engine.file_of(model):
                    calibrate(options, Turn(engine, model, threads), samples)
    for round_idx in range(options.rounds):
        for model in options.models:
            for threads in options.threads:
                for engine in turn_order(engines, round_idx):
                    if time.monotonic() > options.deadline:
                        say(f"time limit reached in round {round_idx + 1}; "
                            "what is done is reported")
                        return samples
                    if engine.file_of(model):
                        take_turn(options, Turn(engine, model, threads), round_idx, samples)
    return samples
