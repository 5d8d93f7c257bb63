#include <cmath>

#include "base/cat.h"
#include "models/architecture.h"
#include "models/rope.h"
#include "program/program_builder.h"

namespace quern {

namespace {

// Gemma3TextConfig of transformers.
ModelConfig defaults() {
  return {.vocab_size = 262208,
          .hidden_size = 2304,
          .intermediate_size = 9216,
          .num_hidden_layers = 26,
          .num_attention_heads = 8,
          .num_key_value_heads = 4,
          .head_dim = 256,
          .max_position_embeddings = 131072,
          .hidden_act = Activation::kGeluTanh,
          .rms_norm_eps = 1e-6,
          .tie_word_embeddings = true,
          .rope = {.rope_theta = 1e6},
          .local_rope = {.rope_theta = 1e4},
          .sliding_window = 4096,
          .sliding_window_pattern = 6,
          .query_pre_attn_scalar = 256.0,
          .default_eos_token_ids = {1}};
}

/// Gemma 3, text only: five layers that look back over a window, then one over everything, each
/// kind with its own rotation; norms before and after each block; norms of single heads.
Result<Program> build(const ModelConfig& c) {
  ProgramBuilder p({.architecture = c.architecture,
                    .vocab_size = c.vocab_size,
                    .context_length = c.max_position_embeddings,
                    .hidden_size = c.hidden_size});
  const auto eps = static_cast<float>(c.rms_norm_eps);
  const int64_t q_rows = c.num_attention_heads * c.head_dim;
  const int64_t kv_rows = c.num_key_value_heads * c.head_dim;
  // Weights are stored around zero: the norm adds one.
  const auto norm = [&](Slot in, std::string_view weight) {
    return p.norm(in, weight, {.eps = eps, .weight_offset = 1.0f});
  };
  const auto product = [&](std::string_view name, int64_t rows, bool bias = false) {
    return ProgramBuilder::Product{.weight = cat(name, ".weight"),
                                   .rows = rows,
                                   .bias = bias ? cat(name, ".bias") : std::string()};
  };

  ASSIGN_OR_RETURN(Rope global, make_rope(c.rope, c.head_dim));
  ASSIGN_OR_RETURN(Rope local, make_rope(c.local_rope, c.head_dim));
  const int32_t global_rope = p.add_rope(std::move(global));
  const int32_t local_rope = p.add_rope(std::move(local));
  const Slot x = p.embed("model.embed_tokens.weight");  // the residual stream [T, D]
  p.scale(x, std::sqrt(static_cast<float>(c.hidden_size)));
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    p.at(cat("model.layers.", i, "."));
    const Slot a = norm(x, "input_layernorm.weight");
    const Slot qkv = p.linear(a, {product("self_attn.q_proj", q_rows, c.attention_bias),
                                  product("self_attn.k_proj", kv_rows, c.attention_bias),
                                  product("self_attn.v_proj", kv_rows, c.attention_bias)});
    const Slot q = qkv.columns(0, q_rows);
    const Slot k = qkv.columns(q_rows, kv_rows);
    const Slot v = qkv.columns(q_rows + kv_rows, kv_rows);
    p.rotate(q, k,
             {.head_dim = c.head_dim,
              .rope = c.slides(i) ? local_rope : global_rope,
              .q_norm = "self_attn.q_norm.weight",
              .k_norm = "self_attn.k_norm.weight",
              .eps = eps,
              .weight_offset = 1.0f});
    const Slot o =
        p.append_and_attend(q, k, v,
                            {.num_key_value_heads = c.num_key_value_heads,
                             .head_dim = c.head_dim,
                             .scale = 1.0f / std::sqrt(static_cast<float>(c.query_pre_attn_scalar)),
                             .window = c.window(i)});
    const Slot y = p.linear(o, {product("self_attn.o_proj", c.hidden_size, c.attention_bias)});
    p.add(x, norm(y, "post_attention_layernorm.weight"));

    const Slot m = norm(x, "pre_feedforward_layernorm.weight");
    const Slot gate_up = p.linear(m, {product("mlp.gate_proj", c.intermediate_size),
                                      product("mlp.up_proj", c.intermediate_size)});
    const Slot g = p.activate(gate_up, c.hidden_act, Activate::Form::kGated);
    const Slot z = p.linear(g, {product("mlp.down_proj", c.hidden_size)});
    p.add(x, norm(z, "post_feedforward_layernorm.weight"));
  }
  p.at("");
  const Slot last = norm(p.gather_rows(x), "model.norm.weight");
  p.head(last, c.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
         static_cast<float>(c.final_logit_softcapping));
  return std::move(p).finish();
}

constexpr FieldAlias kAliases[] = {{"hidden_act", "hidden_activation"}};
constexpr std::string_view kOwnFields[] = {
    "num_key_value_heads",     "head_dim",
    "attention_bias",          "sliding_window",
    "sliding_window_pattern",  "query_pre_attn_scalar",
    "final_logit_softcapping", "rope_local_base_freq",
};

// GGUF stores what its norms multiply by, one more than Hugging Face.
constexpr TensorRule kTensors[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.layers.*.input_layernorm.weight", "blk.*.attn_norm.weight", Transform::kSubtractOne},
    {"model.layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight"},
    {"model.layers.*.self_attn.q_proj.bias", "blk.*.attn_q.bias"},
    {"model.layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight"},
    {"model.layers.*.self_attn.k_proj.bias", "blk.*.attn_k.bias"},
    {"model.layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight"},
    {"model.layers.*.self_attn.v_proj.bias", "blk.*.attn_v.bias"},
    {"model.layers.*.self_attn.q_norm.weight", "blk.*.attn_q_norm.weight", Transform::kSubtractOne},
    {"model.layers.*.self_attn.k_norm.weight", "blk.*.attn_k_norm.weight", Transform::kSubtractOne},
    {"model.layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight"},
    {"model.layers.*.self_attn.o_proj.bias", "blk.*.attn_output.bias"},
    {"model.layers.*.post_attention_layernorm.weight", "blk.*.post_attention_norm.weight",
     Transform::kSubtractOne},
    {"model.layers.*.pre_feedforward_layernorm.weight", "blk.*.ffn_norm.weight",
     Transform::kSubtractOne},
    {"model.layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight"},
    {"model.layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight"},
    {"model.layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight"},
    {"model.layers.*.post_feedforward_layernorm.weight", "blk.*.post_ffw_norm.weight",
     Transform::kSubtractOne},
    {"model.norm.weight", "output_norm.weight", Transform::kSubtractOne},
    {"lm_head.weight", "output.weight"},
};

constexpr std::string_view kSkipped[] = {"rotary_emb.inv_freq", "rotary_emb_local.inv_freq"};

}  // namespace

extern const Architecture kGemma3;
const Architecture kGemma3 = {.name = "Gemma3ForCausalLM",
                              .base_name = "Gemma3TextModel",
                              .model_type = "gemma3_text",
                              .gguf_name = "gemma3",
                              .prefix = "model.",
                              .embeddings = "model.embed_tokens.weight",
                              .head = "lm_head.weight",
                              .defaults = defaults,
                              .aliases = kAliases,
                              .own_fields = kOwnFields,
                              .field_rules = {},
                              .tensors = kTensors,
                              .skipped = kSkipped,
                              .build = build};

}  // namespace quern
