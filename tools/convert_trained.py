#!/usr/bin/env python3
"""Converts small trained models out of their own formats into Hugging Face folders.

usage: convert_trained.py ASSETS OUT_DIR [NAME ...]
ASSETS is the folder that holds models/stories260K and so on. NAME is one of
  stories260K     llama2.c .bin, with its SentencePiece tokenizer
  babyllama       llama2.c .bin, with its SentencePiece tokenizer (letters, no byte fallback)
  gpt2-induction  makemore's pickle; token ids only (0 starts, 1..26 are letters)
  gpt2-nano-sort  minGPT as JSON; token ids only
Needs nothing but Python itself. Nothing of a pickle is run: only the tensors' layout is read.
"""
import array
import base64
import collections
import json
import math
import pickle
import shutil
import struct
import sys
import zipfile
from pathlib import Path


class Tensor:
    """Floats in rows."""

    def __init__(self, shape, values):
        assert math.prod(shape) == len(values), (shape, len(values))
        self.shape, self.values = tuple(shape), values

    def transposed(self):
        _, cols = self.shape
        out = array.array("f")
        for c in range(cols):
            out += self.values[c::cols]
        return Tensor(self.shape[::-1], out)

    def half_split(self, heads):
        """Rotary pairs stored side by side -> all first values of a head, then all second ones."""
        rows, cols = self.shape
        head_dim = rows // heads
        out = array.array("f")
        for head in range(heads):
            for half in range(2):
                for pair in range(head_dim // 2):
                    row = head * head_dim + 2 * pair + half
                    out += self.values[row * cols:(row + 1) * cols]
        return Tensor(self.shape, out)


def floats(data):
    values = array.array("f")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def write_folder(folder, config, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    header, offset = {}, 0
    for name, tensor in tensors.items():
        size = 4 * len(tensor.values)
        header[name] = {"dtype": "F32", "shape": tensor.shape,
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            values = tensor.values
            if sys.byteorder == "big":
                values = array.array("f", values)
                values.byteswap()
            f.write(values.tobytes())


# --- llama2.c, version 0 --------------------------------------------------------------------------

def convert_llama2c(checkpoint, tokenizer, folder):
    data = checkpoint.read_bytes()
    dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack_from("<7i", data)
    tied, vocab = vocab > 0, abs(vocab)
    head_dim = dim // heads
    kv_dim = kv_heads * head_dim
    position = 28

    def take(*shape):
        nonlocal position
        size = 4 * math.prod(shape)
        values = floats(data[position:position + size])
        position += size
        return Tensor(shape, values)

    def per_layer(*shape):
        return [take(*shape) for _ in range(layers)]

    embeddings = take(vocab, dim)
    parts = {
        "input_layernorm": per_layer(dim),
        "self_attn.q_proj": [t.half_split(heads) for t in per_layer(dim, dim)],
        "self_attn.k_proj": [t.half_split(kv_heads) for t in per_layer(kv_dim, dim)],
        "self_attn.v_proj": per_layer(kv_dim, dim),
        "self_attn.o_proj": per_layer(dim, dim),
        "post_attention_layernorm": per_layer(dim),
        "mlp.gate_proj": per_layer(hidden, dim),
        "mlp.down_proj": per_layer(dim, hidden),
        "mlp.up_proj": per_layer(hidden, dim),
    }
    tensors = {"model.embed_tokens.weight": embeddings}
    for i in range(layers):
        for name, part in parts.items():
            tensors[f"model.layers.{i}.{name}.weight"] = part[i]
    tensors["model.norm.weight"] = take(dim)
    position += 4 * context * head_dim  # tables of cosines and sines
    if not tied:
        tensors["lm_head.weight"] = take(vocab, dim)
    if position != len(data):
        raise SystemExit(f"{checkpoint}: read {position} of {len(data)} bytes")

    write_folder(folder, {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab,
        "hidden_size": dim, "intermediate_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": tied, "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": "float32"}, tensors)
    shutil.copyfile(tokenizer, folder / "tokenizer.model")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False,
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": True},
        indent=2) + "\n")


# --- GPT-2 as makemore and minGPT write it --------------------------------------------------------

def write_gpt2(folder, tensors, heads):
    """`tensors` are nn.Linear's [out, in] throughout; Hugging Face's Conv1D wants [in, out]."""
    products = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    out = {name: t.transposed() if name.endswith(products) else t for name, t in tensors.items()
           if not name.endswith(".attn.bias")}  # the causal mask
    vocab, dim = tensors["transformer.wte.weight"].shape
    layers = len({name.split(".")[2] for name in tensors if name.startswith("transformer.h.")})
    write_folder(folder, {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": vocab,
        "n_embd": dim, "n_layer": layers, "n_head": heads,
        "n_positions": tensors["transformer.wpe.weight"].shape[0],
        "n_inner": tensors["transformer.h.0.mlp.c_fc.weight"].shape[0],
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": None}, out)


class TensorLayout(pickle.Unpickler):
    """Reads the layout of tensors from the pickle inside a .pt file; refuses everything else."""

    def __init__(self, archive, root):
        super().__init__(archive.open(f"{root}/data.pkl"))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        known = {("collections", "OrderedDict"): collections.OrderedDict,
                 ("torch._utils", "_rebuild_tensor_v2"): self.rebuild,
                 ("torch", "FloatStorage"): "float32"}
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of tensors")
        return known[module, name]

    def persistent_load(self, pid):
        kind, dtype, key, _, _ = pid
        assert (kind, dtype) == ("storage", "float32")
        return floats(self.archive.read(f"{self.root}/data/{key}"))

    @staticmethod
    def rebuild(storage, offset, shape, stride, *_):
        plain = tuple(math.prod(shape[i + 1:]) for i in range(len(shape)))
        assert tuple(stride) == plain, "a tensor in another order of memory"
        return Tensor(shape, storage[offset:offset + math.prod(shape)])


def convert_induction(checkpoint, folder):
    with zipfile.ZipFile(checkpoint) as archive:
        root = next(n for n in archive.namelist() if n.endswith("/data.pkl")).split("/")[0]
        tensors = TensorLayout(archive, root).load()
    write_gpt2(folder, tensors, heads=1)


def convert_nano_sort(checkpoint, folder):
    data = json.loads(checkpoint.read_text())
    heads = data.pop("config")["n_head"]
    tensors = {name: Tensor(t["shape"], floats(base64.b64decode(t["data"])))
               for name, t in data.items()}
    write_gpt2(folder, tensors, heads)


CONVERTERS = {
    "stories260K": lambda m, out: convert_llama2c(m / "stories260K/stories260K.bin",
                                                  m / "stories260K/tok512.model", out),
    "babyllama": lambda m, out: convert_llama2c(m / "babyllama-tok105/model5000.bin",
                                                m / "babyllama-tok105/tok105.model", out),
    "gpt2-induction": lambda m, out: convert_induction(m / "gpt2-induction/model.pt", out),
    "gpt2-nano-sort": lambda m, out: convert_nano_sort(
        m / "gpt2-nano-sort/gpt-nano-sort-model.json", out),
}


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    models, out = Path(sys.argv[1]) / "models", Path(sys.argv[2])
    for name in sys.argv[3:] or CONVERTERS:
        if name not in CONVERTERS:
            raise SystemExit(f"{name}: not one of {', '.join(CONVERTERS)}")
        CONVERTERS[name](models, out / name)
        print(f"{out / name}")


if __name__ == "__main__":
    main()
