#!/usr/bin/env python3
"""vLLM's CPU build as llama-bench: the model is a Hugging Face folder."""
import importlib.metadata
import json
import os
import sys
from pathlib import Path

from driver import run_driver


# What vLLM's manual asks to be loaded before it: taken from the folder `lib` of its environment,
# which holds the first one as a dependency; the second one is put there by hand.
PRELOADED = ("libiomp5.so", "libtcmalloc_minimal.so.4")


def start_anew_with_preloads():
    """The dynamic linker reads LD_PRELOAD at a program's start, so this becomes another one."""
    if "LD_PRELOAD" in os.environ:
        return
    found = [str(path) for name in PRELOADED if (path := Path(sys.prefix, "lib", name)).exists()]
    if len(found) < len(PRELOADED):
        print(f"of {', '.join(PRELOADED)} only {found} are in {sys.prefix}/lib: not at its best",
              file=sys.stderr)
    if found:
        os.environ["LD_PRELOAD"] = ":".join(found)
        os.execv(sys.executable, [sys.executable, *sys.argv])


def set_environment(options):
    """What vLLM reads from the environment, before it is imported."""
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:options.threads])
    os.environ |= {
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_OMP_THREADS_BIND": cpus,
        "VLLM_CPU_KVCACHE_SPACE": str(options.cache_gib),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # steps are made, and timed, in this process
        "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}


class Vllm:
    def __init__(self, options, room):
        set_environment(options)
        from vllm import EngineArgs, LLMEngine, SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self.version = distribution_version()
        config = json.loads(Path(options.model, "config.json").read_text(encoding="utf-8"))
        self.vocab_size = config["vocab_size"]
        self.engine = LLMEngine.from_engine_args(EngineArgs(
            model=options.model, dtype="bfloat16", skip_tokenizer_init=True,
            enforce_eager=options.eager, enable_prefix_caching=False,
            max_model_len=room.tokens, max_num_seqs=room.sequences,
            # A prompt is one step, and so are the prompts of a batch.
            max_num_batched_tokens=max(room.tokens * room.sequences, 512),
            async_scheduling=False, disable_log_stats=True))
        self.params = lambda new_tokens: SamplingParams(
            temperature=0.0, max_tokens=new_tokens, ignore_eos=True, detokenize=False,
            output_kind=RequestOutputKind.DELTA)
        self.num_requests = 0

    def generate(self, prompts, new_tokens, on_tokens):
        counts = {}
        for prompt in prompts:
            request_id = str(self.num_requests)
            self.num_requests += 1
            counts[request_id] = 0
            self.engine.add_request(request_id, {"prompt_token_ids": prompt},
                                    self.params(new_tokens))
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                counts[output.request_id] += len(output.outputs[0].token_ids)
            on_tokens(min(counts.values()))


def distribution_version():
    for name in ("vllm-cpu", "vllm"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def add_options(parser):
    parser.add_argument("--eager", action="store_true", help="without compiling the model")
    parser.add_argument("--cache-gib", type=int, default=1, help="keys and values")


if __name__ == "__main__":
    start_anew_with_preloads()
    sys.exit(run_driver(Vllm, add_options))
