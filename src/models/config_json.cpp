#include <algorithm>
#include <cmath>

#include "base/cat.h"
#include "models/config_fields.h"
#include "models/model_config.h"
#include "models/quantization_config.h"

// config.json, in the spellings of all versions of transformers. Every field in it is one of: read
// into ModelConfig; known not to change the numbers; supported only at values that change nothing;
// unknown, which is said once.

namespace quern {

namespace {

constexpr IntegerField kIntegers[] = {
    {"vocab_size", &ModelConfig::vocab_size, 1, kMaxVocabSize},
    {"hidden_size", &ModelConfig::hidden_size, 1, kMaxWidth},
    {"intermediate_size", &ModelConfig::intermediate_size, 1, kMaxWidth},
    {"num_hidden_layers", &ModelConfig::num_hidden_layers, 1, kMaxLayers},
    {"num_attention_heads", &ModelConfig::num_attention_heads, 1, kMaxHeads},
    {"max_position_embeddings", &ModelConfig::max_position_embeddings, 1, kMaxContext},
};
constexpr NumberField kNumbers[] = {
    {"rms_norm_eps", &ModelConfig::rms_norm_eps, 0.0, 1.0},
    {"layer_norm_epsilon", &ModelConfig::layer_norm_epsilon, 0.0, 1.0},
};
constexpr FlagField kFlags[] = {
    {"tie_word_embeddings", &ModelConfig::tie_word_embeddings},
};

// Read only by an architecture that lists them in own_fields.
constexpr IntegerField kOwnIntegers[] = {
    {"num_key_value_heads", &ModelConfig::num_key_value_heads, 1, kMaxHeads},
    {"head_dim", &ModelConfig::head_dim, 1, kMaxWidth},
    {"sliding_window", &ModelConfig::sliding_window, 0, kMaxContext},
    {"sliding_window_pattern", &ModelConfig::sliding_window_pattern, 1, kMaxLayers},
    {"max_window_layers", &ModelConfig::max_window_layers, 0, INT32_MAX},
};
constexpr NumberField kOwnNumbers[] = {
    {"query_pre_attn_scalar", &ModelConfig::query_pre_attn_scalar, 1e-6, 1e9},
    {"final_logit_softcapping", &ModelConfig::final_logit_softcapping, 1e-6, 1e9},
};
constexpr FlagField kOwnFlags[] = {
    {"attention_bias", &ModelConfig::attention_bias},
    {"mlp_bias", &ModelConfig::mlp_bias},
    {"use_sliding_window", &ModelConfig::use_sliding_window},
    {"scale_attn_weights", &ModelConfig::scale_attn_weights},
    {"scale_attn_by_inverse_layer_idx", &ModelConfig::scale_attn_by_inverse_layer_idx},
};

/// Read outside the tables above.
constexpr std::string_view kReadElsewhere[] = {
    "architectures", "model_type",   "hidden_act",      "layer_types",
    "rope_theta",    "rope_scaling", "rope_parameters", "original_max_position_embeddings",
    "bos_token_id",  "eos_token_id", "pad_token_id",    "quantization_config",
};

constexpr FieldRule kCommonRules[] = {
    // No effect on the numbers: how it was made, trained, or would be sampled from.
    {"_attn_implementation"},
    {"_attn_implementation_autoset"},
    {"_name_or_path"},
    {"_sliding_window_pattern"},
    {"attention_dropout"},
    {"attn_implementation"},
    {"attn_pdrop"},
    {"bad_words_ids"},
    {"begin_suppress_tokens"},
    {"cache_implementation"},
    {"chunk_size_feed_forward"},
    {"cross_attention_hidden_size"},
    {"decoder_start_token_id"},
    {"diversity_penalty"},
    {"do_sample"},
    {"dropout"},
    {"dtype"},
    {"early_stopping"},
    {"embd_pdrop"},
    {"encoder_no_repeat_ngram_size"},
    {"exponential_decay_length_penalty"},
    {"finetuning_task"},
    {"forced_bos_token_id"},
    {"forced_eos_token_id"},
    {"gradient_checkpointing"},
    {"hidden_dropout"},
    {"hidden_dropout_prob"},
    {"id2label"},
    {"initializer_range"},
    {"is_decoder"},
    {"is_llama_config"},
    {"keys_to_ignore_at_inference"},
    {"label2id"},
    {"length_penalty"},
    {"max_length"},
    {"min_length"},
    {"n_ctx"},
    {"name_or_path"},
    {"no_repeat_ngram_size"},
    {"num_beam_groups"},
    {"num_beams"},
    {"num_labels"},
    {"num_return_sequences"},
    {"output_attentions"},
    {"output_hidden_states"},
    {"output_scores"},
    {"prefix"},
    {"pretraining_tp"},  // the order in which training machines summed
    {"problem_type"},
    {"remove_invalid_values"},
    {"reorder_and_upcast_attn"},  // everything is fp32 here
    {"repetition_penalty"},
    {"resid_pdrop"},
    {"return_dict"},
    {"return_dict_in_generate"},
    {"sep_token_id"},
    {"summary_activation"},
    {"summary_first_dropout"},
    {"summary_proj_to_labels"},
    {"summary_type"},
    {"summary_use_proj"},
    {"suppress_tokens"},
    {"task_specific_params"},
    {"temperature"},
    {"tf_legacy_loss"},
    {"tie_encoder_decoder"},
    {"tie_last_hidden_states"},
    {"tokenizer_class"},
    {"top_k"},
    {"top_p"},
    {"torch_dtype"},
    {"torchscript"},
    {"transformers.js_config"},
    {"transformers_version"},
    {"typical_p"},
    {"unsloth_fixed"},
    {"unsloth_version"},
    {"use_bfloat16"},
    {"use_cache"},

    // Would change the numbers at any other value.
    {"add_cross_attention", "[null,false]"},
    {"alibi", "[null,false]"},
    {"attention_bias", "[null,false]"},
    {"attention_multiplier", "[null]"},
    {"attn_logit_softcapping", "[null]"},
    {"clip_qkv", "[null]"},
    {"compression_config", "[null]"},
    {"dim_model_base", "[null]"},
    {"embedding_multiplier", "[null,1]"},
    {"final_logit_softcapping", "[null]"},
    {"is_causal", "[null,true]"},
    {"is_encoder_decoder", "[null,false]"},
    {"logit_scale", "[null,1]"},
    {"logits_scaling", "[null,1]"},
    {"mlp_bias", "[null,false]"},
    {"n_routed_experts", "[null,0]"},
    {"no_rope_layers", "[null,[]]"},
    {"num_experts", "[null,0]"},
    {"num_local_experts", "[null,0]"},
    {"parallel_attn", "[null,false]"},
    {"partial_rotary_factor", "[null,1]"},
    {"per_layer_config", "[null,{}]"},
    {"pruned_heads", "[null,{}]"},
    {"qk_layernorm", "[null,false]"},
    {"qk_norm", "[null,false]"},
    {"query_pre_attn_scalar", "[null]"},
    {"residual_multiplier", "[null,1]"},
    {"rope_interleaved", "[null,false]"},
    {"rope_local_base_freq", "[null]"},
    {"rotary_pct", "[null,1]"},
    {"scale_attn_by_inverse_layer_idx", "[null,false]"},
    {"scale_attn_weights", "[null,true]"},
    {"scale_depth", "[null]"},
    {"scale_emb", "[null,1]"},
    {"sliding_window", "[null]"},
    {"sliding_window_pattern", "[null]"},
    {"use_bidirectional_attention", "[null,false]"},
    {"use_mrope", "[null,false]"},
    {"use_parallel_residual", "[null,false]"},
    {"use_qk_norm", "[null,false]"},
    {"use_sliding_window", "[null,false]"},
};

/// The architecture's own spelling of a common field.
std::string_view spelling(const Architecture& architecture, std::string_view name) {
  const auto alias = std::ranges::find(architecture.aliases, name, &FieldAlias::name);
  return alias == architecture.aliases.end() ? name : alias->spelling;
}

bool in_tables(std::string_view name) {
  return std::ranges::find(kIntegers, name, &IntegerField::name) != std::end(kIntegers) ||
         std::ranges::find(kNumbers, name, &NumberField::name) != std::end(kNumbers) ||
         std::ranges::find(kFlags, name, &FlagField::name) != std::end(kFlags) ||
         std::ranges::find(kReadElsewhere, name) != std::end(kReadElsewhere);
}

bool reads(const Architecture& architecture, std::string_view name) {
  return in_tables(name) || architecture.owns(name) ||
         std::ranges::find(architecture.aliases, name, &FieldAlias::spelling) !=
             architecture.aliases.end();
}

/// Refuses values that quern cannot follow, before anything is read.
Result<void> check_fields(const Json& config, const Architecture& architecture,
                          std::string_view what) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : config.items()) {
    const FieldRule* rule = find_rule(architecture.field_rules, name);
    if (rule == nullptr && reads(architecture, name)) continue;
    if (rule == nullptr) rule = find_rule(kCommonRules, name);
    if (rule == nullptr) {
      unknown.push_back(name);
      continue;
    }
    RETURN_IF_ERROR(check_supported(value, name, rule->values, what, architecture.name));
  }
  warn_unknown_fields(what, unknown, architecture.name);
  return {};
}

/// The numbers and flags of the tables above.
Result<void> read_tables(const JsonFields& fields, const Architecture& architecture,
                         std::string_view what, ModelConfig& config) {
  // A common field may stand under the common name or under the architecture's own.
  const auto name_of = [&](std::string_view name) {
    const std::string_view own = spelling(architecture, name);
    return fields.has(own) ? own : name;
  };
  for (const IntegerField& f : kIntegers) {
    RETURN_IF_ERROR(read_integer(fields, what, name_of(f.name), f.min, f.max, config.*f.member));
  }
  for (const NumberField& f : kNumbers) {
    RETURN_IF_ERROR(read_number(fields, what, name_of(f.name), f.min, f.max, config.*f.member));
  }
  for (const FlagField& f : kFlags) RETURN_IF_ERROR(read_flag(fields, f.name, config.*f.member));

  for (const IntegerField& f : kOwnIntegers) {
    if (!architecture.owns(f.name)) continue;
    RETURN_IF_ERROR(read_integer(fields, what, f.name, f.min, f.max, config.*f.member));
  }
  for (const NumberField& f : kOwnNumbers) {
    if (!architecture.owns(f.name)) continue;
    RETURN_IF_ERROR(read_number(fields, what, f.name, f.min, f.max, config.*f.member));
  }
  for (const FlagField& f : kOwnFlags) {
    if (!architecture.owns(f.name)) continue;
    RETURN_IF_ERROR(read_flag(fields, f.name, config.*f.member));
  }
  return {};
}

/// Where null says something else than a missing key: as many as heads, hidden size / heads, no
/// window.
void read_nulls(const Json& json, const Architecture& architecture, ModelConfig& config) {
  const auto is_null = [&](std::string_view name) {
    const auto member = json.find(name);
    return architecture.owns(name) && member != json.end() && member->is_null();
  };
  if (is_null("num_key_value_heads")) config.num_key_value_heads = 0;
  if (is_null("head_dim")) config.head_dim = 0;
  const bool switched_off = architecture.owns("use_sliding_window") && !config.use_sliding_window;
  if (is_null("sliding_window") || switched_off) config.sliding_window = 0;
}

Result<void> read_activation(const JsonFields& fields, const Architecture& architecture,
                             std::string_view what, ModelConfig& config) {
  constexpr std::pair<std::string_view, Activation> kNames[] = {
      {"gelu", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
  };
  const std::string_view own = spelling(architecture, "hidden_act");
  ASSIGN_OR_RETURN(const std::optional<std::string> text, fields.text(own));
  if (!text) return {};
  std::string known;
  for (const auto& [name, activation] : kNames) {
    if (*text == name) {
      config.hidden_act = activation;
      return {};
    }
    known += cat(known.empty() ? "" : ", ", "\"", name, "\"");
  }
  return unsupported_field(what, own, dump_json(Json(text->substr(0, 60))), known,
                           architecture.name);
}

Result<void> read_layer_types(const JsonFields& fields, const Architecture& architecture,
                              std::string_view what, ModelConfig& config) {
  constexpr std::string_view kName = "layer_types";
  const Json* types = fields.find(kName);
  if (types == nullptr) return {};
  if (!types->is_array()) return fields.wrong_type(kName, "an array of strings");
  for (const Json& type : *types) {
    if (!type.is_string()) return fields.wrong_type(kName, "an array of strings");
    const auto& text = type.get_ref<const std::string&>();
    if (text == "full_attention" || text == "attention") {
      config.layer_types.push_back(LayerType::kFullAttention);
    } else if (text == "sliding_attention") {
      config.layer_types.push_back(LayerType::kSlidingAttention);
    } else {
      return unsupported_field(what, kName, dump_json(Json(text.substr(0, 60))),
                               "\"full_attention\", \"sliding_attention\"", architecture.name);
    }
  }
  return {};
}

/// One set of rotary parameters: rope_parameters, an entry of it, or the old rope_scaling.
Result<void> read_rope_object(const Json& object, const Architecture& architecture,
                              std::string_view what, std::string_view name, RopeParameters& rope) {
  const std::string context = cat(what, ": \"", name, "\"");
  if (!object.is_object()) {
    return bad_field(what, name, cat("a value of type ", object.type_name()), "an object");
  }
  const JsonFields fields(object, context);
  std::vector<std::string> unknown;
  for (const auto& [key, value] : object.items()) {
    constexpr std::string_view kRead[] = {"rope_type",
                                          "type",
                                          "rope_theta",
                                          "factor",
                                          "low_freq_factor",
                                          "high_freq_factor",
                                          "original_max_position_embeddings"};
    constexpr FieldRule kRules[] = {
        {"partial_rotary_factor", "[null,1]"},
        {"attention_factor", "[null,1]"},
        {"mrope_section", "[null]"},
        {"mrope_interleaved", "[null,false]"},
        {"finetuned"},
    };
    if (std::ranges::find(kRead, key) != std::end(kRead)) continue;
    const FieldRule* rule = find_rule(kRules, key);
    if (rule == nullptr) {
      unknown.push_back(key);
    } else {
      RETURN_IF_ERROR(check_supported(value, key, rule->values, context, architecture.name));
    }
  }

  ASSIGN_OR_RETURN(std::optional<std::string> type, fields.text("rope_type"));
  if (!type) {
    ASSIGN_OR_RETURN(type, fields.text("type"));
  }
  if (type.value_or("default") == "default") {
    rope.rope_type = RopeParameters::Type::kDefault;
  } else if (*type == "linear") {
    rope.rope_type = RopeParameters::Type::kLinear;
  } else if (*type == "llama3") {
    rope.rope_type = RopeParameters::Type::kLlama3;
  } else {
    return unsupported_field(context, "rope_type", dump_json(Json(type->substr(0, 60))),
                             "\"default\", \"linear\", \"llama3\"", architecture.name);
  }
  warn_unknown_fields(context, unknown, architecture.name);

  RETURN_IF_ERROR(read_number(fields, context, "rope_theta", 1e-3, 1e12, rope.rope_theta));
  if (rope.rope_type == RopeParameters::Type::kDefault) return {};
  const auto require = [&](std::string_view key) -> Result<void> {
    if (fields.has(key)) return {};
    return bad_field(context, key, "missing", cat("a number, since the type is ", *type));
  };
  RETURN_IF_ERROR(require("factor"));
  RETURN_IF_ERROR(read_number(fields, context, "factor", 1e-3, 1e6, rope.factor));
  if (rope.rope_type == RopeParameters::Type::kLinear) return {};
  RETURN_IF_ERROR(require("low_freq_factor"));
  RETURN_IF_ERROR(require("high_freq_factor"));
  RETURN_IF_ERROR(read_number(fields, context, "low_freq_factor", 1e-6, 1e6, rope.low_freq_factor));
  RETURN_IF_ERROR(
      read_number(fields, context, "high_freq_factor", 1e-6, 1e6, rope.high_freq_factor));
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    return bad_field(context, "high_freq_factor", cat(rope.high_freq_factor),
                     cat("more than low_freq_factor, which is ", rope.low_freq_factor));
  }
  return read_integer(fields, context, "original_max_position_embeddings", 1, kMaxContext,
                      rope.original_max_position_embeddings);
}

bool by_layer_type(const Json& object) {
  return object.is_object() &&
         (object.contains("full_attention") || object.contains("sliding_attention"));
}

/// rope_parameters = {"full_attention": {...}, "sliding_attention": {...}}
Result<void> read_rope_by_layer_type(const Json& object, const Architecture& architecture,
                                     std::string_view what, ModelConfig& config) {
  for (const auto& [type, parameters] : object.items()) {
    const std::string name = cat("rope_parameters.", type.substr(0, 60));
    if (type != "full_attention" && type != "sliding_attention") {
      return unsupported_field(what, name, "an entry of its own",
                               "full_attention, sliding_attention", architecture.name);
    }
    if (parameters.is_null()) continue;
    RopeParameters& rope = type == "full_attention" ? config.rope : config.local_rope;
    RETURN_IF_ERROR(read_rope_object(parameters, architecture, what, name, rope));
  }
  return {};
}

Result<void> read_rope(const JsonFields& fields, const Architecture& architecture,
                       std::string_view what, ModelConfig& config) {
  // What stands beside counts where the inner objects do not say otherwise.
  RETURN_IF_ERROR(read_number(fields, what, "rope_theta", 1e-3, 1e12, config.rope.rope_theta));
  const bool has_local = architecture.owns("rope_local_base_freq");
  if (has_local) {
    RETURN_IF_ERROR(read_number(fields, what, "rope_local_base_freq", 1e-3, 1e12,
                                config.local_rope.rope_theta));
  }
  const Json* parameters = fields.find("rope_parameters");
  const Json* scaling = fields.find("rope_scaling");
  if (scaling != nullptr && scaling->is_object() && scaling->empty()) scaling = nullptr;
  if (parameters != nullptr && by_layer_type(*parameters) != has_local && !parameters->empty()) {
    return unsupported_field(what, "rope_parameters",
                             has_local ? "one object for all layers" : "an object per layer type",
                             has_local ? "an object per layer type" : "one object for all layers",
                             architecture.name);
  }
  if (parameters != nullptr && has_local) {
    RETURN_IF_ERROR(read_rope_by_layer_type(*parameters, architecture, what, config));
  } else if (parameters != nullptr && scaling == nullptr) {
    RETURN_IF_ERROR(
        read_rope_object(*parameters, architecture, what, "rope_parameters", config.rope));
  }
  if (scaling != nullptr) {
    RETURN_IF_ERROR(read_rope_object(*scaling, architecture, what, "rope_scaling", config.rope));
  }
  for (RopeParameters* rope : {&config.rope, &config.local_rope}) {
    if (rope->rope_type != RopeParameters::Type::kLlama3) continue;
    // Where both speak, transformers lets the outer one win.
    if (rope->original_max_position_embeddings == 0) {
      rope->original_max_position_embeddings = config.max_position_embeddings;
    }
    RETURN_IF_ERROR(read_integer(fields, what, "original_max_position_embeddings", 1, kMaxContext,
                                 rope->original_max_position_embeddings));
  }
  return {};
}

}  // namespace

Result<ModelConfig> read_config_json(const Json& json, std::string_view what) {
  ASSIGN_OR_RETURN(const Architecture* architecture, architecture_of(json, what));
  RETURN_IF_ERROR(check_fields(json, *architecture, what));

  ModelConfig config = architecture->defaults();
  config.architecture = architecture->name;
  const JsonFields fields(json, std::string(what));
  RETURN_IF_ERROR(read_tables(fields, *architecture, what, config));
  read_nulls(json, *architecture, config);
  RETURN_IF_ERROR(read_activation(fields, *architecture, what, config));
  RETURN_IF_ERROR(read_layer_types(fields, *architecture, what, config));
  RETURN_IF_ERROR(read_rope(fields, *architecture, what, config));
  if (const Json* quantization = fields.find("quantization_config")) {
    RETURN_IF_ERROR(check_quantization_config(*quantization, what, architecture->name));
    config.w8a8 = true;
  }
  // Where the bias is a choice it is one for all four products.
  if (architecture->owns("attention_bias")) config.attention_output_bias = config.attention_bias;
  RETURN_IF_ERROR(complete_config(config, what));
  return config;
}

}  // namespace quern
