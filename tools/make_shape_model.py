#!/usr/bin/env python3
"""Writes a model of a known shape with random weights, as a Hugging Face folder.

Speed does not depend on what weights say, only on how many there are and of which type, so a
benchmark needs the shape of a model and not the model. Weights are normal with a standard deviation
of 0.02, which keeps activations sane; the same seed gives the same bytes. The tokenizer is a
byte-level BPE of the right size whose words mean nothing: every string of letters, shortest first,
until the vocabulary is full, so that it has as many merges to read as a real one.

Needs Python 3.11 and numpy.
"""
import argparse
import itertools
import json
import math
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STD = 0.02
CHUNK_VALUES = 1 << 24  # made and written at a time, which bounds memory

LLAMA_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def llama(layers, hidden, heads, kv_heads, feed_forward, vocab, positions, rope):
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": hidden // heads,
        "intermediate_size": feed_forward, "vocab_size": vocab,
        "max_position_embeddings": positions, "tie_word_embeddings": True, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
        "attention_dropout": 0.0, "initializer_range": STD, "use_cache": True, **rope}


LLAMA_3_ROPE = {"rope_theta": 500000.0, "rope_scaling": {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192}}

# Each name's config.json, without token ids and type, which are added when it is written.
SHAPES = {
    "llama-3.2-1b": llama(16, 2048, 32, 8, 8192, 128256, 131072, LLAMA_3_ROPE),
    "llama-3.2-3b": llama(28, 3072, 24, 8, 8192, 128256, 131072, LLAMA_3_ROPE),
    # The published one ends at 256 positions; more are given here so that no bench runs over.
    "stories15m": llama(6, 288, 6, 6, 768, 32000, 2048, {"rope_theta": 10000.0}),
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": 12, "n_embd": 768,
        "n_head": 12, "n_inner": None, "n_positions": 1024, "n_ctx": 1024, "vocab_size": 50257,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "attn_pdrop": 0.0,
        "embd_pdrop": 0.0, "resid_pdrop": 0.0, "initializer_range": STD, "use_cache": True,
        "scale_attn_weights": True, "tie_word_embeddings": True},
}


# --- tensors ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple
    ones: bool = False  # the weight of a norm; everything else is random


def llama_tensors(config):
    hidden, feed_forward = config["hidden_size"], config["intermediate_size"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    yield Tensor("model.embed_tokens.weight", (config["vocab_size"], hidden))
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield Tensor(at + "input_layernorm.weight", (hidden,), ones=True)
        yield Tensor(at + "self_attn.q_proj.weight", (hidden, hidden))
        yield Tensor(at + "self_attn.k_proj.weight", (kv, hidden))
        yield Tensor(at + "self_attn.v_proj.weight", (kv, hidden))
        yield Tensor(at + "self_attn.o_proj.weight", (hidden, hidden))
        yield Tensor(at + "post_attention_layernorm.weight", (hidden,), ones=True)
        yield Tensor(at + "mlp.gate_proj.weight", (feed_forward, hidden))
        yield Tensor(at + "mlp.up_proj.weight", (feed_forward, hidden))
        yield Tensor(at + "mlp.down_proj.weight", (hidden, feed_forward))
    yield Tensor("model.norm.weight", (hidden,), ones=True)


def gpt2_tensors(config):
    """Matrices stand as [in, out], as this family stores them."""
    hidden = config["n_embd"]
    yield Tensor("transformer.wte.weight", (config["vocab_size"], hidden))
    yield Tensor("transformer.wpe.weight", (config["n_positions"], hidden))
    for layer in range(config["n_layer"]):
        at = f"transformer.h.{layer}."
        for name, shape, ones in (
                ("ln_1.weight", (hidden,), True), ("ln_1.bias", (hidden,), False),
                ("attn.c_attn.weight", (hidden, 3 * hidden), False),
                ("attn.c_attn.bias", (3 * hidden,), False),
                ("attn.c_proj.weight", (hidden, hidden), False),
                ("attn.c_proj.bias", (hidden,), False),
                ("ln_2.weight", (hidden,), True), ("ln_2.bias", (hidden,), False),
                ("mlp.c_fc.weight", (hidden, 4 * hidden), False),
                ("mlp.c_fc.bias", (4 * hidden,), False),
                ("mlp.c_proj.weight", (4 * hidden, hidden), False),
                ("mlp.c_proj.bias", (hidden,), False)):
            yield Tensor(at + name, shape, ones)
    yield Tensor("transformer.ln_f.weight", (hidden,), ones=True)
    yield Tensor("transformer.ln_f.bias", (hidden,))


TENSORS = {"llama": llama_tensors, "gpt2": gpt2_tensors}


def to_bf16(values):
    """The upper half of each float, rounded to nearest, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def chunks_of(tensor, seed):
    """Each tensor has a generator of its own, so that its values hang on no other tensor."""
    random = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
    left = math.prod(tensor.shape)
    while left > 0:
        count = min(left, CHUNK_VALUES)
        if tensor.ones:
            yield np.ones(count, np.float32)
        else:
            yield random.standard_normal(count, np.float32) * np.float32(STD)
        left -= count


def write_safetensors(path, tensors, dtype, seed):
    value_bytes = 2 if dtype == "bf16" else 4
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for tensor in tensors:
        begin, end = end, end + value_bytes * math.prod(tensor.shape)
        header[tensor.name] = {"dtype": dtype.upper(), "shape": list(tensor.shape),
                               "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            for values in chunks_of(tensor, seed):
                (to_bf16(values) if dtype == "bf16" else values.astype("<f4")).tofile(file)


# --- tokenizer -------------------------------------------------------------------------------


def byte_alphabet():
    """The character that stands for each byte: itself where it is printable."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    table = {byte: chr(byte) for byte in printable}
    table |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    return table


def words_and_merges(count):
    """`count` strings of letters, shortest first, with and without a space before; each is made of
    one that stands earlier and a letter."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    space = byte_alphabet()[ord(" ")]
    words, merges = [], []
    shorter = [*letters, space]
    while True:
        longer = []
        for left, right in itertools.product(shorter, letters):
            if len(words) == count:
                return words, merges
            words.append(left + right)
            merges.append([left, right])
            longer.append(left + right)
        shorter = longer


def special_tokens(config):
    """The token that begins a text, the one that ends it, then fillers; GPT-2 has one for both."""
    if config["model_type"] == "gpt2":
        return ["<|endoftext|>"]
    count = 256 if config["vocab_size"] > 100000 else 2
    return ["<|begin_of_text|>", "<|end_of_text|>",
            *(f"<|reserved_special_token_{i}|>" for i in range(count - 2))]


def tokenizer_json(config):
    specials = special_tokens(config)
    num_words = config["vocab_size"] - 256 - len(specials)
    words, merges = words_and_merges(num_words)
    ordered = [*byte_alphabet().values(), *words]
    vocab = {word: i for i, word in enumerate(ordered)}
    assert len(vocab) == len(ordered), "a word stands twice"
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    if config["model_type"] == "gpt2":
        pre_tokenizer, post_processor = byte_level, byte_level
    else:
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA_SPLIT}, "behavior": "Isolated",
             "invert": False},
            byte_level | {"use_regex": False}]}
        bos, bos_id = specials[0], len(ordered)
        post_processor = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}}}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": len(ordered) + i, "content": token, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
            for i, token in enumerate(specials)],
        "normalizer": None, "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": config["model_type"] == "llama",
                  "vocab": vocab, "merges": merges}}


# --- the folder ------------------------------------------------------------------------------


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_folder(folder, shape, dtype, seed):
    config = dict(SHAPES[shape])
    specials = special_tokens(config)
    first_special = config["vocab_size"] - len(specials)
    ids = {"bos_token_id": first_special, "eos_token_id": first_special + (len(specials) > 1)}
    config |= ids | {"torch_dtype": {"bf16": "bfloat16", "f32": "float32"}[dtype]}

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", ids | {"do_sample": False})
    write_json(folder / "tokenizer.json", tokenizer_json(config))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": specials[0],
        "eos_token": specials[min(1, len(specials) - 1)], "clean_up_tokenization_spaces": False,
        "model_max_length": config.get("n_positions") or config["max_position_embeddings"]}
    if config["model_type"] == "gpt2":
        tokenizer_config["unk_token"] = specials[0]  # as the published one has it
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    tensors = list(TENSORS[config["model_type"]](config))
    write_safetensors(folder / "model.safetensors", tensors, dtype, seed)
    return sum(math.prod(tensor.shape) for tensor in tensors)


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if (options.folder / "model.safetensors").exists():
        parser.error(f"{options.folder} holds a model already; remove it or name another folder")
    count = write_folder(options.folder, options.shape, options.dtype, options.seed)
    print(f"{options.folder}: {options.shape}, {count / 1e6:.1f} M parameters, {options.dtype}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
