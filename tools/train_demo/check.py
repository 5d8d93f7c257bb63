"""Checks models/demo against the checkpoint it came from, and prints stories to judge.

    python check.py --work WORKDIR --model ../../models/demo

The GGUF is read by transformers (dequantised) and compared with the fp32 torch model: largest
logit difference, and the greedy text of each prompt.
"""

import argparse
import random
import re
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import generate
from model import Config, DemoModel

PROMPTS = [  # the last six nouns never occur in the generator's lists
    "Tell me a story about a little fox.",
    "Tell me a story about a brave mouse who is afraid of the dark.",
    "Tell me a story about a girl named Lily and a dragon.",
    "Tell me a story about a red train.",
    "Hello!",
    "Tell me a story about a lonely narwhal.",
    "Tell me a story about a small wombat who learns to share.",
    "tell me a bedtime story about a purple accordion",
    "Can you tell me a story about a clever plumber in the forest?",
    "Tell me a story about a zeppelin and a wise hamster.",
    "Please tell me a story about a shy pineapple.",
]
OUTSIDE = ("narwhal wombat pineapple plumber zeppelin accordion hyena ladle carousel pigeon teaspoon "
           "iguana").split()


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--work", type=Path, required=True)
    args.add_argument("--model", type=Path, required=True)
    args.add_argument("--sampled", type=int, default=200, help="sampled requests for the figures")
    args = args.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(5)

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    shipped = AutoModelForCausalLM.from_pretrained(args.model, gguf_file="model-q8_0.gguf",
                                                   dtype=torch.float32).eval()
    own = DemoModel(Config())
    own.load_state_dict(torch.load(args.work / "checkpoint.pt", weights_only=True)["model"])
    own.eval()

    def prompt_ids(text):
        text = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False,
                                             add_generation_prompt=True)
        return tokenizer(text, return_tensors="pt").input_ids

    def shipped_generate(ids, **how):
        out = shipped.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=400,
                               eos_token_id=[2, 0], pad_token_id=0, **how)
        return out[0, ids.shape[1]:]

    @torch.no_grad()
    def own_greedy(ids, count):
        start = ids.shape[1]
        while ids.shape[1] < start + count:
            following = own(ids)[0, -1].argmax()
            ids = torch.cat((ids, following.view(1, 1)), 1)
            if following in (0, 2):
                break
        return ids[0, start:]

    for i, prompt in enumerate(PROMPTS):
        ids = prompt_ids(prompt)
        greedy = shipped_generate(ids, do_sample=False)
        full = own_greedy(ids, len(greedy))
        same = len(greedy) if torch.equal(full, greedy) else next(
            (n for n, (a, b) in enumerate(zip(full, greedy)) if a != b), min(len(full), len(greedy)))
        with torch.no_grad():
            both = torch.cat((ids[0], greedy)).view(1, -1)
            difference = (own(both) - shipped(both).logits).abs().max().item()
        print(f"### {prompt}\n[greedy; same tokens as fp32: {same} of {len(greedy)}; "
              f"largest logit difference {difference:.4f}]\n{tokenizer.decode(greedy, skip_special_tokens=True)}\n")
        sampled = shipped_generate(ids, do_sample=True, temperature=0.7, top_p=0.9, top_k=0)
        print(f"[sampled]\n{tokenizer.decode(sampled, skip_special_tokens=True)}\n")

    # Figures over new requests: does the story end, is it about the noun, are they all different?
    rng, requests = random.Random(3), []
    for n in range(args.sampled):
        if n % 4 == 3:
            noun = rng.choice(OUTSIDE)
            requests.append((noun, f"Tell me a story about a {rng.choice(('little', 'brave', 'shy'))} {noun}.", True))
        else:
            story = generate.Story(rng)
            requests.append((story.hero.noun, story.request(), False))
    ended, seen, lengths = 0, set(), []
    about, asked = {True: 0, False: 0}, {True: 0, False: 0}
    for first in range(0, len(requests), 40):
        batch = requests[first:first + 40]
        rows = [prompt_ids(request)[0] for _, request, _ in batch]
        width = max(len(row) for row in rows)
        ids = torch.stack([torch.nn.functional.pad(row, (width - len(row), 0)) for row in rows])
        mask = torch.stack([torch.arange(width) >= width - len(row) for row in rows]).long()
        outs = shipped.generate(ids, attention_mask=mask, max_new_tokens=400, eos_token_id=[2, 0],
                                pad_token_id=0, do_sample=True, temperature=0.7, top_p=0.9, top_k=0)
        for (noun, request, outside), out in zip(batch, outs[:, width:]):
            text = tokenizer.decode(out, skip_special_tokens=True)
            ended += bool(((out == 2) | (out == 0)).any())
            asked[outside] += 1
            if re.search(r"\b" + re.escape(noun), text):
                about[outside] += 1
            else:
                print(f"missed: {request!r} -> {text[:90]!r}")
            seen.add(text)
            lengths.append(len(text.split()))
    print(f"{args.sampled} sampled: {ended} ended by themselves, {len(seen)} different, words "
          f"{np.percentile(lengths, 5):.0f}..{np.percentile(lengths, 95):.0f} (median {np.median(lengths):.0f}); "
          f"about the noun asked for: {about[False]} of {asked[False]}; nouns outside the generator: "
          f"{about[True]} of {asked[True]}")


if __name__ == "__main__":
    main()
