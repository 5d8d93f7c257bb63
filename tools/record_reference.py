#!/usr/bin/env python3
"""Record what transformers (fp32, eager attention) makes of a model: the reference of `quern_parity`.

usage: record_reference.py MODEL OUT [--prompts N] [--length L] [--greedy G] [--text FILE]

MODEL is a Hugging Face folder or a .gguf file (its weights are dequantised to fp32). OUT becomes a
folder with
  cases.jsonl  {"prompt_token_ids": [...], "greedy": [G ids], "rows": n} a line
  logits.f32   for each case the logits [rows, V] of all prompt positions and of all greedy tokens
               but the last, little-endian float32, one case after the other
Prompts are slices of FILE's text in the model's own tokens, or pseudo-random ids where there is no
tokenizer. Needs torch and transformers, and gguf for .gguf files.
"""
import argparse
import json
import os
import random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(path):
    if path.endswith(".gguf"):
        where = {"pretrained_model_name_or_path": os.path.dirname(path) or ".",
                 "gguf_file": os.path.basename(path)}
    else:
        where = {"pretrained_model_name_or_path": path}
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, attn_implementation="eager").eval()
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
    except (OSError, ValueError, KeyError, TypeError):
        tokenizer = None
    return model, tokenizer


def make_prompts(args, model, tokenizer):
    generator = random.Random(1)
    if tokenizer is None or args.text is None:
        vocab = model.config.get_text_config().vocab_size
        return [[generator.randrange(3, vocab) for _ in range(1 + args.length * i // args.prompts)]
                for i in range(args.prompts)]
    with open(args.text, encoding="utf-8", errors="replace") as file:
        ids = tokenizer(file.read()[:2_000_000], add_special_tokens=False)["input_ids"]
    prompts = []
    for _ in range(args.prompts):
        start = generator.randrange(0, len(ids) - args.length)
        prompts.append(ids[start:start + generator.randrange(8, args.length + 1)])
    return prompts


@torch.no_grad()
def run(model, prompt, count):
    """Greedy continuation with a cache, and the logits of every position on the way."""
    out = model(torch.tensor([prompt]), use_cache=True)
    rows = [out.logits[0].float()]
    greedy = [int(rows[-1][-1].argmax())]
    while len(greedy) < count:
        out = model(torch.tensor([[greedy[-1]]]), past_key_values=out.past_key_values,
                    use_cache=True)
        rows.append(out.logits[0].float())
        greedy.append(int(rows[-1][-1].argmax()))
    return greedy, torch.cat(rows)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("model")
    ap.add_argument("out")
    ap.add_argument("--prompts", type=int, default=8)
    ap.add_argument("--length", type=int, default=48)
    ap.add_argument("--greedy", type=int, default=128)
    ap.add_argument("--text")
    args = ap.parse_args()
    torch.manual_seed(0)
    model, tokenizer = load(args.model)
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "cases.jsonl"), "w", encoding="ascii") as cases, \
            open(os.path.join(args.out, "logits.f32"), "wb") as logits:
        for prompt in make_prompts(args, model, tokenizer):
            greedy, rows = run(model, prompt, args.greedy)
            cases.write(json.dumps({"prompt_token_ids": prompt, "greedy": greedy,
                                    "rows": len(rows)}) + "\n")
            logits.write(rows.numpy().astype("<f4").tobytes())
            print(f"{len(prompt)} prompt tokens, {len(rows)} rows", flush=True)


if __name__ == "__main__":
    main()
