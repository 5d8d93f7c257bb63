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

    def generate_all(texts, **how):
        """New ids of each prompt, without padding; prompts are padded on the left."""
        rows = [prompt_ids(text)[0] for text in texts]
        width = max(len(row) for row in rows)
        ids = torch.stack([torch.nn.functional.pad(row, (width - len(row), 0)) for row in rows])
        mask = torch.stack([torch.arange(width) >= width - len(row) for row in rows]).long()
        outs = shipped.generate(ids, attention_mask=mask, max_new_tokens=400, eos_token_id=[2, 0],
                                pad_token_id=0, **how)[:, width:].tolist()
        ends = [next((n + 1 for n, t in enumerate(out) if t in (0, 2)), len(out)) for out in outs]
        return [torch.tensor(out[:end]) for out, end in zip(outs, ends)]

    sampling = dict(do_sample=True, temperature=0.7, top_p=0.9, top_k=0)
    read = lambda ids: tokenizer.decode(ids, skip_special_tokens=True)
    for prompt, greedy, sampled in zip(PROMPTS, generate_all(PROMPTS, do_sample=False),
                                       generate_all(PROMPTS, **sampling)):
        ids = prompt_ids(prompt)[0]
        both = torch.cat((ids, greedy)).view(1, -1)
        with torch.no_grad():
            mine, theirs = own(both)[0], shipped(both).logits[0]
        # fp32 writes the same greedy text exactly as far as it prefers each of these tokens.
        prefers = mine[len(ids) - 1:-1].argmax(-1) == greedy
        same = len(greedy) if prefers.all() else int(prefers.int().argmin())
        print(f"### {prompt}\n[greedy; same tokens as fp32: {same} of {len(greedy)}; largest logit "
              f"difference {(mine - theirs).abs().max():.4f}]\n{read(greedy)}\n\n"
              f"[sampled]\n{read(sampled)}\n", flush=True)

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
        outs = generate_all([request for _, request, _ in batch], **sampling)
        for (noun, request, outside), out in zip(batch, outs):
            text = read(out)
            ended += int(out[-1]) in (0, 2)
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
