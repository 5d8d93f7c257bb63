"""Trains the tokenizer and turns the generated text into token ids.

    python prepare.py --work WORKDIR --documents 110000

Writes to WORKDIR: tokenizer.json, train.npz and held_out.npz (ids: uint16; starts: where each
document begins).
"""

import argparse
import random
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import generate

VOCAB_SIZE = 2048
SPECIALS = [generate.EOT, generate.IM_START, generate.IM_END]  # ids 0, 1, 2


def train_tokenizer(documents):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return tokenizer


def encode(tokenizer, documents, path):
    rows = [e.ids for i in range(0, len(documents), 5000)
            for e in tokenizer.encode_batch(documents[i:i + 5000])]
    starts = np.cumsum([0] + [len(r) for r in rows[:-1]])
    ids = np.concatenate([np.array(r, dtype=np.uint16) for r in rows])
    np.savez(path, ids=ids, starts=starts)
    print(f"{path}: {len(rows)} documents, {len(ids)} tokens, {len(ids) / len(rows):.0f} each")


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--work", type=Path, required=True)
    args.add_argument("--documents", type=int, default=110000)
    args = args.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    documents = [generate.document(rng) for _ in range(args.documents)]
    held_out_rng = random.Random(2)
    held_out = [generate.document(held_out_rng) for _ in range(400)]
    tokenizer = train_tokenizer(documents[:20000])
    for text in ("naïve café 漢字 🙂\n\ttabs  and\r\nspaces", documents[0]):
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    tokenizer.save(str(args.work / "tokenizer.json"))
    encode(tokenizer, documents, args.work / "train.npz")
    encode(tokenizer, held_out, args.work / "held_out.npz")


if __name__ == "__main__":
    main()
