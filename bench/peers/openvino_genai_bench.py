#!/usr/bin/env python3
"""OpenVINO GenAI as llama-bench: the model is an exported folder.

--backend paged steps its continuous batching, sdpa its pipeline with one cache per sequence, which
answers one prompt at a time or a batch of them.
"""
import json
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as ovg

from driver import run_driver


def greedy(new_tokens):
    config = ovg.GenerationConfig()
    config.max_new_tokens = new_tokens
    config.ignore_eos = True
    config.do_sample = False
    config.apply_chat_template = False
    return config


def ids_tensor(prompts):
    return ov.Tensor(np.array(prompts, dtype=np.int64))


class Paged:
    """Continuous batching over pages of keys and values."""

    def __init__(self, options, room, properties):
        scheduler = ovg.SchedulerConfig()
        scheduler.enable_prefix_caching = False
        scheduler.dynamic_split_fuse = False  # a prompt is one step
        scheduler.max_num_batched_tokens = max(256, room.tokens * room.sequences)
        scheduler.max_num_seqs = max(1, room.sequences)
        scheduler.cache_size = options.cache_gib
        self.pipeline = ovg.ContinuousBatchingPipeline(
            options.model, scheduler, "CPU", properties)
        self.num_requests = 0

    def generate(self, prompts, new_tokens, on_tokens):
        handles, counts = [], [0] * len(prompts)
        for prompt in prompts:
            handles.append(self.pipeline.add_request(
                self.num_requests, ids_tensor([prompt]), greedy(new_tokens)))
            self.num_requests += 1
        while self.pipeline.has_non_finished_requests():
            self.pipeline.step()
            for i, handle in enumerate(handles):
                while handle.can_read():
                    for output in handle.read().values():
                        counts[i] += len(output.generated_ids)
            on_tokens(min(counts))


class Sdpa:
    """Keys and values within the model's state. Its own clock says when the first token came."""

    def __init__(self, options, room, properties):
        self.pipeline = ovg.LLMPipeline(
            options.model, "CPU", ATTENTION_BACKEND="SDPA", **properties)

    def generate(self, prompts, new_tokens, on_tokens):
        ids = ids_tensor(prompts)
        inputs = ovg.TokenizedInputs(ids, ov.Tensor(np.ones(ids.shape, dtype=np.int64)))
        result = self.pipeline.generate(inputs, greedy(new_tokens))
        for tokens in result.tokens:
            if len(tokens) != new_tokens:
                sys.exit(f"a sequence has {len(tokens)} new tokens, wanted {new_tokens}")
        first_us = result.perf_metrics.raw_metrics.m_times_to_first_token[0]
        on_tokens.told(first_us / 1e6, new_tokens)


class OpenVinoGenai:
    version = ovg.__version__

    def __init__(self, options, room):
        config = json.loads(Path(options.model, "config.json").read_text(encoding="utf-8"))
        self.vocab_size = config["vocab_size"]
        properties = {"INFERENCE_NUM_THREADS": options.threads, "NUM_STREAMS": 1,
                      "PERFORMANCE_HINT": "LATENCY"}
        if options.kv_cache:
            properties["KV_CACHE_PRECISION"] = options.kv_cache
        self.backend = {"paged": Paged, "sdpa": Sdpa}[options.backend](options, room, properties)

    def generate(self, prompts, new_tokens, on_tokens):
        self.backend.generate(prompts, new_tokens, on_tokens)


def add_options(parser):
    parser.add_argument("--backend", choices=("paged", "sdpa"), default="paged")
    parser.add_argument("--cache-gib", type=int, default=1, help="pages of keys and values")
    parser.add_argument("--kv-cache", help="type of keys and values: u8, f16, bf16 (default: its)")


if __name__ == "__main__":
    sys.exit(run_driver(OpenVinoGenai, add_options))
