#!/usr/bin/env python3
"""Compares quern's token ids and decoded text with those of the reference libraries.

Usage: compare_tokenizers.py --command "quern tokenize" FILE [--reference KIND] [--corpus TEXT ...]

FILE is a tokenizer.json, a SentencePiece model, a vocab.json or a GGUF file. The command is run as
`COMMAND FILE --jsonl ...` with one {"hex": ...} a line on its input, and `--decode` the other way.

--reference says which library is asked:
  tokenizers     the tokenizers library on FILE (default for a tokenizer.json)
  sentencepiece  the sentencepiece library on FILE (default for a .model), without special tokens
  json:OTHER     the tokenizers library on another tokenizer.json
  class:NAME     transformers' NAME(vocab=FILE, merges=the merges beside it)
  gguf           transformers' own reading of the GGUF file
Texts are made up (nasty ones, and every code point) and cut from the --corpus files.
"""

import argparse
import json
import os
import random
import subprocess
import sys

NASTY = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\n \n", "\t \t", "\u00a0", "\u2028a",
    "Hello", " Hello", "  Hello", "Hello ", "Hello  ", "Hello, world!", "hello\nworld\r\n\r\nx",
    "I'm you're he's we've they'll I'd DON'T I'M 's 'S ''s", "1", "12", "123", "1234567890", "3.14",
    "a1b22c333", "\u0663\u0664 \u00bd \u2167 \u00b2", "ÀÉÎõü naïve façade", "e\u0301 a\u0308\u0323",
    "\u1e9b\u0323", "Å\u212b\ufb01\u2460", "한국어 조선글 각\u1100\u1161\u11a8", "你好，世界。漢字",
    "こんにちは カタカナ ｶﾀｶﾅ", "Привет мир", "ελληνικά ΣΊΣΥΦΟΣ", "مرحبا بالعالم", "שלום", "नमस्ते",
    "👍", "👩‍👩‍👧‍👦 👍🏽 🇩🇪 ☺️", "🫨🫠", "\u200b\u200d\ufeff", "\x00\x01\x7f", "a\u0000b", "��",
    "<s>", "</s>", "<unk>", "<s>Hi</s> there", " <s> ", "<|endoftext|>", "a<|endoftext|>b",
    "<|im_start|>user\nHi<|im_end|>\n", "<0x0A>", "<0x41>", "<|begin_of_text|>x<|eot_id|>", "<bos>",
    "<start_of_turn>user\n", "[INST] x [/INST]", "▁", "▁▁ a▁b", " ▁ ", "=" * 40, "-" * 33, " " * 70,
    "\n" * 40, "\t" * 35, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "if (x == 1) {\n\t\treturn y;\n    }\n",
    "    def f(self):\n        pass\n\n\n", "http://a.b/c?d=e&f=%20", "foo_bar-baz.qux", "...!!!???",
    "ﷺ \u0130stanbul İ ǅ ß ẞ", "𝒳𝟘𝟙 𐍈", "\u180e\u0085\u3000x", "a\u0300\u0316b\u0316\u0300",
    "\U00011935\U00011930", "\u1ac1\u0301", "𞤀", "\u0e01\u0e33", "tab\tsep  two", "end\n",
]


def make_texts(corpora, seed, count):
    rng = random.Random(seed)
    texts = [t.encode() for t in NASTY]
    texts += [t.encode() for t in (a + b for a in NASTY[:60] for b in rng.sample(NASTY, 3))]
    # Every code point, sixteen to a line, some behind a letter and a space.
    points = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    for i in range(0, len(points), 64):
        line = "".join(chr(c) for c in points[i:i + 64])
        texts.append(line.encode())
        texts.append(" ".join("x" + c for c in line[::9]).encode())
    alphabet = "ab  \n\t'sS.,1é漢👍▁<>|_-/\u0301\r"
    for _ in range(count):
        texts.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(40))).encode())
    for _ in range(count // 4):
        texts.append(bytes(rng.randrange(256) for _ in range(rng.randrange(24))))
        texts.append(b"abc\xe4\xbd" + bytes(rng.randrange(0x80, 0x100) for _ in range(4)))
    texts.append(b"a" * 50000)
    texts.append(" ".join(["word"] * 5000).encode())
    for corpus in corpora:
        data = open(corpus, "rb").read()
        for _ in range(count):
            start = rng.randrange(len(data))
            texts.append(data[start:start + rng.randrange(1, 2000)])
        texts.append(data[:200000])
    return texts


def load_reference(kind, path):
    """A pair of functions: text and flags to ids, ids to text."""
    if kind == "sentencepiece":
        import sentencepiece
        model = sentencepiece.SentencePieceProcessor(model_file=path)
        return lambda text, special: model.encode(text), None
    if kind.startswith("json:") or kind == "tokenizers":
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(kind[5:] if kind != "tokenizers" else path)
        tokenizer.no_truncation()
        tokenizer.no_padding()
    elif kind.startswith("class:"):
        import transformers
        merges = os.path.join(os.path.dirname(path), "merges.txt")
        tokenizer = getattr(transformers, kind[6:])(vocab=path, merges=merges)._tokenizer
    elif kind == "gguf":
        import transformers
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            os.path.dirname(path), gguf_file=os.path.basename(path))._tokenizer
    else:
        raise SystemExit(f"unknown reference {kind}")

    def encode(text, special):
        return tokenizer.encode(text, add_special_tokens=special).ids

    def decode(ids, skip):
        return tokenizer.decode(ids, skip_special_tokens=skip)

    return encode, decode


def run(command, path, flags, lines):
    done = subprocess.run(command.split() + [path, "--jsonl"] + flags, input="\n".join(lines) + "\n",
                          capture_output=True, text=True, errors="surrogatepass", check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command}: exit {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--command", required=True)
    parser.add_argument("--extra", default="", help="further flags of the command")
    parser.add_argument("--reference")
    parser.add_argument("--corpus", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parse-special", choices=["yes", "no"], default="yes")
    args = parser.parse_args()
    kind = args.reference or ("sentencepiece" if ".model" in args.file else "tokenizers")
    encode, decode = load_reference(kind, args.file)

    texts = make_texts(args.corpus, args.seed, args.count)
    lines = [json.dumps({"hex": text.hex()}) for text in texts]
    failed = 0
    all_ids = []
    for special in ([False] if kind == "sentencepiece" else [True, False]):
        flags = args.extra.split() + ([] if special else ["--no-special-tokens"])
        if kind == "sentencepiece":
            flags.append("--no-parse-special")
        got = run(args.command, args.file, flags, lines)
        for text, answer in zip(texts, got):
            decoded = text.decode("utf-8", "replace")
            wanted = encode(decoded, special)
            if answer.get("ids") != wanted:
                failed += 1
                if failed <= 12:
                    print(f"special={special} {decoded[:60]!r}\n  got    {str(answer)[:300]}\n"
                          f"  wanted {str(wanted)[:300]}")
            elif special:
                all_ids.append(wanted)
        print(f"encode special={special}: {len(texts)} texts, {failed} differ so far")
    if decode is not None:
        rng = random.Random(args.seed + 1)
        top = max((max(ids) for ids in all_ids if ids), default=1)
        lists = [ids[:300] for ids in all_ids]
        lists += [[rng.randrange(top + 3) for _ in range(rng.randrange(12))] for _ in range(2000)]
        for skip in (False, True):
            flags = args.extra.split() + ["--decode"] + (["--skip-special-tokens"] if skip else [])
            got = run(args.command, args.file, flags, [json.dumps({"ids": i}) for i in lists])
            for ids, answer in zip(lists, got):
                wanted = decode(ids, skip)
                if answer["text"] != wanted:
                    failed += 1
                    if failed <= 12:
                        print(f"skip={skip} {ids[:20]}\n  got    {answer['text'][:200]!r}\n"
                              f"  wanted {wanted[:200]!r}")
            print(f"decode skip={skip}: {len(lists)} lists, {failed} differ so far")
    print("all equal" if failed == 0 else f"{failed} differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
