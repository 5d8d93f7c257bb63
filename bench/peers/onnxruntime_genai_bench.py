#!/usr/bin/env python3
"""onnxruntime-genai as llama-bench: the model is a folder with genai_config.json."""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime_genai as og

from driver import run_driver


class OnnxRuntimeGenai:
    version = og.__version__

    def __init__(self, options, room):
        settings = json.loads(Path(options.model, "genai_config.json").read_text(encoding="utf-8"))
        self.vocab_size = settings["model"]["vocab_size"]
        config = og.Config(options.model)
        session = {"intra_op_num_threads": options.threads, "inter_op_num_threads": 1}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        self.model = og.Model(config)

    def generate(self, prompts, new_tokens, on_tokens):
        length = len(prompts[0]) + new_tokens
        params = og.GeneratorParams(self.model)
        # As min_length says, the end token is never chosen.
        params.set_search_options(batch_size=len(prompts), max_length=length, min_length=length,
                                  do_sample=False, num_beams=1)
        generator = og.Generator(self.model, params)
        generator.append_tokens(np.array(prompts, dtype=np.int32))
        for tokens in range(1, new_tokens + 1):
            generator.generate_next_token()
            on_tokens(tokens)
        for i, prompt in enumerate(prompts):
            count = len(generator.get_sequence(i)) - len(prompt)
            if count != new_tokens:
                sys.exit(f"sequence {i} has {count} new tokens, wanted {new_tokens}")


if __name__ == "__main__":
    sys.exit(run_driver(OnnxRuntimeGenai))
