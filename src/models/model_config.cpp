#include "models/model_config.h"

#include <algorithm>

#include "base/cat.h"
#include "models/architecture.h"
#include "models/config_fields.h"

namespace quern {

namespace {

/// Which layers slide where the file does not list them.
void derive_layer_types(ModelConfig& config) {
  config.layer_types.reserve(static_cast<size_t>(config.num_hidden_layers));
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    bool slides = false;
    if (config.sliding_window_pattern > 0) {
      slides = (i + 1) % config.sliding_window_pattern != 0;
    } else if (config.use_sliding_window) {
      slides = i >= config.max_window_layers;
    }
    slides = slides && config.sliding_window > 0;
    config.layer_types.push_back(slides ? LayerType::kSlidingAttention : LayerType::kFullAttention);
  }
}

Json rope_json(const RopeParameters& rope) {
  Json out = Json::object();
  out["rope_theta"] = rope.rope_theta;
  switch (rope.rope_type) {
    case RopeParameters::Type::kDefault:
      out["rope_type"] = "default";
      break;
    case RopeParameters::Type::kLinear:
      out["rope_type"] = "linear";
      out["factor"] = rope.factor;
      break;
    case RopeParameters::Type::kLlama3:
      out["rope_type"] = "llama3";
      out["factor"] = rope.factor;
      out["low_freq_factor"] = rope.low_freq_factor;
      out["high_freq_factor"] = rope.high_freq_factor;
      out["original_max_position_embeddings"] = rope.original_max_position_embeddings;
      break;
  }
  if (!rope.frequency_divisors.empty()) out["frequency_divisors"] = rope.frequency_divisors;
  return out;
}

std::string_view activation_field_value(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_pytorch_tanh";
    case Activation::kSilu:
      return "silu";
  }
  return "?";
}

}  // namespace

Result<void> complete_config(ModelConfig& c, std::string_view what) {
  if (c.num_key_value_heads == 0) c.num_key_value_heads = c.num_attention_heads;
  if (c.intermediate_size == 0) c.intermediate_size = 4 * c.hidden_size;
  if (c.head_dim == 0) {
    if (c.hidden_size % c.num_attention_heads != 0) {
      return bad_field(what, "hidden_size", cat(c.hidden_size),
                       cat("a multiple of num_attention_heads, which is ", c.num_attention_heads));
    }
    c.head_dim = c.hidden_size / c.num_attention_heads;
  }
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    return bad_field(what, "num_attention_heads", cat(c.num_attention_heads),
                     cat("a multiple of num_key_value_heads, which is ", c.num_key_value_heads));
  }
  if (c.num_attention_heads * c.head_dim > kMaxWidth) {
    return bad_field(
        what, "head_dim", cat(c.head_dim),
        cat("at most ", kMaxWidth, " values in all ", c.num_attention_heads, " heads"));
  }
  // One sequence's keys, or values: plans multiply them by bytes and by up to 65,536 sequences, and
  // the sum must stay inside 64 bits. Llama 3.1 405B at its full context has a 65th of it.
  constexpr int64_t kMaxKeysOfASequence = int64_t{1} << 40;
  const int64_t keys_per_token = c.num_hidden_layers * c.num_key_value_heads * c.head_dim;
  if (keys_per_token * c.max_position_embeddings > kMaxKeysOfASequence) {
    return bad_field(what, "max_position_embeddings", cat(c.max_position_embeddings),
                     cat("a context for which the ", keys_per_token,
                         " keys of a token come to at most ", kMaxKeysOfASequence));
  }
  if (c.query_pre_attn_scalar == 0.0) {
    c.query_pre_attn_scalar = static_cast<double>(c.head_dim);
  }

  if (c.layer_types.empty()) derive_layer_types(c);
  if (std::cmp_not_equal(c.layer_types.size(), c.num_hidden_layers)) {
    return bad_field(what, "layer_types", cat("of ", c.layer_types.size(), " entries"),
                     cat("one for each of ", c.num_hidden_layers, " layers"));
  }
  const bool slides =
      std::ranges::find(c.layer_types, LayerType::kSlidingAttention) != c.layer_types.end();
  if (slides && c.sliding_window == 0) {
    return bad_field(what, "sliding_window", "missing",
                     "a number of tokens, since layer_types has \"sliding_attention\"");
  }
  return {};
}

Json config_json(const ModelConfig& c) {
  Json out = Json::object();
  out["architectures"] = Json::array({c.architecture});
  out["vocab_size"] = c.vocab_size;
  out["hidden_size"] = c.hidden_size;
  out["intermediate_size"] = c.intermediate_size;
  out["num_hidden_layers"] = c.num_hidden_layers;
  out["num_attention_heads"] = c.num_attention_heads;
  out["num_key_value_heads"] = c.num_key_value_heads;
  out["head_dim"] = c.head_dim;
  out["max_position_embeddings"] = c.max_position_embeddings;
  out["hidden_act"] = activation_field_value(c.hidden_act);
  const Architecture* architecture = find_architecture(c.architecture);
  const bool rotates = architecture != nullptr && architecture->owns("head_dim");
  if (rotates) {
    out["rms_norm_eps"] = c.rms_norm_eps;
    out["rope_parameters"] = rope_json(c.rope);
  } else {
    out["layer_norm_epsilon"] = c.layer_norm_epsilon;
  }
  out["tie_word_embeddings"] = c.tie_word_embeddings;
  out["attention_bias"] = c.attention_bias;
  out["mlp_bias"] = c.mlp_bias;
  out["query_pre_attn_scalar"] = c.query_pre_attn_scalar;
  if (c.sliding_window > 0) {
    out["sliding_window"] = c.sliding_window;
    out["local_rope_parameters"] = rope_json(c.local_rope);
    Json types = Json::array();
    for (const LayerType type : c.layer_types) {
      types.push_back(type == LayerType::kFullAttention ? "full_attention" : "sliding_attention");
    }
    out["layer_types"] = std::move(types);
  }
  if (c.final_logit_softcapping > 0) out["final_logit_softcapping"] = c.final_logit_softcapping;
  if (!c.scale_attn_weights) out["scale_attn_weights"] = false;
  if (c.scale_attn_by_inverse_layer_idx) out["scale_attn_by_inverse_layer_idx"] = true;
  return out;
}

}  // namespace quern
