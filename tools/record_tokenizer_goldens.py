#!/usr/bin/env python3
"""Makes the tiny tokenizers of src/text/testdata and records what the reference libraries say.

For each NAME.json (tokenizers library) or NAME.model (sentencepiece library) a NAME.jsonl with one
text a line: {"hex": its bytes, "ids", "bare": without special tokens, "unparsed": special tokens in
the text as plain text, "text": the ids decoded, "skipped": decoded without special tokens}.

Usage: record_tokenizer_goldens.py [FOLDER]   (needs tokenizers and sentencepiece)
"""

import json
import os
import sys
import tempfile

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

CORPUS = [
    "One day a little fox found a shiny key under the old oak tree.",
    "The fox said: \"I'm going to find the door that it opens!\" They'll see, we've seen.",
    "She counted 1, 2, 3 and 42 and 1999 birds; then 100 more, and 1000 after them.",
    "for (int i = 0; i < n; ++i) {\n    sum += values[i];\n}\n\n\treturn sum;",
    "naïve café déjà vu, Ångström, über, año; ελληνικά и русский; 你好，世界 你好",
    "hello hello world world the the the and and and low lower lowest new newer newest wide",
] * 4

TEXTS = [
    "", " ", "  ", "   a", "\t", "\n", "\n\n\n", "\r\n", " \n ", "\u00a0", "Hello", " Hello", "  Hello ",
    "One day a little fox", "the the  the   the", "I'm you're HE'S we've 'tis", "1", "12", "1234567",
    "a1b22c333 ½ Ⅷ ²", "é", "e\u0301", "a\u0308\u0323 \u1e9b\u0323", "Å\u212b\ufb01①", "각\u1100\u1161\u11a8",
    "你好，世界。", "Привет ελληνικά ΣΊΣ", "👍", "👩‍👩‍👧‍👦 👍🏽 🇩🇪", "\u200b\u200d\ufeff", "\x00\x01\x7f", "�",
    "<s>", "<s>Hi</s> there", " <s> x", "a<|end|>b", "<|end|>", "<|end|><|end|> <|end|>", "<unk>", "<0x0A>",
    "<mask> <mask>", "  <mask>  x", "x <word> xword <word>y", "Day day DAY", "<|tool|>x", "▁", "▁▁ a▁b",
    "=" * 20, " " * 40, "\n" * 9, "a" * 200, "if (x == 1) {\n\t\treturn y;\n    }\n", "a-b--c---d", "-",
    "--", "the-final--countdown", "low lower lowest", "foo_bar.baz, qux; (x)", "...!!!???", "\u0130 ǅ ß",
    "b\u0316\u0300\u0301", "\u180e\u0085\u3000x", "tab\tsep", "end\n", "\u0e01\u0e33", "𝒳𝟘 𐍈", "ABC abc",
]
BYTES = [b"\xff", b"a\xe4\xbdb", b"\xf0\x9f\x91", b"\xc0\xaf\xed\xa0\x80x", b"ok\x80\x81"]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def special(*texts, **flags):
    return [AddedToken(text, special=True, normalized=False, **flags) for text in texts]


def train(pre_tokenizer, normalizer=None, alphabet=(), size=330, tokens=(), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    extra = {k: v for k, v in model.items()
             if k in ("continuing_subword_prefix", "end_of_word_suffix")}
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=list(tokens),
                                  initial_alphabet=list(alphabet), **extra)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def retrained(tokenizer, **model):
    """The same vocabulary and merges with other settings of the model."""
    data = json.loads(tokenizer.to_str())
    data["model"].update(model)
    return Tokenizer.from_str(json.dumps(data))


def byte_level(pre, use_regex=True, add_prefix_space=False, **more):
    level = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)
    steps = pre + [level]
    tokenizer = train(pre_tokenizers.Sequence(steps) if len(steps) > 1 else level,
                      alphabet=pre_tokenizers.ByteLevel.alphabet(), **more)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def gpt2():
    t = byte_level([])
    t.add_special_tokens(special("<|end|>", "<s>"))
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def llama3():
    t = retrained(byte_level([pre_tokenizers.Split(Regex(LLAMA3), "isolated")], use_regex=False),
                  ignore_merges=True)
    t.add_special_tokens(special("<s>", "<|end|>"))
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A <|end|>", pair="<s> $A $B <|end|>",
                                      special_tokens=[("<s>", t.token_to_id("<s>")),
                                                      ("<|end|>", t.token_to_id("<|end|>"))])])
    return t


def qwen2():
    t = byte_level([pre_tokenizers.Split(Regex(QWEN2), "isolated")], use_regex=False)
    t.normalizer = normalizers.NFC()
    t.add_special_tokens(special("<|end|>"))
    t.add_tokens([AddedToken("<|tool|>", special=False, normalized=False)])
    return t


def smollm():
    t = byte_level([pre_tokenizers.Digits(individual_digits=True)])
    t.add_special_tokens(special("<|end|>"))
    return t


def roberta():
    t = byte_level([], add_prefix_space=True)
    t.add_special_tokens(special("<s>", "</s>") + special("<mask>", lstrip=True))
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")),
                                                    ("<s>", t.token_to_id("<s>")))
    return t


def byte_level_normalizer():
    t = train(pre_tokenizers.Split(Regex("Ġ?[A-Za-z]+|."), "isolated"), normalizers.ByteLevel(),
              alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.decoder = decoders.ByteLevel()
    t.add_tokens([AddedToken("Day day", normalized=True), AddedToken("<|tool|>", normalized=True)])
    return t


BYTE_TOKENS = [f"<0x{i:02X}>" for i in range(256)]


def llama_parts(t, prefix):
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    t.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if prefix else []))
    t.add_special_tokens(special("<unk>", "<s>", "</s>"))
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def llama2():
    t = train(pre_tokenizers.Metaspace(), size=480,
              tokens=["<unk>", "<s>", "</s>"] + BYTE_TOKENS)
    t = retrained(t, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    t.pre_tokenizer = None
    data = json.loads(t.to_str())
    data["pre_tokenizer"] = None
    data["added_tokens"] = []
    t = Tokenizer.from_str(json.dumps(data))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return llama_parts(t, True)


def gemma():
    data = json.loads(llama2().to_str())
    # A few bytes are missing: those characters are unknown, and bytes overtake them.
    for token in ("<0xF0>", "<0xC3>"):
        del data["model"]["vocab"][token]
    data["added_tokens"] = []
    t = Tokenizer.from_str(json.dumps(data))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return llama_parts(t, False)


def metaspace_first():
    t = train(pre_tokenizers.Metaspace(), tokens=["<unk>", "<s>"])
    t = retrained(t, unk_token="<unk>", fuse_unk=False)
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    return t


def metaspace_always():
    t = retrained(train(pre_tokenizers.Metaspace(), tokens=["<unk>"]), unk_token="<unk>",
                  fuse_unk=True)
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    t.decoder = decoders.Metaspace(prepend_scheme="always")
    return t


def normalized():
    # The first rule is one that Oniguruma reads and PCRE2 would read differently.
    norm = normalizers.Sequence([normalizers.Replace(Regex("[\\s[_]]{2,}"), " "),
                                 normalizers.NFKD(), normalizers.StripAccents(),
                                 normalizers.Lowercase(), normalizers.Strip(True, True)])
    t = retrained(train(pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                                 pre_tokenizers.Punctuation()]), norm,
                        tokens=["<unk>"]), unk_token="<unk>")
    t.add_tokens([AddedToken("Day", normalized=True, single_word=True),
                  AddedToken("<word>", normalized=False, single_word=True),
                  AddedToken("<mask>", normalized=False, lstrip=True, rstrip=True)])
    return t


def nfkc_contiguous():
    t = retrained(train(pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"),
                                                 pre_tokenizers.Digits(False)]),
                        normalizers.NFKC(), tokens=["<unk>"]), unk_token="<unk>", fuse_unk=True)
    t.decoder = decoders.Fuse()
    return t


def prefix():
    t = train(pre_tokenizers.Whitespace(), tokens=["<unk>"], continuing_subword_prefix="##")
    return retrained(t, unk_token="<unk>")


def suffix():
    t = train(pre_tokenizers.Whitespace(), tokens=["<unk>"], end_of_word_suffix="</w>")
    t = retrained(t, unk_token="<unk>")
    t.decoder = decoders.BPEDecoder("</w>")
    return t


def split(behavior, invert):
    def make():
        t = retrained(train(pre_tokenizers.Split(Regex("-|\\s+"), behavior, invert), size=200,
                            tokens=["<unk>"]), unk_token="<unk>")
        t.decoder = decoders.Sequence([decoders.Fuse(), decoders.Strip("a", 2, 1)])
        return t
    return make


TOKENIZERS = {
    "gpt2": gpt2, "llama3": llama3, "qwen2": qwen2, "smollm": smollm, "roberta": roberta,
    "byte_level_normalizer": byte_level_normalizer, "llama2": llama2, "gemma": gemma,
    "metaspace_first": metaspace_first, "metaspace_always": metaspace_always,
    "normalized": normalized, "nfkc_contiguous": nfkc_contiguous, "prefix": prefix,
    "suffix": suffix, "split_removed": split("removed", False),
    "split_previous": split("merged_with_previous", False),
    "split_next": split("merged_with_next", False), "split_contiguous": split("contiguous", True),
}


def decode(tokenizer, ids, skip):
    try:
        return tokenizer.decode(ids, skip_special_tokens=skip)
    except BaseException:  # the library panics where Strip finds nothing left to strip
        return None


def record(tokenizer, path):
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.encode_special_tokens = True
    with open(path, "w", encoding="utf-8") as out:
        for data in [text.encode() for text in TEXTS] + BYTES:
            text = data.decode("utf-8", "replace")
            ids = tokenizer.encode(text).ids
            line = {"hex": data.hex(), "ids": ids,
                    "bare": tokenizer.encode(text, add_special_tokens=False).ids,
                    "unparsed": plain.encode(text, add_special_tokens=False).ids,
                    "text": decode(tokenizer, ids, False),
                    "skipped": decode(tokenizer, ids, True)}
            out.write(json.dumps(line, separators=(",", ":")) + "\n")


SENTENCEPIECE = {
    "spm_bytes": dict(model_type="bpe", vocab_size=420, byte_fallback=True, character_coverage=0.99,
                      normalization_rule_name="identity", remove_extra_whitespaces=False,
                      user_defined_symbols=["<word>", "==", "▁▁▁"], control_symbols=["<mask>"]),
    "spm_rules": dict(model_type="bpe", vocab_size=180, character_coverage=0.98,
                      rules="41 42 43\t78 20 79\n42\t62\n41\t61\nC5\t\nE9\t65 301\n3000\t20\n"),
    "spm_char": dict(model_type="char", vocab_size=90, normalization_rule_name="identity"),
}


def record_sentencepiece(name, settings, folder):
    settings = dict(settings)
    with tempfile.TemporaryDirectory() as work:
        rules = settings.pop("rules", None)
        if rules is not None:
            settings["normalization_rule_tsv"] = os.path.join(work, "rules.tsv")
            with open(settings["normalization_rule_tsv"], "w", encoding="utf-8") as out:
                out.write(rules)
        lines = [line for text in CORPUS for line in text.split("\n") if line]
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_prefix=os.path.join(work, "m"),
            minloglevel=2, hard_vocab_limit=False, **settings)
        with open(os.path.join(work, "m.model"), "rb") as trained:
            content = trained.read()
    path = os.path.join(folder, name)
    with open(path + ".model", "wb") as out:
        out.write(content)
    model = sentencepiece.SentencePieceProcessor(model_file=path + ".model")
    with open(path + ".jsonl", "w", encoding="utf-8") as out:
        for data in [text.encode() for text in TEXTS] + BYTES:
            ids = model.encode(data.decode("utf-8", "replace"))
            out.write(json.dumps({"hex": data.hex(), "unparsed": ids},
                                 separators=(",", ":")) + "\n")


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src", "text", "testdata")
    os.makedirs(folder, exist_ok=True)
    for name, make in TOKENIZERS.items():
        tokenizer = make()
        data = json.loads(tokenizer.to_str())
        if name in ("gpt2", "llama2"):  # the older spelling of merges
            data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as out:
            json.dump(data, out, ensure_ascii=False, separators=(",", ":"))
        record(tokenizer, os.path.join(folder, name + ".jsonl"))
    for name, settings in SENTENCEPIECE.items():
        record_sentencepiece(name, settings, folder)


if __name__ == "__main__":
    main()
