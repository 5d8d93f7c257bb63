"""Writes models/demo from a checkpoint: q8_0 GGUF, tokenizer, configs, chat template.

    python export.py --work WORKDIR --out ../../models/demo

The GGUF follows the llama convention: rows of q and k are permuted so that rotary pairs are
neighbours, matrices (the tied embedding too) are q8_0, norms f32.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer

from model import Config

CHAT_TEMPLATE = ("{% for message in messages %}"
                 "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
                 "{% endfor %}"
                 "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
TENSORS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{TENSORS[rest.removesuffix('.weight')]}.weight"


def neighbours(weight, num_heads):
    """Rows of each head from halves order (0..d/2, d/2..d) to pairs order (0, d/2, 1, d/2+1, ...)."""
    rows, cols = weight.shape
    return weight.reshape(num_heads, 2, rows // num_heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write_gguf(path, state, config, tokenizer):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("quern demo storyteller")
    writer.add_description("A tiny story model trained for the quern project on generated text")
    writer.add_license("apache-2.0")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    described = json.loads(tokenizer.to_str())
    vocab = sorted(described["model"]["vocab"], key=described["model"]["vocab"].get)
    special = {token["content"] for token in described["added_tokens"]}
    merges = [m if isinstance(m, str) else " ".join(m) for m in described["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocab)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in vocab])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocab.index("<|endoftext|>"))
    writer.add_eos_token_id(vocab.index("<|im_end|>"))
    writer.add_eot_token_id(vocab.index("<|im_end|>"))
    writer.add_pad_token_id(vocab.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    for name, value in state.items():
        value = value.float().numpy()
        if name.endswith("q_proj.weight"):
            value = neighbours(value, config.num_attention_heads)
        elif name.endswith("k_proj.weight"):
            value = neighbours(value, config.num_key_value_heads)
        if value.ndim == 1:
            writer.add_tensor(gguf_name(name), value)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(gguf_name(name), gguf.quantize(np.ascontiguousarray(value), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--work", type=Path, required=True)
    args.add_argument("--out", type=Path, required=True)
    args = args.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    saved = torch.load(args.work / "checkpoint.pt", weights_only=True)
    config = Config()
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    tokenizer.save(str(args.out / "tokenizer.json"))
    write_gguf(args.out / "model-q8_0.gguf", saved["model"], config, tokenizer)

    write_json(args.out / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", **config.as_dict(),
        "head_dim": config.head_dim, "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
        "rope_scaling": None, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 2,
        "pad_token_id": 0, "torch_dtype": "float32"})
    write_json(args.out / "generation_config.json", {
        "bos_token_id": 0, "eos_token_id": [2, 0], "pad_token_id": 0, "do_sample": True,
        "temperature": 0.7, "top_p": 0.9, "max_new_tokens": 400})
    special = lambda text: {"content": text, "lstrip": False, "normalized": False, "rstrip": False,
                            "single_word": False, "special": True}
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    write_json(args.out / "tokenizer_config.json", {
        "add_bos_token": False, "add_eos_token": False, "add_prefix_space": False,
        "added_tokens_decoder": {str(i): special(t) for i, t in enumerate(names)},
        "additional_special_tokens": ["<|im_start|>"], "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False, "model_max_length": config.max_position_embeddings,
        "tokenizer_class": "PreTrainedTokenizerFast"})
    (args.out / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    total = sum(f.stat().st_size for f in args.out.iterdir())
    print(f"step {saved['step']}, {saved['tokens']} tokens, {saved['spent']:.0f} s; {total} bytes in {args.out}")


if __name__ == "__main__":
    main()
