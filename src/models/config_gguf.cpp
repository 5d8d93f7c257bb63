#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/cat.h"
#include "checkpoint/gguf_writer.h"
#include "models/architecture.h"
#include "models/config_fields.h"
#include "models/gguf_metadata.h"

// GGUF says some things by its metadata, some by the tensors that are there (biases, a tied head,
// Llama 3's frequency divisors) and some not at all (Gemma 3's local theta).

namespace quern {

namespace {

// Every file has these.
constexpr IntegerField kRequired[] = {
    {"embedding_length", &ModelConfig::hidden_size, 1, kMaxWidth},
    {"block_count", &ModelConfig::num_hidden_layers, 1, kMaxLayers},
    {"feed_forward_length", &ModelConfig::intermediate_size, 1, kMaxWidth},
    {"attention.head_count", &ModelConfig::num_attention_heads, 1, kMaxHeads},
    {"context_length", &ModelConfig::max_position_embeddings, 1, kMaxContext},
};
constexpr IntegerField kOptional[] = {
    {"attention.head_count_kv", &ModelConfig::num_key_value_heads, 1, kMaxHeads},
    {"attention.key_length", &ModelConfig::head_dim, 1, kMaxWidth},
};
constexpr NumberField kNumbers[] = {
    {"attention.layer_norm_rms_epsilon", &ModelConfig::rms_norm_eps, 0.0, 1.0},
    {"attention.layer_norm_epsilon", &ModelConfig::layer_norm_epsilon, 0.0, 1.0},
};

/// Read outside the tables above.
constexpr std::string_view kReadElsewhere[] = {
    "attention.value_length", "rope.dimension_count", "rope.freq_base", "rope.scaling.type",
    "rope.scaling.factor",    "rope.scale_linear",    "vocab_size",     "attention.scale",
};
/// Read for Gemma 3 alone.
constexpr std::string_view kWindowFields[] = {
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "rope.freq_base_swa",
    "final_logit_softcapping",
};

constexpr FieldRule kRules[] = {
    {"rope.scaling.original_context_length"},
    {"rope.scaling.finetuned"},
    {"tensor_data_layout"},
    {"attention.causal", "[true]"},
    {"attention.clamp_kqv", "[0]"},
    {"attention.key_length_swa", "[]"},
    {"attention.max_alibi_bias", "[0]"},
    {"attention.output_scale", "[1]"},
    {"attention.shared_kv_layers", "[0]"},
    {"attention.sliding_window", "[0]"},
    {"attention.temperature_length", "[0]"},
    {"attention.temperature_scale", "[1]"},
    {"attn_logit_softcapping", "[0]"},
    {"embedding_scale", "[1]"},
    {"expert_count", "[0]"},
    {"expert_used_count", "[0]"},
    {"final_logit_softcapping", "[0]"},
    {"logit_scale", "[1]"},
    {"nextn_predict_layers", "[0]"},
    {"residual_scale", "[1]"},
    {"rope.dimension_count_swa", "[]"},
    {"rope.dimension_sections", "[]"},
    {"rope.scaling.attn_factor", "[1]"},
    {"rope.scaling.yarn_attn_factor", "[1]"},
    {"rope.scaling.yarn_ext_factor", "[0]"},
    {"rope.scaling.yarn_log_multiplier", "[0]"},
    {"use_parallel_residual", "[false]"},
};

bool has_windows(const Architecture& architecture) {
  return architecture.owns("sliding_window_pattern");
}

Result<void> check_fields(const Json& metadata, const Architecture& architecture,
                          std::string_view what) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : metadata.items()) {
    const bool read =
        std::ranges::find(kRequired, name, &IntegerField::name) != std::end(kRequired) ||
        std::ranges::find(kOptional, name, &IntegerField::name) != std::end(kOptional) ||
        std::ranges::find(kNumbers, name, &NumberField::name) != std::end(kNumbers) ||
        std::ranges::find(kReadElsewhere, name) != std::end(kReadElsewhere) ||
        (has_windows(architecture) &&
         std::ranges::find(kWindowFields, name) != std::end(kWindowFields));
    if (read) continue;
    if (const FieldRule* rule = find_rule(kRules, name)) {
      RETURN_IF_ERROR(check_supported(value, name, rule->values, what, architecture.gguf_name));
    } else {
      unknown.push_back(name);
    }
  }
  warn_unknown_fields(what, unknown, architecture.gguf_name);
  return {};
}

/// A number for every layer, where a file may also give a list of one per layer. Lists of unlike
/// numbers belong to architectures that quern does not have.
Result<void> read_per_layer(const Json& metadata, const Architecture& architecture,
                            std::string_view what, const IntegerField& field, ModelConfig& config) {
  const auto value = metadata.find(field.name);
  if (value != metadata.end() && value->is_array()) {
    const bool alike = !value->empty() && std::ranges::all_of(*value, [&](const Json& item) {
      return item == value->front();
    });
    if (!alike) {
      return unsupported_field(what, field.name, "a list of unlike numbers",
                               "one number for all layers", architecture.gguf_name);
    }
    Json single = Json::object();
    single[std::string(field.name)] = value->front();
    return read_integer(JsonFields(single, std::string(what)), what, field.name, field.min,
                        field.max, config.*field.member);
  }
  return read_integer(JsonFields(metadata, std::string(what)), what, field.name, field.min,
                      field.max, config.*field.member);
}

Result<void> read_rope(const JsonFields& fields, const Architecture& architecture,
                       std::string_view what, ModelConfig& config) {
  RopeParameters& rope = config.rope;
  RETURN_IF_ERROR(read_number(fields, what, "rope.freq_base", 1e-3, 1e12, rope.rope_theta));
  RETURN_IF_ERROR(
      read_number(fields, what, "rope.freq_base_swa", 1e-3, 1e12, config.local_rope.rope_theta));

  double factor = 1.0;
  RETURN_IF_ERROR(read_number(fields, what, "rope.scale_linear", 1e-3, 1e6, factor));
  RETURN_IF_ERROR(read_number(fields, what, "rope.scaling.factor", 0.0, 1e6, factor));
  if (factor == 0.0) factor = 1.0;  // written where there is no scaling
  ASSIGN_OR_RETURN(const std::optional<std::string> type, fields.text("rope.scaling.type"));
  // The old key rope.scale_linear comes without a type.
  if (type.value_or("linear") == "linear" && factor != 1.0) {
    rope.rope_type = RopeParameters::Type::kLinear;
    rope.factor = factor;
  } else if (type && *type != "none" && *type != "linear") {
    return unsupported_field(what, "rope.scaling.type", cat("\"", type->substr(0, 60), "\""),
                             "\"none\", \"linear\"", architecture.gguf_name);
  }

  int64_t rotated = config.head_dim;
  RETURN_IF_ERROR(read_integer(fields, what, "rope.dimension_count", 1, kMaxWidth, rotated));
  const bool rotates = architecture.owns("head_dim");
  if (rotates && rotated != config.head_dim) {
    return unsupported_field(what, "rope.dimension_count", cat(rotated),
                             cat(config.head_dim, ", the size of a head"), architecture.gguf_name);
  }
  return {};
}

Result<void> read_windows(const JsonFields& fields, const Json& metadata, std::string_view what,
                          ModelConfig& config) {
  RETURN_IF_ERROR(read_integer(fields, what, "attention.sliding_window", 0, kMaxContext,
                               config.sliding_window));
  RETURN_IF_ERROR(read_number(fields, what, "final_logit_softcapping", 0.0, 1e9,
                              config.final_logit_softcapping));
  constexpr std::string_view kPattern = "attention.sliding_window_pattern";
  const auto pattern = metadata.find(kPattern);
  if (pattern == metadata.end() || !pattern->is_array()) {
    return read_integer(fields, what, kPattern, 1, kMaxLayers, config.sliding_window_pattern);
  }
  for (const Json& slides : *pattern) {
    if (!slides.is_boolean()) return fields.wrong_type(kPattern, "a number, or a flag per layer");
    config.layer_types.push_back(slides.get<bool>() ? LayerType::kSlidingAttention
                                                    : LayerType::kFullAttention);
  }
  return {};
}

/// What only the tensors say.
Result<void> read_tensors(const Checkpoint& checkpoint, const Architecture& architecture,
                          std::string_view what, ModelConfig& config) {
  const TensorInfo* table = checkpoint.find("token_embd.weight");
  if (table == nullptr || table->shape.size() != 2) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what, ": the table of embeddings token_embd.weight is ",
                                table == nullptr ? "missing" : "not a matrix",
                                "; without it this is no model (a vocabulary alone, or one part of "
                                "a split file)"),
                 .what = "token_embd.weight",
                 .found = table == nullptr ? "nothing" : "another shape",
                 .wanted = "a matrix"};
  }
  config.vocab_size = table->shape[0];
  if (config.vocab_size < 1 || config.vocab_size > kMaxVocabSize) {
    return bad_field(what, "token_embd.weight", cat(config.vocab_size, " rows"),
                     cat("1 to ", kMaxVocabSize, " rows"));
  }
  config.tie_word_embeddings = checkpoint.find("output.weight") == nullptr;
  const auto has = [&](std::string_view name) { return checkpoint.find(name) != nullptr; };
  if (architecture.owns("attention_bias")) {
    config.attention_bias = has("blk.0.attn_q.bias");
    config.attention_output_bias = has("blk.0.attn_output.bias");
  }
  if (architecture.owns("mlp_bias")) config.mlp_bias = has("blk.0.ffn_down.bias");

  const TensorInfo* divisors = checkpoint.find("rope_freqs.weight");
  if (divisors == nullptr) return {};
  const auto pairs = static_cast<size_t>(config.head_dim / 2);
  std::vector<float>& out = config.rope.frequency_divisors;
  if (divisors->dtype != DType::of<F32>() || divisors->bytes != pairs * sizeof(float)) {
    return bad_field(what, "rope_freqs.weight",
                     cat(divisors->num_values(), " values of type ", divisors->type_name),
                     cat(pairs, " values of type F32"));
  }
  out.resize(pairs);
  divisors->dtype->decode_row(checkpoint.bytes(*divisors).data(), out);
  for (const float divisor : out) {
    if (!(divisor > 0.0f) || !std::isfinite(divisor)) {
      return bad_field(what, "rope_freqs.weight", cat("a divisor of ", divisor),
                       "positive numbers");
    }
  }
  return {};
}

}  // namespace

void write_gguf_config(const ModelConfig& config, const Architecture& architecture,
                       GgufEntries& entries) {
  const auto key = [&](std::string_view name) { return cat(architecture.gguf_name, ".", name); };
  const auto integers = [&](std::span<const IntegerField> fields) {
    for (const IntegerField& field : fields) {
      entries.u32(key(field.name), static_cast<uint32_t>(config.*field.member));
    }
  };
  integers(kRequired);
  integers(kOptional);
  entries.u32(key("attention.value_length"), static_cast<uint32_t>(config.head_dim));
  entries.u32(key("vocab_size"), static_cast<uint32_t>(config.vocab_size));
  // Each architecture reads the one of its norms.
  for (const NumberField& field : kNumbers) {
    entries.f32(key(field.name), static_cast<float>(config.*field.member));
  }
  if (architecture.owns("head_dim")) {
    entries.u32(key("rope.dimension_count"), static_cast<uint32_t>(config.head_dim));
    entries.f32(key("rope.freq_base"), static_cast<float>(config.rope.rope_theta));
    if (config.rope.rope_type == RopeParameters::Type::kLinear) {
      entries.text(key("rope.scaling.type"), "linear");
      entries.f32(key("rope.scaling.factor"), static_cast<float>(config.rope.factor));
    }
  }
  if (!has_windows(architecture)) return;
  entries.u32(key("attention.sliding_window"), static_cast<uint32_t>(config.sliding_window));
  std::vector<bool> slides;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) slides.push_back(config.slides(i));
  entries.booleans(key("attention.sliding_window_pattern"), slides);
  entries.f32(key("rope.freq_base_swa"), static_cast<float>(config.local_rope.rope_theta));
  if (config.final_logit_softcapping != 0.0) {
    entries.f32(key("final_logit_softcapping"), static_cast<float>(config.final_logit_softcapping));
  }
}

Result<ModelConfig> read_gguf_config(const Checkpoint& checkpoint, std::string_view what) {
  const std::string* name = checkpoint.text("general.architecture");
  if (name == nullptr) {
    return bad_field(what, "general.architecture", "missing", "the name of an architecture");
  }
  const Architecture* architecture = find_gguf_architecture(*name);
  if (architecture == nullptr) {
    return unsupported_architecture(what, "general.architecture", *name);
  }
  const std::string prefix = cat(*name, ".");
  const std::string context = cat(what, ": ", *name);
  ASSIGN_OR_RETURN(const Json metadata, metadata_json(checkpoint, prefix, what));
  RETURN_IF_ERROR(check_fields(metadata, *architecture, context));

  ModelConfig config = architecture->defaults();
  config.architecture = architecture->name;
  // Where Hugging Face has defaults, GGUF says "as many as heads" and "hidden size / heads".
  config.num_key_value_heads = 0;
  config.head_dim = 0;
  config.query_pre_attn_scalar = 0.0;
  if (!has_windows(*architecture)) config.sliding_window = 0;
  const JsonFields fields(metadata, context);
  for (const IntegerField& field : kRequired) {
    if (!fields.has(field.name)) {
      return bad_field(context, field.name, "missing", "a number");
    }
    RETURN_IF_ERROR(read_per_layer(metadata, *architecture, context, field, config));
  }
  for (const IntegerField& field : kOptional) {
    RETURN_IF_ERROR(read_per_layer(metadata, *architecture, context, field, config));
  }
  for (const NumberField& field : kNumbers) {
    RETURN_IF_ERROR(
        read_number(fields, context, field.name, field.min, field.max, config.*field.member));
  }
  if (config.head_dim == 0 && config.hidden_size % config.num_attention_heads == 0) {
    config.head_dim = config.hidden_size / config.num_attention_heads;
  }
  int64_t value_length = config.head_dim;
  RETURN_IF_ERROR(
      read_integer(fields, context, "attention.value_length", 1, kMaxWidth, value_length));
  if (value_length != config.head_dim) {
    return unsupported_field(context, "attention.value_length", cat(value_length),
                             cat(config.head_dim, ", the length of a key"), architecture->name);
  }
  RETURN_IF_ERROR(read_rope(fields, *architecture, context, config));
  if (has_windows(*architecture)) {
    RETURN_IF_ERROR(read_windows(fields, metadata, context, config));
    // Only the largest Gemma 3, of 62 layers, scales by the hidden size instead of the head's.
    if (config.num_hidden_layers == 62) {
      config.query_pre_attn_scalar =
          static_cast<double>(config.hidden_size / config.num_attention_heads);
    }
  }
  double scale = 0.0;
  RETURN_IF_ERROR(read_number(fields, context, "attention.scale", 0.0, 1e3, scale));
  if (scale != 0.0) {
    if (!has_windows(*architecture)) {
      return unsupported_field(context, "attention.scale", cat(scale), "0", architecture->name);
    }
    config.query_pre_attn_scalar = 1.0 / (scale * scale);
  }
  RETURN_IF_ERROR(read_tensors(checkpoint, *architecture, what, config));
  RETURN_IF_ERROR(complete_config(config, context));
  return config;
}

}  // namespace quern
