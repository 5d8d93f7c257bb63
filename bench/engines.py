"""How each engine is called, and what its answer says."""
import json
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path

DRIVERS = Path(__file__).resolve().parent / "peers"


class EngineFailed(Exception):
    """The engine did not run, or its answer is not the one asked for."""


@dataclass(frozen=True)
class Call:
    """One process that measures some of the tests."""

    command: list
    tests: list
    read: object  # (stdout, stderr) -> rows as llama-bench has them


# --- answers ---------------------------------------------------------------------------------


def parse_rows(text, _errors=""):
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


def parse_batched_table(text, errors=""):
    """What llama-batched-bench prints, as rows of decoding: | PP | TG | B | N_KV | T_PP s |
    S_PP t/s | T_TG s | ..., one line for each repetition."""
    speeds = {}
    for line in (text + "\n" + errors).splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 10 or not re.fullmatch(r"\d+", cells[0]):
            continue
        try:
            prompt, gen, batch = (int(cell) for cell in cells[:3])
            seconds = float(cells[6])
        except ValueError:
            continue
        if seconds > 0:
            speeds.setdefault((prompt, gen, batch), []).append(gen * batch / seconds)
    if not speeds:
        raise EngineFailed(f"no table of batched decoding; stdout begins {text[:200]!r}")
    return [{"n_prompt": 0, "n_gen": gen, "n_depth": 0 if prompt == 1 else prompt,
             "n_batch_sequences": batch, "samples_ts": samples}
            for (prompt, gen, batch), samples in speeds.items()]


def batch_of(row):
    return row.get("n_batch_sequences", row.get("batch", 1))


def row_for(rows, test):
    wanted = (test.n_prompt, test.n_gen, test.n_depth, test.n_batch)
    found = [row for row in rows
             if (row.get("n_prompt"), row.get("n_gen"), row.get("n_depth", 0), batch_of(row))
             == wanted]
    if len(found) != 1:
        raise EngineFailed(f"{len(found)} results for {test.name}, wanted one")
    return found[0]


def speed_of(rows, test, threads, repetitions):
    """Tokens per second of `test`: the median of its repetitions but the first.

    The first one is dropped where there are several: an engine that warms up with a single token
    pays there for memory it touches for the first time."""
    row = row_for(rows, test)
    samples = row.get("samples_ts")
    if not isinstance(samples, list) or len(samples) != repetitions:
        raise EngineFailed(f"{test.name}: samples_ts is {samples!r}, wanted {repetitions} numbers")
    if not all(isinstance(x, (int, float)) and 0 < x < float("inf") for x in samples):
        raise EngineFailed(f"{test.name}: samples_ts {samples!r} holds what is not a speed")
    if row.get("n_threads", threads) != threads:
        raise EngineFailed(f"{test.name}: ran {row['n_threads']} threads, wanted {threads}")
    return statistics.median(samples[1:] or samples)


# --- kinds of engines ------------------------------------------------------------------------


def grouped(tests, key):
    groups = {}
    for test in tests:
        groups.setdefault(key(test), []).append(test)
    return groups


def lengths(tests):
    prompts = ",".join(str(t.n_prompt) for t in tests if t.n_prompt) or "0"
    gens = ",".join(str(t.n_gen) for t in tests if t.n_gen) or "0"
    return ["-p", prompts, "-n", gens]


@dataclass(frozen=True)
class Quern:
    variants: tuple = ((),)
    models: str = "gguf"  # which entry of a model it takes when none is given for its own name

    def calls(self, binary, model, tests, variant, threads, repetitions):
        for (depth, batch), group in grouped(tests, lambda t: (t.n_depth, t.n_batch)).items():
            command = [binary, "bench", "model", "-m", model, *lengths(group), "-d", str(depth),
                       "-b", str(batch), "-t", str(threads), "-r", str(repetitions),
                       "-o", "json", *variant]
            yield Call(command, group, parse_rows)


@dataclass(frozen=True)
class LlamaBench:
    """llama-bench, and for what it has no option for llama-batched-bench, which stands beside it:
    sequences together and, where `knows_depth` is false, decoding after a depth."""

    variants: tuple
    # (option, value) of llama-bench -> the same for the other one, where they differ
    batched_spelling: dict = field(default_factory=dict)
    knows_depth: bool = True
    models: str = "gguf"

    def needs_batched(self, test):
        return test.n_batch > 1 or (test.n_depth > 0 and not self.knows_depth)

    def batched_variant(self, variant):
        words, rest = [], list(variant)
        while rest:
            pair = tuple(rest[:2])
            if pair in self.batched_spelling:
                words += self.batched_spelling[pair]
                rest = rest[2:]
            else:
                words.append(rest.pop(0))
        return words

    def calls(self, binary, model, tests, variant, threads, repetitions):
        alone = [test for test in tests if not self.needs_batched(test)]
        for depth, group in grouped(alone, lambda t: t.n_depth).items():
            deep = ["-d", str(depth)] if depth else []
            command = [binary, "-m", model, *lengths(group), *deep, "-t", str(threads),
                       "-r", str(repetitions), "-o", "json", *variant]
            yield Call(command, group, parse_rows)
        batched = str(Path(binary).parent / "llama-batched-bench")
        for test in tests:
            if not self.needs_batched(test):
                continue
            prompt = max(1, test.n_depth)
            room = test.n_batch * (prompt + test.n_gen)
            command = [batched, "-m", model, "-c", str(-(-room // 256) * 256), "-b", "2048",
                       "-ub", "512", "-npp", str(prompt), "-ntg", str(test.n_gen),
                       "-npl", ",".join([str(test.n_batch)] * repetitions), "-t", str(threads),
                       "-tb", str(threads), *self.batched_variant(variant)]
            yield Call(command, [test], parse_batched_table)


@dataclass(frozen=True)
class Driver:
    """A script of peers/ under the Python that has the engine; the binary is that Python."""

    script: str
    variants: tuple = ((),)
    models: str = ""

    def calls(self, binary, model, tests, variant, threads, repetitions):
        command = [binary, str(DRIVERS / self.script), "-m", model, "-t", str(threads),
                   "-r", str(repetitions), "--tests", ",".join(test.name for test in tests),
                   *variant]
        yield Call(command, list(tests), parse_rows)


# What each engine offers for speed on a CPU, best guess first; calibration tries them all.
KINDS = {
    "quern": Quern(),
    # Repacks weights while loading by itself; `--repack 0` shows where that does not pay. (A
    # quantised cache needs flash attention.)
    "mainline": LlamaBench(
        (("-fa", "1"), ("-fa", "0"), ("-fa", "1", "--repack", "0")),
        {("-fa", "1"): ("-fa", "on"), ("-fa", "0"): ("-fa", "off"),
         ("--repack", "1"): (), ("--repack", "0"): ("--no-repack",)}),
    # -rtr interleaves rows while loading (better decode, for some formats worse prefill),
    # -thp puts the weights on huge pages.
    "ik": LlamaBench(
        (("-fa", "1", "-rtr", "1", "-thp", "1"), ("-fa", "1", "-rtr", "0", "-thp", "1")),
        {("-rtr", "1"): ("-rtr",), ("-rtr", "0"): (), ("-thp", "1"): ("-thp",), ("-thp", "0"): ()},
        knows_depth=False),
    "vllm": Driver("vllm_bench.py", ((), ("--eager",))),
    "openvino_genai": Driver("openvino_genai_bench.py",
                             (("--backend", "paged"), ("--backend", "sdpa"))),
    "ctranslate2": Driver("ctranslate2_bench.py"),
    "onnxruntime_genai": Driver("onnxruntime_genai_bench.py"),
}


@dataclass
class Engine:
    name: str
    kind: object
    binary: str
    variants: tuple
    chosen: dict = field(default_factory=dict)  # (model, threads, test name) -> variant
    broken: dict = field(default_factory=dict)  # (model, threads, test name) -> why it cannot run
    build: str = ""

    def file_of(self, model):
        """The model as this engine stores it; None if there is none."""
        return model.files.get(self.name) or model.files.get(self.kind.models)

    def calls(self, model, tests, variant, threads, repetitions):
        return self.kind.calls(self.binary, self.file_of(model), tests, variant, threads,
                               repetitions)


@dataclass
class Model:
    name: str
    files: dict = field(default_factory=dict)  # engine's name, or "gguf" for all that read it
