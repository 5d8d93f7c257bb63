#!/usr/bin/env python3
"""Writes the seeds of the weight file fuzz targets: small files, right and nearly right.

usage: tools/make_fuzz_seeds.py [FOLDER]     (default: fuzz/ of this checkout)
"""
import json
import pathlib
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B",
        U64: "Q", I64: "q", F64: "d"}


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


def value_of(kind, value):
    if kind == TEXT:
        return text(value)
    if kind == ARRAY:
        inner, members = value
        return struct.pack("<IQ", inner, len(members)) + b"".join(
            value_of(inner, member) for member in members)
    return struct.pack("<" + PACK[kind], value)


def gguf(entries=(), tensors=(), version=3, alignment=32, num_tensors=None, num_entries=None):
    """entries: (key, kind, value); tensors: (name, type, dims fastest first, number of bytes)."""
    out = b"GGUF" + struct.pack(
        "<IQQ", version, len(tensors) if num_tensors is None else num_tensors,
        len(entries) if num_entries is None else num_entries)
    for key, kind, value in entries:
        out += text(key) + struct.pack("<I", kind) + value_of(kind, value)
    offset = 0
    for name, type_number, dims, size in tensors:
        out += text(name) + struct.pack("<I", len(dims))
        out += struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", type_number, offset)
        offset += -(-size // alignment) * alignment
    if tensors:
        out += b"\0" * (-len(out) % alignment) + b"\x5a" * offset
    return out


def gguf_seeds():
    arch = ("general.architecture", TEXT, "llama")
    yield "empty", gguf()
    yield "version_2", gguf([arch], version=2)
    yield "version_1", gguf([arch], version=1)
    yield "big_endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)
    for kind, name in enumerate("u8 i8 u16 i16 u32 i32 f32 bool".split()):
        yield f"value_{name}", gguf([("k", kind, 1)])
        yield f"array_{name}", gguf([("k", ARRAY, (kind, [0, 1, 1]))])
    for kind, name, value in ((U64, "u64", 2**64 - 1), (I64, "i64", -2**63), (F64, "f64", 1e300)):
        yield f"value_{name}", gguf([("k", kind, value)])
        yield f"array_{name}", gguf([("k", ARRAY, (kind, [value, 1]))])
    yield "value_text", gguf([("k", TEXT, "text \u00e9")])
    yield "value_text_not_utf8", gguf([("k", TEXT, b"\xff\xfe\0")])
    yield "array_text", gguf([("k", ARRAY, (TEXT, ["a", "", "bcd"]))])
    yield "array_empty", gguf([("k", ARRAY, (TEXT, []))])
    nested = (U8, [1, 2])
    for _ in range(3):
        nested = (ARRAY, [nested, (I32, [])])
    yield "array_nested", gguf([("k", ARRAY, nested)])
    deep = (ARRAY, [])
    for _ in range(20):
        deep = (ARRAY, [deep])
    yield "array_too_deep", gguf([("k", ARRAY, deep)])
    yield "duplicate_key", gguf([("k", U8, 1), ("k", U8, 2)])
    yield "tensor_f32", gguf([arch], [("t", 0, [2, 3], 24)])
    yield "tensor_scalar", gguf([], [("t", 0, [], 4)])
    yield "tensor_q8_0", gguf([], [("t", 8, [32, 2], 68)])
    yield "tensor_q6_k", gguf([], [("t", 14, [256], 210)])
    yield "tensor_unknown_type", gguf([], [("t", 99, [1], 4)])
    yield "tensors", gguf([arch], [("a", 1, [4], 8), ("b", 2, [32, 1, 1, 1], 18), ("c", 30, [5], 10)])
    yield "tensor_twins", gguf([], [("t", 0, [1], 4), ("t", 0, [1], 4)])
    yield "tensor_long_name", gguf([], [("n" * 65, 0, [1], 4)])
    yield "tensor_five_dims", gguf([], [("t", 0, [1, 1, 1, 1, 1], 4)])
    yield "tensor_zero_dim", gguf([], [("t", 0, [4, 0], 4)])
    yield "tensor_wrapped_dims", gguf([], [("t", 0, [2**32, 2**32], 4)])
    yield "tensor_past_end", gguf([], [("t", 0, [1000], 4)])
    yield "alignment_64", gguf([("general.alignment", U32, 64)], [("t", 0, [1], 4)] * 1, alignment=64)
    yield "alignment_zero", gguf([("general.alignment", U32, 0)])
    yield "alignment_u64", gguf([("general.alignment", U64, 32)])
    yield "count_tensors", gguf(num_tensors=2**63)
    yield "count_entries", gguf(num_entries=2**61)
    yield "vocabulary", gguf([
        arch, ("tokenizer.ggml.model", TEXT, "llama"),
        ("tokenizer.ggml.tokens", ARRAY, (TEXT, ["<unk>", "<s>", "</s>", "<0x00>", "a"])),
        ("tokenizer.ggml.scores", ARRAY, (F32, [0.0, 0.0, 0.0, -1.0, -2.0])),
        ("tokenizer.ggml.token_type", ARRAY, (I32, [2, 3, 3, 6, 1])),
        ("llama.block_count", U32, 2), ("tokenizer.ggml.add_bos_token", BOOL, 1)])


def safetensors(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_seeds():
    yield "empty", safetensors({})
    yield "padded", safetensors(b"{}      ")
    yield "metadata", safetensors({"__metadata__": {"format": "pt", "note": "\u00e9\"\n"}})
    bits = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F16": 16,
            "BF16": 16, "I16": 16, "U16": 16, "F32": 32, "I32": 32, "U32": 32, "F64": 64,
            "I64": 64, "U64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6}
    for dtype, width in bits.items():
        size = 4 * width // 8
        yield f"dtype_{dtype.lower()}", safetensors({"t": tensor(dtype, [4], 0, size)}, b"x" * size)
    yield "two", safetensors({"b": tensor("F32", [2], 4, 12), "a": tensor("F32", [], 0, 4)}, b"x" * 12)
    yield "zero_size", safetensors({"a": tensor("F32", [0, 3], 0, 0), "b": tensor("U8", [1], 0, 1)}, b"x")
    yield "gap", safetensors({"a": tensor("U8", [1], 1, 2)}, b"xy")
    yield "overlap", safetensors({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 1, 3)}, b"xyz")
    yield "tail", safetensors({"a": tensor("U8", [1], 0, 1)}, b"xy")
    yield "wrapped", safetensors({"a": tensor("I64", [2**61], 0, 0)})
    yield "duplicate", safetensors(b'{"a":' + json.dumps(tensor("U8", [0], 0, 0)).encode() + b',"a":'
                                   + json.dumps(tensor("U8", [0], 0, 0)).encode() + b"}")
    yield "escapes", safetensors(b'{"\\u0061\\ud83d\\ude00":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')
    yield "float_shape", safetensors({"a": tensor("U8", [1.0], 0, 1)}, b"x")
    yield "negative", safetensors({"a": tensor("U8", [-1], 0, 1)}, b"x")
    yield "unknown_field", safetensors({"a": dict(tensor("U8", [1], 0, 1), more=[])}, b"x")
    yield "deep", safetensors(b'{"a":' + b"[" * 200)
    yield "long_header", safetensors(b"{}", length=2**63)


def index_seeds():
    yield "good", json.dumps({"metadata": {"total_size": 8}, "weight_map": {
        "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}).encode()
    yield "empty_map", b'{"weight_map":{}}'
    yield "no_map", b"{}"
    yield "parent", b'{"weight_map":{"a":"../x.safetensors"}}'
    yield "absolute", b'{"weight_map":{"a":"/x.safetensors"}}'
    yield "nested", b'{"a":[{"weight_map":[1,2]}],"weight_map":{"x":"y"},"b":null}'
    yield "duplicate", b'{"weight_map":{"a":"x","a":"y"}}'
    yield "number", b'{"weight_map":{"a":1}}'
    yield "array", b'{"weight_map":["a"]}'


def main():
    home = pathlib.Path(__file__).resolve().parent.parent / "fuzz"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else home
    for target, seeds in (("gguf_fuzz", gguf_seeds()), ("safetensors_fuzz", safetensors_seeds()),
                          ("safetensors_index_fuzz", index_seeds())):
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, content in seeds:
            (folder / target / name).write_bytes(content)


if __name__ == "__main__":
    main()
