#!/usr/bin/env python3
"""Makes the tiny random models of models/golden and records what transformers computes with them.

usage: record_goldens.py OUT_DIR [NAME ...]      (OUT_DIR is models/golden)
needs: torch, transformers, tokenizers, sentencepiece, safetensors, gguf

For each architecture a folder with config.json, model.safetensors, a tokenizer, the same weights as
model-f32.gguf in llama.cpp's layout, and in reference/
  logits.jsonl   {"prompt_token_ids", "greedy", "logits_last", "tolerance"}: the logits of the last
                 prompt token and 128 greedy tokens (end tokens are not obeyed), fp32, eager attention
  tokens.jsonl   {"text", "ids"}
Every number is drawn, biases and norms too, from a fixed seed; a prompt is taken only if none of its
greedy steps is nearly a tie and the continuation is not one token over and over.
"""
import io
import json
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

GREEDY = 128
PROMPT_LENGTHS = (1, 7, 40, 64)
TOLERANCE = 1e-3
MIN_MARGIN = 3e-3  # between the two best logits at every greedy step

LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")

CHAT_TEMPLATE = ("{{ bos_token }}{% for message in messages %}<|start|>{{ message['role'] }}\n"
                 "{{ message['content'] | trim }}<|stop|>\n{% endfor %}"
                 "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}")

TEXTS = ["Once upon a time there was a small boat.", "  two  spaces\nand lines\n\n", "1234567 + 89",
         "naïve café, 東京 🚀", "it's we'll I'D", "", "a", "end <|stop|> of <eos> it"]


def corpus():
    """Sentences enough to learn two dozen merges from."""
    who = ["the cat", "a small boat", "the old man", "her brother", "the sun", "my friend"]
    did = ["went to", "looked at", "found", "sang about", "waited for", "ran from"]
    what = ["the river", "a big tree", "the moon", "an empty house", "the sea", "seven birds"]
    return [f"{a.capitalize()} {b} {c} and there was nothing more." for a in who for b in did
            for c in what]


def byte_level(folder, split, special, normalizer=None, bos=None):
    """A byte-level BPE tokenizer.json; returns the tokenizer."""
    tok = tokenizers.Tokenizer(models.BPE(ignore_merges=False))
    if normalizer:
        tok.normalizer = normalizer
    if split is None:
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tok.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(tokenizers.Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=288 - len(special), show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tok.train_from_iterator(corpus(), trainer)
    tok.add_special_tokens([tokenizers.AddedToken(s, special=True, normalized=False)
                            for s in special])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        tok.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B",
                                          special_tokens=[(bos, tok.token_to_id(bos))])])
    tok.save(str(folder / "tokenizer.json"))
    return tok


def sentencepiece_model(folder):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=out, model_type="bpe", vocab_size=320,
        byte_fallback=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>",
        eos_piece="<eos>", bos_piece="<bos>", add_dummy_prefix=False, split_digits=True,
        remove_extra_whitespaces=False, normalization_rule_name="identity", minloglevel=2)
    (folder / "tokenizer.model").write_bytes(out.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())


def randomise(model, seed, tied):
    """Every parameter drawn: matrices so that activations keep their size, vectors around what
    they are at rest."""
    generator = torch.Generator().manual_seed(seed)
    gemma = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() == 1:
                rest = 1.0 if "norm" in name or ".ln_" in name else 0.0
                if name.endswith("bias") or gemma:
                    rest = 0.0
                if gemma and name == "model.norm.weight":
                    rest = 4.0  # small embeddings would give flat logits
                p.copy_(rest + 0.3 * noise)
            elif "embed_tokens" in name or "wte" in name or "lm_head" in name:
                p.copy_((0.2 if gemma else 0.5 if tied else 1.0) * noise)
            elif "wpe" in name:
                p.copy_(0.3 * noise)
            else:
                inputs = p.shape[0] if "c_" in name else p.shape[1]
                gain = 2.0 if any(k in name for k in ("o_proj", "down_proj", "c_proj")) else 1.5
                p.copy_(gain / inputs**0.5 * noise)


def continue_greedily(model, prompt):
    """The logits of the last prompt token and the greedy tokens, or None if it will not do."""
    ids, last = list(prompt), None
    for _ in range(GREEDY):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].float()
        last = logits if last is None else last
        best = torch.topk(logits, 2)
        if float(best.values[0] - best.values[1]) < MIN_MARGIN:
            return None
        ids.append(int(best.indices[0]))
    greedy = ids[len(prompt):]
    return (last, greedy) if len(set(greedy)) >= 10 else None


def record(model, vocab_size, seed):
    """The lines of logits.jsonl, or None."""
    rng = np.random.default_rng(seed)
    lines = []
    for length in PROMPT_LENGTHS:
        for _ in range(60):
            prompt = [int(i) for i in rng.integers(0, vocab_size, length)]
            if (found := continue_greedily(model, prompt)) is not None:
                break
        else:
            return None
        last, greedy = found
        lines.append({"prompt_token_ids": prompt, "greedy": greedy,
                      "logits_last": [float(f"{float(v):.9g}") for v in last],
                      "tolerance": TOLERANCE})
    return lines


# --- GGUF, in llama.cpp's layout ------------------------------------------------------------------

def permute(w, heads):
    """The two halves of each head in turns, as llama.cpp rotates neighbours."""
    rows = w.shape[0]
    return (w.reshape(heads, 2, rows // heads // 2, *w.shape[1:]).swapaxes(1, 2)
            .reshape(w.shape).copy())


def llama3_divisors(c):
    rope = c.rope_parameters
    freqs = 1.0 / rope["rope_theta"] ** (np.arange(0, c.head_dim, 2, dtype=np.float64) / c.head_dim)
    context = rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    out = []
    for f in freqs:
        wave = 2 * np.pi / f
        if wave < context / high:
            out.append(1.0)
        elif wave > context / low:
            out.append(factor)
        else:
            smooth = (context / wave - low) / (high - low)
            out.append(1.0 / ((1 - smooth) / factor + smooth))
    return np.asarray(out, dtype=np.float32)


def gguf_names(arch):
    common = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
              "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
              "input_layernorm": "attn_norm"}
    if arch == "gpt2":
        return {"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv",
                "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    if arch == "gemma3":
        return common | {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
                         "post_attention_layernorm": "post_attention_norm",
                         "pre_feedforward_layernorm": "ffn_norm",
                         "post_feedforward_layernorm": "post_ffw_norm"}
    return common | {"post_attention_layernorm": "ffn_norm"}


def gguf_name(arch, name):
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "lm_head.weight": "output.weight",
             "model.norm.weight": "output_norm.weight", "transformer.wte.weight": "token_embd.weight",
             "transformer.wpe.weight": "position_embd.weight",
             "transformer.ln_f.weight": "output_norm.weight",
             "transformer.ln_f.bias": "output_norm.bias"}
    if name in fixed:
        return fixed[name]
    layer, rest = name.split(".", 3)[2:]
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{gguf_names(arch)[module]}.{kind}"


def write_gguf(path, arch, c, state, tok):
    w = gguf.GGUFWriter(str(path), arch)
    w.add_name(f"golden {arch}")
    w.add_file_type(0)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_head_count(c.num_attention_heads)
    if arch == "gpt2":
        w.add_feed_forward_length(c.n_inner)
        w.add_layer_norm_eps(c.layer_norm_epsilon)
    else:
        w.add_feed_forward_length(c.intermediate_size)
        w.add_head_count_kv(c.num_key_value_heads)
        w.add_layer_norm_rms_eps(c.rms_norm_eps)
        rope = c.rope_parameters
        w.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if arch == "llama":
        w.add_rope_dimension_count(c.head_dim)
        w.add_vocab_size(c.vocab_size)
    if arch == "gemma3":
        w.add_key_length(c.head_dim)
        w.add_value_length(c.head_dim)
        w.add_sliding_window(c.sliding_window)
    tok(w)
    if arch == "llama" and c.rope_parameters["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(c))
    for name, tensor in state.items():
        x = tensor.numpy().astype(np.float32)
        if arch == "gpt2" and "c_" in name and name.endswith("weight"):
            x = x.T.copy()
        if arch == "llama" and "q_proj" in name:
            x = permute(x, c.num_attention_heads)
        if arch == "llama" and "k_proj" in name:
            x = permute(x, c.num_key_value_heads)
        if arch == "gemma3" and "norm" in name:
            x = x + np.float32(1)
        w.add_tensor(gguf_name(arch, name), x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def gguf_byte_level(folder, pre, bos, eos, template=None):
    def add(w):
        data = json.loads((folder / "tokenizer.json").read_text())
        vocab = dict(data["model"]["vocab"])
        special = {t["content"]: t["id"] for t in data["added_tokens"]}
        tokens = sorted((vocab | special).items(), key=lambda item: item[1])
        merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_list([t for t, _ in tokens])
        w.add_token_types([3 if t in special else 1 for t, _ in tokens])
        w.add_token_merges(merges)
        if bos is not None:
            w.add_bos_token_id(bos)
            w.add_add_bos_token(True)
        w.add_eos_token_id(eos)
        if template:
            w.add_chat_template(template)
    return add


def gguf_sentencepiece(sp):
    def add(w):
        kinds = []
        for i in range(sp.get_piece_size()):
            kinds.append(2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i)
                         else 1)
        w.add_tokenizer_model("llama")
        w.add_tokenizer_pre("default")
        w.add_token_list([sp.id_to_piece(i) for i in range(sp.get_piece_size())])
        w.add_token_scores([sp.get_score(i) for i in range(sp.get_piece_size())])
        w.add_token_types(kinds)
        w.add_bos_token_id(2)
        w.add_eos_token_id(1)
        w.add_unk_token_id(3)
        w.add_pad_token_id(0)
        w.add_add_bos_token(True)
        w.add_add_space_prefix(False)
    return add


# --- The models -----------------------------------------------------------------------------------

def config_gpt2():
    return transformers.GPT2Config(
        vocab_size=288, n_embd=64, n_layer=2, n_head=4, n_positions=192, n_inner=96,
        bos_token_id=287, eos_token_id=287)


def config_llama():
    return transformers.LlamaConfig(
        vocab_size=288, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        rms_norm_eps=1e-5, attention_bias=True, tie_word_embeddings=False, bos_token_id=285,
        eos_token_id=[286, 287],
        rope_parameters={"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0,
                         "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64})


def config_llama_tied():
    return transformers.LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256,
        rms_norm_eps=1e-5, mlp_bias=True, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "linear", "rope_theta": 100000.0, "factor": 2.0})


def config_qwen2():
    return transformers.Qwen2Config(
        vocab_size=288, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=1, max_position_embeddings=256,
        rms_norm_eps=1e-6, tie_word_embeddings=True, bos_token_id=285, eos_token_id=287,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})


def config_gemma3():
    return transformers.Gemma3TextConfig(
        vocab_size=320, hidden_size=32, intermediate_size=32, num_hidden_layers=6,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=16,
        max_position_embeddings=512, sliding_window=16, rms_norm_eps=1e-6)


GOLDENS = {
    "gpt2": ("gpt2", config_gpt2, transformers.GPT2LMHeadModel),
    "llama": ("llama", config_llama, transformers.LlamaForCausalLM),
    "llama-tied": ("llama", config_llama_tied, transformers.LlamaForCausalLM),
    "qwen2": ("qwen2", config_qwen2, transformers.Qwen2ForCausalLM),
    "gemma3": ("gemma3", config_gemma3, transformers.Gemma3ForCausalLM),
}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def make_tokenizer(name, folder):
    """Writes tokenizer files; returns (encode, what to add to the GGUF file)."""
    if name == "gpt2":
        tok = byte_level(folder, None, ["<|endoftext|>"])
        tok.model.save(str(folder))  # vocab.json and merges.txt
        write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "model_max_length": 192})
        return tok, gguf_byte_level(folder, "gpt-2", None, 287)
    if name == "llama":
        special = ["<|begin|>", "<|start|>", "<|stop|>"]
        tok = byte_level(folder, LLAMA3_SPLIT, special, bos="<|begin|>")
        write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>",
            "eos_token": {"content": "<|stop|>", "lstrip": False, "normalized": False,
                          "rstrip": False, "single_word": False, "special": True},
            "model_max_length": 1000000000000000019884624838656, "chat_template": CHAT_TEMPLATE})
        return tok, gguf_byte_level(folder, "llama-bpe", 285, 287, CHAT_TEMPLATE)
    if name == "qwen2":
        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        tok = byte_level(folder, QWEN2_SPLIT, special, normalizer=normalizers.NFC())
        write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>"})
        return tok, gguf_byte_level(folder, "qwen2", None, 287)
    if name == "gemma3":
        sp = sentencepiece_model(folder)
        write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>",
            "unk_token": "<unk>", "pad_token": "<pad>", "add_bos_token": True})
        return sp, gguf_sentencepiece(sp)
    return None, None


def encode(tok, text):
    if isinstance(tok, sentencepiece.SentencePieceProcessor):
        return None  # Gemma's tokenizer adds to SentencePiece what only its own class knows
    return tok.encode(text).ids


def make(name, out):
    arch, make_config, make_model = GOLDENS[name]
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "reference").mkdir(parents=True)
    tok, add_tokenizer = make_tokenizer(name, folder)

    for seed in range(1, 10):
        config = make_config()
        config._attn_implementation = "eager"
        model = make_model(config).eval().float()
        randomise(model, seed, config.tie_word_embeddings)
        model.tie_weights()
        lines = record(model, config.vocab_size, seed)
        if lines:
            break
        print(f"{name}: seed {seed} will not do")
    else:
        raise SystemExit(f"{name}: no seed will do")

    shard = "200KB" if name == "llama-tied" else "100MB"
    model.save_pretrained(folder, max_shard_size=shard)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    saved = json.loads((folder / "config.json").read_text())
    saved.pop("_attn_implementation", None)
    saved["transformers_version"] = "recorded"
    write_json(folder / "config.json", saved)
    generation = json.loads((folder / "generation_config.json").read_text())
    generation["transformers_version"] = "recorded"
    if name == "llama":
        generation |= {"do_sample": True, "temperature": 0.6, "top_p": 0.9}
    write_json(folder / "generation_config.json", generation)

    with open(folder / "reference" / "logits.jsonl", "w") as f:
        for line in lines:
            f.write(json.dumps(line, separators=(",", ":")) + "\n")
    if tok is not None:
        rows = [{"text": t, "ids": encode(tok, t)} for t in TEXTS]
        rows = [r for r in rows if r["ids"] is not None]
        if rows:
            with open(folder / "reference" / "tokens.jsonl", "w") as f:
                for row in rows:
                    f.write(json.dumps(row, ensure_ascii=False) + "\n")
        state = {k: v for k, v in model.state_dict().items()
                 if not (config.tie_word_embeddings and k == "lm_head.weight")}
        write_gguf(folder / "model-f32.gguf", arch, config, state, add_tokenizer)
    print(f"{name}: seed {seed}, {sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())} bytes")


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    for name in sys.argv[2:] or GOLDENS:
        make(name, out)


if __name__ == "__main__":
    main()
