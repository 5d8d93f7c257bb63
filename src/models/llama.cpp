#include "models/llama.h"

#include <cmath>

#include "base/cat.h"
#include "models/rope.h"
#include "program/program_builder.h"

namespace quern {

namespace {

// LlamaConfig of transformers.
ModelConfig defaults() {
  return {.vocab_size = 32000,
          .hidden_size = 4096,
          .intermediate_size = 11008,
          .num_hidden_layers = 32,
          .num_attention_heads = 32,
          .max_position_embeddings = 2048,
          .hidden_act = Activation::kSilu,
          .rms_norm_eps = 1e-6,
          .default_eos_token_ids = {2}};
}

}  // namespace

/// Llama 2, 3, 3.2 and SmolLM2: rms norm, rotary attention over grouped heads, gated MLP.
Result<Program> build_llama(const ModelConfig& c) {
  ProgramBuilder p({.architecture = c.architecture,
                    .vocab_size = c.vocab_size,
                    .context_length = c.max_position_embeddings,
                    .hidden_size = c.hidden_size});
  const auto eps = static_cast<float>(c.rms_norm_eps);
  const int64_t q_rows = c.num_attention_heads * c.head_dim;
  const int64_t kv_rows = c.num_key_value_heads * c.head_dim;
  const auto product = [](std::string_view name, int64_t rows, bool bias) {
    return ProgramBuilder::Product{.weight = cat(name, ".weight"),
                                   .rows = rows,
                                   .bias = bias ? cat(name, ".bias") : std::string()};
  };

  ASSIGN_OR_RETURN(Rope frequencies, make_rope(c.rope, c.head_dim));
  const int32_t rope = p.add_rope(std::move(frequencies));
  const Slot x = p.embed("model.embed_tokens.weight");  // the residual stream [T, D]
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    p.at(cat("model.layers.", i, "."));
    const Slot a = p.norm(x, "input_layernorm.weight", {.eps = eps});
    const Slot qkv = p.linear(a, {product("self_attn.q_proj", q_rows, c.attention_bias),
                                  product("self_attn.k_proj", kv_rows, c.attention_bias),
                                  product("self_attn.v_proj", kv_rows, c.attention_bias)});
    const Slot q = qkv.columns(0, q_rows);
    const Slot k = qkv.columns(q_rows, kv_rows);
    const Slot v = qkv.columns(q_rows + kv_rows, kv_rows);
    p.rotate(q, k, {.head_dim = c.head_dim, .rope = rope});
    const Slot o = p.append_and_attend(q, k, v,
                                       {.num_key_value_heads = c.num_key_value_heads,
                                        .head_dim = c.head_dim,
                                        .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                                        .window = c.window(i)});
    p.linear_add(x, o, product("self_attn.o_proj", c.hidden_size, c.attention_output_bias));

    const Slot m = p.norm(x, "post_attention_layernorm.weight", {.eps = eps});
    const Slot gate_up = p.linear(m, {product("mlp.gate_proj", c.intermediate_size, c.mlp_bias),
                                      product("mlp.up_proj", c.intermediate_size, c.mlp_bias)});
    const Slot g = p.activate(gate_up, c.hidden_act, Activate::Form::kGated);
    p.linear_add(x, g, product("mlp.down_proj", c.hidden_size, c.mlp_bias));
  }
  p.at("");
  const Slot last = p.norm(p.gather_rows(x), "model.norm.weight", {.eps = eps});
  p.head(last, c.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
  return std::move(p).finish();
}

namespace {

constexpr std::string_view kOwnFields[] = {"num_key_value_heads", "head_dim", "attention_bias",
                                           "mlp_bias"};

// llama.cpp rotates neighbours, so its converter lays the two halves of a head out in turns.
constexpr TensorRule kTensors[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.layers.*.input_layernorm.weight", "blk.*.attn_norm.weight"},
    {"model.layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight", Transform::kUnpermuteQueries},
    {"model.layers.*.self_attn.q_proj.bias", "blk.*.attn_q.bias", Transform::kUnpermuteQueries},
    {"model.layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight", Transform::kUnpermuteKeys},
    {"model.layers.*.self_attn.k_proj.bias", "blk.*.attn_k.bias", Transform::kUnpermuteKeys},
    {"model.layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight"},
    {"model.layers.*.self_attn.v_proj.bias", "blk.*.attn_v.bias"},
    {"model.layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight"},
    {"model.layers.*.self_attn.o_proj.bias", "blk.*.attn_output.bias"},
    {"model.layers.*.post_attention_layernorm.weight", "blk.*.ffn_norm.weight"},
    {"model.layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight"},
    {"model.layers.*.mlp.gate_proj.bias", "blk.*.ffn_gate.bias"},
    {"model.layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight"},
    {"model.layers.*.mlp.up_proj.bias", "blk.*.ffn_up.bias"},
    {"model.layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight"},
    {"model.layers.*.mlp.down_proj.bias", "blk.*.ffn_down.bias"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

constexpr std::string_view kSkipped[] = {"rotary_emb.inv_freq", "rope_freqs.weight",
                                         ".attn_rot_embd.weight"};

}  // namespace

extern const Architecture kLlama;
const Architecture kLlama = {.name = "LlamaForCausalLM",
                             .base_name = "LlamaModel",
                             .model_type = "llama",
                             .gguf_name = "llama",
                             .prefix = "model.",
                             .embeddings = "model.embed_tokens.weight",
                             .head = "lm_head.weight",
                             .defaults = defaults,
                             .aliases = {},
                             .own_fields = kOwnFields,
                             .field_rules = {},
                             .tensors = kTensors,
                             .skipped = kSkipped,
                             .build = build_llama};

}  // namespace quern
