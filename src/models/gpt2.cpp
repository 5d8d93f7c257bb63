#include <cmath>

#include "base/cat.h"
#include "models/architecture.h"
#include "program/program_builder.h"

namespace quern {

namespace {

// GPT2Config of transformers.
ModelConfig defaults() {
  return {.vocab_size = 50257,
          .hidden_size = 768,
          .num_hidden_layers = 12,
          .num_attention_heads = 12,
          .max_position_embeddings = 1024,
          .hidden_act = Activation::kGeluTanh,
          .layer_norm_epsilon = 1e-5,
          .tie_word_embeddings = true,
          .default_eos_token_ids = {50256}};
}

/// GPT-2: learned positions, layer norm before each block, queries, keys and values in one product,
/// a plain MLP; biases everywhere.
Result<Program> build(const ModelConfig& c) {
  ProgramBuilder p({.architecture = c.architecture,
                    .vocab_size = c.vocab_size,
                    .context_length = c.max_position_embeddings,
                    .hidden_size = c.hidden_size});
  const int64_t width = c.num_attention_heads * c.head_dim;
  const auto norm = [&](Slot in, std::string_view name) {
    return p.norm(in, cat(name, ".weight"),
                  {.kind = Norm::Kind::kLayer,
                   .eps = static_cast<float>(c.layer_norm_epsilon),
                   .bias = cat(name, ".bias")});
  };
  const auto product = [](std::string_view name, int64_t rows) {
    return ProgramBuilder::Product{
        .weight = cat(name, ".weight"), .rows = rows, .bias = cat(name, ".bias")};
  };

  const Slot x = p.embed("transformer.wte.weight");  // the residual stream [T, D]
  p.add_positions(x, "transformer.wpe.weight");
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    p.at(cat("transformer.h.", i, "."));
    float scale = c.scale_attn_weights ? 1.0f / std::sqrt(static_cast<float>(c.head_dim)) : 1.0f;
    if (c.scale_attn_by_inverse_layer_idx) scale /= static_cast<float>(i + 1);

    const Slot qkv = p.linear(norm(x, "ln_1"), {product("attn.c_attn", 3 * width)});
    const Slot o = p.append_and_attend(
        qkv.columns(0, width), qkv.columns(width, width), qkv.columns(2 * width, width),
        {.num_key_value_heads = c.num_attention_heads, .head_dim = c.head_dim, .scale = scale});
    p.linear_add(x, o, product("attn.c_proj", c.hidden_size));

    const Slot h = p.linear(norm(x, "ln_2"), {product("mlp.c_fc", c.intermediate_size)});
    const Slot g = p.activate(h, c.hidden_act, Activate::Form::kPlain);
    p.linear_add(x, g, product("mlp.c_proj", c.hidden_size));
  }
  p.at("");
  const Slot last = norm(p.gather_rows(x), "transformer.ln_f");
  p.head(last, c.tie_word_embeddings ? "transformer.wte.weight" : "lm_head.weight");
  return std::move(p).finish();
}

constexpr FieldAlias kAliases[] = {
    {"hidden_size", "n_embd"},         {"num_hidden_layers", "n_layer"},
    {"num_attention_heads", "n_head"}, {"max_position_embeddings", "n_positions"},
    {"intermediate_size", "n_inner"},  {"hidden_act", "activation_function"},
};
constexpr std::string_view kOwnFields[] = {"scale_attn_weights", "scale_attn_by_inverse_layer_idx"};

// Conv1D of transformers stores [in, out]; GGUF stores what it multiplies by, [out, in].
constexpr TensorRule kTensors[] = {
    {"transformer.wte.weight", "token_embd.weight"},
    {"transformer.wpe.weight", "position_embd.weight"},
    {"transformer.h.*.ln_1.weight", "blk.*.attn_norm.weight"},
    {"transformer.h.*.ln_1.bias", "blk.*.attn_norm.bias"},
    {"transformer.h.*.attn.c_attn.weight", "blk.*.attn_qkv.weight", Transform::kNone,
     Transform::kTranspose},
    {"transformer.h.*.attn.c_attn.bias", "blk.*.attn_qkv.bias"},
    {"transformer.h.*.attn.c_proj.weight", "blk.*.attn_output.weight", Transform::kNone,
     Transform::kTranspose},
    {"transformer.h.*.attn.c_proj.bias", "blk.*.attn_output.bias"},
    {"transformer.h.*.ln_2.weight", "blk.*.ffn_norm.weight"},
    {"transformer.h.*.ln_2.bias", "blk.*.ffn_norm.bias"},
    {"transformer.h.*.mlp.c_fc.weight", "blk.*.ffn_up.weight", Transform::kNone,
     Transform::kTranspose},
    {"transformer.h.*.mlp.c_fc.bias", "blk.*.ffn_up.bias"},
    {"transformer.h.*.mlp.c_proj.weight", "blk.*.ffn_down.weight", Transform::kNone,
     Transform::kTranspose},
    {"transformer.h.*.mlp.c_proj.bias", "blk.*.ffn_down.bias"},
    {"transformer.ln_f.weight", "output_norm.weight"},
    {"transformer.ln_f.bias", "output_norm.bias"},
    {"lm_head.weight", "output.weight"},
};

// The causal mask, which old files store in every layer.
constexpr std::string_view kSkipped[] = {".attn.bias", ".attn.masked_bias"};

}  // namespace

extern const Architecture kGpt2;
const Architecture kGpt2 = {.name = "GPT2LMHeadModel",
                            .base_name = "GPT2Model",
                            .model_type = "gpt2",
                            .gguf_name = "gpt2",
                            .prefix = "transformer.",
                            .embeddings = "transformer.wte.weight",
                            .head = "lm_head.weight",
                            .defaults = defaults,
                            .aliases = kAliases,
                            .own_fields = kOwnFields,
                            .field_rules = {},
                            .tensors = kTensors,
                            .skipped = kSkipped,
                            .build = build};

}  // namespace quern
