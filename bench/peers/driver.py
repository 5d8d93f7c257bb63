"""What the drivers of this folder share: their command line, what is timed, the rows they print.

A driver is a script that makes another engine answer as llama-bench does. It gives an engine as a
class with the members of Engine below and ends with `sys.exit(run_driver(TheEngine))`. It runs in
the Python environment of its engine and needs nothing else.
"""
import argparse
import contextlib
import json
import os
import random
import re
import sys
import time
from dataclasses import dataclass

WARM_UP_TOKENS = 64


@dataclass(frozen=True)
class Test:
    """A prompt of n_prompt tokens, or n_gen tokens decoded one by one by each of n_batch sequences,
    each with n_depth tokens before them."""

    name: str
    n_prompt: int
    n_gen: int
    n_depth: int = 0
    n_batch: int = 1

    @property
    def prompt_tokens(self):
        """Of one sequence. Decoding begins after a prompt, of one token if nothing else is said."""
        return self.n_depth + self.n_prompt or 1

    @property
    def new_tokens(self):
        """The prompt gives the first one, which is timed with it; n_gen more are decoded."""
        return self.n_gen + 1


TEST_FORM = "ppN or tgN, then @dD for a depth and xB for sequences together, as in tg64@d2048x8"


def parse_test(name):
    match = re.fullmatch(
        r"(pp|tg)([1-9]\d{0,5})(?:@d([1-9]\d{0,6}))?(?:x([1-9]\d{0,3}))?", name)
    if not match:
        raise argparse.ArgumentTypeError(f"'{name}' is no test; wanted {TEST_FORM}")
    size, depth, batch = int(match[2]), int(match[3] or 0), int(match[4] or 1)
    if match[1] == "tg":
        return Test(name, 0, size, depth, batch)
    if depth or batch > 1:
        raise argparse.ArgumentTypeError(
            f"'{name}': a prompt is timed alone and from the beginning")
    return Test(name, size, 0)


@dataclass(frozen=True)
class Room:
    """What an engine must have room for."""

    sequences: int
    tokens: int  # of one sequence


class Engine:
    """What a driver has to give."""

    version = ""
    vocab_size = 0

    def __init__(self, options, room):
        """Loads options.model for options.threads threads."""
        raise NotImplementedError

    def generate(self, prompts, new_tokens, on_tokens):
        """Continues all prompts (lists of ids, equally long) together, greedily, past any end
        token, by new_tokens ids each. After each step calls on_tokens, a StepClock, with the
        number of ids that every sequence has by then, at the least. Nothing of an earlier call may
        be reused."""
        raise NotImplementedError


class StepClock:
    """When the sequences had how many new tokens."""

    def __init__(self):
        self.begin = time.perf_counter()
        self.first, self.first_tokens = None, 0
        self.end, self.tokens = None, 0

    def __call__(self, tokens):
        if tokens <= self.tokens:
            return
        now = time.perf_counter()
        if self.first is None:
            self.first, self.first_tokens = now, tokens
        self.end, self.tokens = now, tokens

    def told(self, first_s, tokens):
        """For an engine that answers once, now, and says itself when its first token came."""
        self.end, self.tokens = time.perf_counter(), tokens
        self.first, self.first_tokens = self.begin + first_s, 1
        if not self.begin < self.first <= self.end:
            sys.exit(f"the engine says {first_s} s to the first token, and {self.end - self.begin} "
                     "s passed in all")


def meaningless_prompts(test, vocab_size, repetition):
    """Ids that mean nothing, others in each repetition so that no engine can have met them. They
    keep to the lower half of the vocabulary, where no special tokens are."""
    source = random.Random(f"{test.name} {repetition}")
    return [[source.randrange(256, vocab_size // 2) for _ in range(test.prompt_tokens)]
            for _ in range(test.n_batch)]


def timed_run(engine, test, repetition):
    """Seconds of the part that `test` names: the prompt up to the first token, or all later
    tokens."""
    prompts = meaningless_prompts(test, engine.vocab_size, repetition)
    clock = StepClock()
    engine.generate(prompts, test.new_tokens, clock)
    if clock.tokens != test.new_tokens:
        sys.exit(f"{test.name}: {clock.tokens} tokens came, wanted {test.new_tokens}")
    if test.n_prompt:
        return clock.first - clock.begin
    if clock.first_tokens != 1:
        sys.exit(f"{test.name}: the first step gave {clock.first_tokens} tokens, wanted 1")
    return clock.end - clock.first


def warm_up_of(test):
    return Test("warm-up", 0, 2, min(test.prompt_tokens, WARM_UP_TOKENS), test.n_batch)


def room_for(tests):
    runs = tests + [warm_up_of(test) for test in tests]
    return Room(max(run.n_batch for run in runs),
                max(run.prompt_tokens + run.new_tokens for run in runs) + 1)


def row_of(engine, options, test):
    timed_run(engine, warm_up_of(test), -1)
    seconds = [timed_run(engine, test, r) for r in range(options.repetitions)]
    tokens = (test.n_prompt or test.n_gen) * test.n_batch
    rates = [tokens / s for s in seconds]
    return {"build_commit": engine.version, "model_filename": options.model,
            "n_threads": options.threads, "n_prompt": test.n_prompt, "n_gen": test.n_gen,
            "n_depth": test.n_depth, "n_batch_sequences": test.n_batch,
            "avg_ns": round(1e9 * sum(seconds) / len(seconds)),
            "samples_ns": [round(1e9 * s) for s in seconds],
            "avg_ts": sum(rates) / len(rates), "samples_ts": rates}


def parse_arguments(arguments, add_options):
    parser = argparse.ArgumentParser(
        description="Measures one engine; prints rows as llama-bench -o json does.")
    parser.add_argument("-m", "--model", required=True, help="as the engine stores it")
    parser.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    parser.add_argument("--tests", default="pp512,tg128", help=f"a list of {TEST_FORM}")
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        options.tests = [parse_test(name) for name in options.tests.split(",")]
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    if options.threads < 1 or options.repetitions < 1:
        parser.error("--threads and --repetitions must be at least 1")
    options.model = os.path.abspath(options.model)
    return options


@contextlib.contextmanager
def only_rows_on_stdout():
    """Engines write notes to stdout, some of them from C++; within this they go to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def run_driver(engine_type, add_options=lambda parser: None):
    options = parse_arguments(sys.argv[1:], add_options)
    keep_to_cpus(options.threads)
    with only_rows_on_stdout():
        engine = engine_type(options, room_for(options.tests))
        rows = [row_of(engine, options, test) for test in options.tests]
    print(json.dumps(rows, indent=1), flush=True)
    return 0


def keep_to_cpus(threads):
    """An engine with one thread may hand work to helpers of its runtime; with as many CPUs as
    threads these do not make it faster than it says."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:threads])
