#!/usr/bin/env python3
"""Writes a GPT-2 folder of float weights as a model that onnxruntime-genai loads.

The model builder of onnxruntime-genai does not know this family. The graph is what it writes for
others: attention as one operator that appends to keys and values in place, and logits of the last
token only. --int4 stores the products' weights in blocks of 32 and multiplies them with int8
activations (accuracy level 4).

Needs numpy, onnx and onnxruntime.
"""
import argparse
import json
import struct
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CONTRIB = "com.microsoft"
CACHE = "past_key_values.{}.{}"
PRESENT = "present.{}.{}"


def read_safetensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = np.memmap(path, np.uint8, "r", offset=8 + size)
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise SystemExit(f"{path}: {name} is {entry['dtype']}, wanted F32")
        begin, end = entry["data_offsets"]
        tensors[name] = data[begin:end].view("<f4").reshape(entry["shape"])
    return tensors


class Graph:
    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        self.nodes, self.initializers = [], []

    def constant(self, name, values):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name])

    def add(self, kind, inputs, name, outputs=1, domain="", **attributes):
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def norm(self, x, name):
        return self.add("LayerNormalization",
                        [x, self.weight(name + ".weight"), self.weight(name + ".bias")], name,
                        axis=-1, epsilon=self.config["layer_norm_epsilon"])

    def product(self, x, name):
        y = self.add("MatMul", [x, self.weight(name + ".weight")], name + ".product")
        return self.add("Add", [y, self.weight(name + ".bias")], name)

    def attention(self, x, layer, at):
        qkv = self.product(x, at + "attn.c_attn")
        past = [CACHE.format(layer, what) for what in ("key", "value")]
        present = [PRESENT.format(layer, what) for what in ("key", "value")]
        heads = self.config["n_head"]
        self.nodes.append(helper.make_node(
            "GroupQueryAttention", [qkv, "", "", *past, "last_position", "total_length"],
            [at + "mixed", *present], at + "attention", domain=CONTRIB, num_heads=heads,
            kv_num_heads=heads, do_rotary=0))
        return self.product(at + "mixed", at + "attn.c_proj")

    def build(self):
        root = "transformer."
        one = self.constant("one", np.array([1], np.int64))
        total = self.add("ReduceSum", ["attention_mask", one], "num_tokens", keepdims=0)
        self.add("Cast", [self.add("Sub", [total, one], "last")], "last_position",
                 to=TensorProto.INT32)
        shape = self.add("Shape", ["attention_mask"], "mask_shape")
        length = self.add("Gather", [shape, self.constant("axis", np.array(1, np.int64))], "length")
        self.add("Cast", [length], "total_length", to=TensorProto.INT32)

        token = self.add("Gather", [self.weight(root + "wte.weight"), "input_ids"], "tokens")
        place = self.add("Gather", [self.weight(root + "wpe.weight"), "position_ids"], "places")
        x = self.add("Add", [token, place], "embedded")
        for layer in range(self.config["n_layer"]):
            at = f"{root}h.{layer}."
            x = self.add("Add", [x, self.attention(self.norm(x, at + "ln_1"), layer, at)],
                         at + "after_attention")
            up = self.product(self.norm(x, at + "ln_2"), at + "mlp.c_fc")
            active = self.add("FastGelu", [up], at + "gelu", domain=CONTRIB)
            x = self.add("Add", [x, self.product(active, at + "mlp.c_proj")], at + "after_mlp")
        ends = [self.constant(name, np.array([value], np.int64))
                for name, value in (("from", -1), ("to", 2**31 - 1), ("along", 1))]
        last = self.norm(self.add("Slice", [x, *ends], "last_token"), root + "ln_f")
        head = self.constant("lm_head.weight", self.weights[root + "wte.weight"].T)
        self.add("MatMul", [last, head], "logits")


def model_of(config, weights):
    graph = Graph(config, weights)
    graph.build()
    heads, hidden = config["n_head"], config["n_embd"]

    def ids(name, *dims):
        return helper.make_tensor_value_info(name, TensorProto.INT64, dims)

    def caches(form, tokens):
        return [helper.make_tensor_value_info(form.format(layer, what), TensorProto.FLOAT,
                                              ("batch", heads, tokens, hidden // heads))
                for layer in range(config["n_layer"]) for what in ("key", "value")]

    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT,
                                           ("batch", 1, config["vocab_size"]))
    inputs = [ids("input_ids", "batch", "tokens"), ids("attention_mask", "batch", "total"),
              ids("position_ids", "batch", "tokens"), *caches(CACHE, "past")]
    return helper.make_model(
        helper.make_graph(graph.nodes, "gpt2", inputs, [logits, *caches(PRESENT, "total")],
                          graph.initializers),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)], ir_version=9)


def to_int4(model):
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    return quantizer.model.model


def genai_config(config):
    heads = config["n_head"]
    return {
        "model": {
            # Its own type "gpt2" wants keys and values of a layer in one tensor; nothing else hangs
            # on the type of a decoder.
            "type": "llama", "vocab_size": config["vocab_size"],
            "context_length": config["n_positions"], "bos_token_id": config["bos_token_id"],
            "eos_token_id": config["eos_token_id"], "pad_token_id": config["eos_token_id"],
            "decoder": {
                "session_options": {"provider_options": []}, "filename": "model.onnx",
                "hidden_size": config["n_embd"], "head_size": config["n_embd"] // heads,
                "num_attention_heads": heads, "num_key_value_heads": heads,
                "num_hidden_layers": config["n_layer"],
                "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask",
                           "position_ids": "position_ids",
                           "past_key_names": CACHE.format("%d", "key"),
                           "past_value_names": CACHE.format("%d", "value")},
                "outputs": {"logits": "logits",
                            "present_key_names": PRESENT.format("%d", "key"),
                            "present_value_names": PRESENT.format("%d", "value")}}},
        "search": {"do_sample": False, "max_length": config["n_positions"], "num_beams": 1,
                   "past_present_share_buffer": True}}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="config.json and float32 model.safetensors")
    parser.add_argument("out", type=Path)
    parser.add_argument("--int4", action="store_true")
    options = parser.parse_args()
    config = json.loads((options.folder / "config.json").read_text(encoding="utf-8"))
    model = model_of(config, read_safetensors(options.folder / "model.safetensors"))
    if options.int4:
        model = to_int4(model)
    options.out.mkdir(parents=True)
    onnx.save(model, str(options.out / "model.onnx"), save_as_external_data=True,
              location="model.onnx.data")
    (options.out / "genai_config.json").write_text(json.dumps(genai_config(config), indent=1))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (options.out / name).write_bytes((options.folder / name).read_bytes())


if __name__ == "__main__":
    main()
