"""Checks models/demo against the checkpoint it came from, and prints stories to judge.

    python check.py --work WORKDIR --model ../../models/demo

The GGUF is read by transformers (dequantised) and compared with the fp32 torch model: largest
logit difference, and the greedy text of each prompt.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

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

    # Figures over unseen requests: does the story end, is it about the noun, are they all different?
    import random

    import generate
    rng, ended, about, seen, lengths, asked = random.Random(3), 0, 0, set(), [], 0
    unseen = "narwhal wombat pineapple plumber zeppelin accordion hyena ladle carousel pigeon teaspoon iguana".split()
    unseen_about = unseen_asked = 0
    for n in range(args.sampled):
        if n % 4 == 3:
            noun = rng.choice(unseen)
            request = f"Tell me a story about a {rng.choice(('little', 'brave', 'shy'))} {noun}."
        else:
            story = generate.Story(rng)
            noun, request = story.hero.noun, story.request()
        out = shipped_generate(prompt_ids(request), do_sample=True, temperature=0.7, top_p=0.9, top_k=0)
        text = tokenizer.decode(out, skip_special_tokens=True)
        ended += int(out[-1]) in (0, 2)
        hit = re.search(r"\b" + re.escape(noun), text) is not None
        if n % 4 == 3:
            unseen_asked, unseen_about = unseen_asked + 1, unseen_about + hit
        else:
            asked, about = asked + 1, about + hit
        seen.add(text)
        lengths.append(len(text.split()))
    print(f"{args.sampled} sampled: {ended} ended by themselves, {len(seen)} different, words "
          f"{np.percentile(lengths, 5):.0f}..{np.percentile(lengths, 95):.0f} (median {np.median(lengths):.0f}); "
          f"about the noun asked for: {about} of {asked}; nouns outside the generator: "
          f"{unseen_about} of {unseen_asked}")


if __name__ == "__main__":
    main()
