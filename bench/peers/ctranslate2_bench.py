#!/usr/bin/env python3
"""CTranslate2 as llama-bench: the model is a converted folder."""
import json
import sys
from pathlib import Path

import ctranslate2

from driver import run_driver


class CTranslate2:
    version = ctranslate2.__version__

    def __init__(self, options, room):
        vocabulary = json.loads(Path(options.model, "vocabulary.json").read_text(encoding="utf-8"))
        self.vocabulary = vocabulary
        self.vocab_size = len(vocabulary)
        self.generator = ctranslate2.Generator(
            options.model, device="cpu", compute_type=options.compute_type,
            intra_threads=options.threads, inter_threads=1)

    def generate(self, prompts, new_tokens, on_tokens):
        tokens_of = [0] * len(prompts)

        def on_step(step):
            tokens_of[step.batch_id] += 1
            on_tokens(min(tokens_of))
            return False  # go on

        results = self.generator.generate_batch(
            [[self.vocabulary[token] for token in prompt] for prompt in prompts],
            beam_size=1, sampling_topk=1, min_length=new_tokens, max_length=new_tokens,
            end_token=[], include_prompt_in_result=False, callback=on_step)
        for result in results:
            count = len(result.sequences_ids[0])
            if count != new_tokens:
                sys.exit(f"a sequence has {count} new tokens, wanted {new_tokens}")


def add_options(parser):
    parser.add_argument("--compute-type", default="int8", help="as ctranslate2.Generator takes it")


if __name__ == "__main__":
    sys.exit(run_driver(CTranslate2, add_options))
