#include "models/gguf_export.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/cat.h"
#include "base/log.h"
#include "models/rope.h"
#include "models/tensor_rules.h"
#include "text/gguf_vocabulary.h"

namespace quern {

namespace {

/// Every id that ends an answer has a key as long as there are keys.
void write_end_tokens(const Model& model, std::optional<int32_t> eos, GgufEntries& entries) {
  std::vector<int32_t> ends = model.generation.eos_token_ids;
  if (eos) {
    std::erase(ends, *eos);
    ends.insert(ends.begin(), *eos);
  }
  constexpr std::string_view kKeys[] = {
      "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  for (size_t i = 0; i < std::min(ends.size(), std::size(kKeys)); ++i) {
    entries.u32(kKeys[i], static_cast<uint32_t>(ends[i]));
  }
  if (ends.size() > std::size(kKeys)) {
    log_warning(cat(model.files.location.folder.string(), ": of its ", ends.size(),
                    " end tokens GGUF takes ", std::size(kKeys)));
  }
}

Result<void> write_tokenizer(const Model& model, GgufEntries& entries) {
  const Result<const Tokenizer*> tokenizer = model.files.tokenizer();
  if (!tokenizer && tokenizer.error().code == ErrorCode::kNotFound) {
    log_warning(cat(model.files.location.folder.string(),
                    ": has no tokenizer, the new file has none either"));
    entries.text("tokenizer.ggml.model", "none");
    write_end_tokens(model, std::nullopt, entries);
    return {};
  }
  ASSIGN_OR_RETURN(const GgufVocabularyTexts texts,
                   make_gguf_vocabulary(model.files.location.folder, model.config.vocab_size));
  entries.text("tokenizer.ggml.model", texts.model);
  entries.text("tokenizer.ggml.pre", texts.pre);
  entries.texts("tokenizer.ggml.tokens", texts.tokens);
  if (!texts.scores.empty()) entries.f32s("tokenizer.ggml.scores", texts.scores);
  entries.i32s("tokenizer.ggml.token_type", texts.token_type);
  if (!texts.merges.empty()) entries.texts("tokenizer.ggml.merges", texts.merges);
  const auto id = [&](std::string_view key, std::optional<int32_t> value) {
    if (value && *value < model.config.vocab_size) entries.u32(key, static_cast<uint32_t>(*value));
  };
  id("tokenizer.ggml.bos_token_id", texts.bos_id);
  id("tokenizer.ggml.unknown_token_id", texts.unk_id);
  ASSIGN_OR_RETURN(const SpecialTokens special, model.files.special_tokens());
  if (const auto pad = special.find("pad_token"); pad != special.end()) {
    id("tokenizer.ggml.padding_token_id", (*tokenizer)->token_id(pad->second));
  }
  write_end_tokens(model, texts.eos_id, entries);
  entries.boolean("tokenizer.ggml.add_bos_token", texts.add_bos);
  entries.boolean("tokenizer.ggml.add_eos_token", texts.add_eos);
  if (texts.add_space_prefix) {
    entries.boolean("tokenizer.ggml.add_space_prefix", *texts.add_space_prefix);
  }
  if (texts.remove_extra_whitespaces) {
    entries.boolean("tokenizer.ggml.remove_extra_whitespaces", *texts.remove_extra_whitespaces);
  }
  return {};
}

Result<void> write_chat_templates(const Model& model, GgufEntries& entries) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  ASSIGN_OR_RETURN(const ChatTemplates templates, model.files.chat_templates());
  std::vector<std::string> names;
  for (const auto& [name, source] : templates.sources) {
    if (name == "default") {
      entries.text(kKey, source);
    } else {
      entries.text(cat(kKey, ".", name), source);
      names.push_back(name);
    }
  }
  if (!names.empty()) entries.texts("tokenizer.chat_templates", names);
  return {};
}

void write_sampling(const GenerationConfig& generation, GgufEntries& entries) {
  if (generation.do_sample == false) return;  // what is not sampled has no temperature
  const auto number = [&](std::string_view key, std::optional<double> value) {
    if (value) entries.f32(key, static_cast<float>(*value));
  };
  if (generation.top_k) {
    entries.i32("general.sampling.top_k", static_cast<int32_t>(*generation.top_k));
  }
  number("general.sampling.top_p", generation.top_p);
  number("general.sampling.min_p", generation.min_p);
  number("general.sampling.temp", generation.temperature);
  number("general.sampling.penalty_repeat", generation.repetition_penalty);
}

Error cannot_say(std::string_view what, std::string_view field, std::string_view found) {
  return Error{.code = ErrorCode::kUnsupported,
               .message = cat("GGUF has no words for ", field, " as ", what, " has it (", found,
                              "); other programs would compute other numbers from the file"),
               .what = std::string(field),
               .found = std::string(found)};
}

bool close(double a, double b) {
  return std::abs(a - b) <= 1e-6 * std::max(std::abs(a), std::abs(b));
}

bool close(const Rope& a, const Rope& b) {
  return std::ranges::equal(a.inverse_frequencies, b.inverse_frequencies,
                            [](float x, float y) { return close(double{x}, double{y}); });
}

}  // namespace

Result<void> write_gguf_metadata(const Model& model, GgufEntries& entries) {
  entries.text("general.architecture", model.architecture->gguf_name);
  entries.text("general.type", "model");
  entries.text("general.name", model.files.location.name);
  write_gguf_config(model.config, *model.architecture, entries);
  write_sampling(model.generation, entries);
  RETURN_IF_ERROR(write_tokenizer(model, entries));
  return write_chat_templates(model, entries);
}

TensorStream gguf_stream(const Model& model, WeightId weight) {
  const WeightDecl& decl = model.program.weight(weight);
  const CheckpointWeights& weights = *model.weights;
  const auto [rule, layer] = rule_of_weight(*model.architecture, decl.name);
  const Transform transform = rule->from_gguf;
  const int64_t heads = transform == Transform::kUnpermuteKeys ? model.config.num_key_value_heads
                                                               : model.config.num_attention_heads;
  TensorStream stream{.name = with_layer(rule->gguf, layer),
                      .from = std::string(weights.stored_dtype(weight).name()),
                      .shape = {decl.cols},
                      .to = std::nullopt,
                      .stored = {},
                      .rows = {},
                      .release = [&weights, weight] { weights.release(weight); }};
  if (decl.kind == WeightDecl::Kind::kMatrix) stream.shape = {decl.rows, decl.cols};
  stream.rows = [&weights, &decl, weight, transform, heads](int64_t first, Matrix<float> out) {
    if (permutes(transform) && decl.rows > 1) {
      for (int64_t i = 0; i < out.rows; ++i) {
        weights.decode_rows(weight, unpermuted_row(first + i, decl.rows, heads),
                            out.rows_from(i, 1));
      }
      return;
    }
    weights.decode_rows(weight, first, out);
    for (int64_t i = 0; i < out.rows; ++i) {
      float* row = out.row(i);
      if (permutes(transform)) {  // a bias
        const std::vector<float> plain(row, row + out.cols);
        for (int64_t k = 0; k < out.cols; ++k) {
          row[k] = plain[static_cast<size_t>(unpermuted_row(k, out.cols, heads))];
        }
      } else if (transform == Transform::kSubtractOne) {
        for (int64_t k = 0; k < out.cols; ++k) row[k] += 1.0f;
      }
    }
  };
  return stream;
}

Result<std::optional<TensorStream>> gguf_rope_divisors(const Model& model) {
  const RopeParameters& scaled = model.config.rope;
  if (scaled.rope_type != RopeParameters::Type::kLlama3) return std::optional<TensorStream>();
  ASSIGN_OR_RETURN(const Rope turned, make_rope(scaled, model.config.head_dim));
  ASSIGN_OR_RETURN(const Rope plain,
                   make_rope({.rope_theta = scaled.rope_theta}, model.config.head_dim));
  std::vector<float> divisors;
  for (size_t i = 0; i < plain.inverse_frequencies.size(); ++i) {
    divisors.push_back(plain.inverse_frequencies[i] / turned.inverse_frequencies[i]);
  }
  TensorStream stream{.name = "rope_freqs.weight",
                      .from = "f32",
                      .shape = {static_cast<int64_t>(divisors.size())},
                      .to = DType::of<F32>(),
                      .stored = {},
                      .rows = {},
                      .release = [] {}};
  stream.rows = [divisors = std::move(divisors)](int64_t, Matrix<float> out) {
    std::ranges::copy(divisors, out.row(0));
  };
  return std::optional(std::move(stream));
}

Result<void> check_gguf_says_the_same(const Model& model, const Checkpoint& file) {
  const std::string what = model.files.location.folder.string();
  ASSIGN_OR_RETURN(const ModelConfig config, read_gguf_config(file, "the new file"));
  constexpr std::pair<std::string_view, double ModelConfig::*> kNumbers[] = {
      {"rms_norm_eps", &ModelConfig::rms_norm_eps},
      {"layer_norm_epsilon", &ModelConfig::layer_norm_epsilon},
      {"query_pre_attn_scalar", &ModelConfig::query_pre_attn_scalar},
      {"final_logit_softcapping", &ModelConfig::final_logit_softcapping},
  };
  for (const auto& [name, member] : kNumbers) {
    if (!close(config.*member, model.config.*member)) {
      return cannot_say(what, name, cat(model.config.*member));
    }
  }
  constexpr std::pair<std::string_view, bool ModelConfig::*> kFlags[] = {
      {"scale_attn_weights", &ModelConfig::scale_attn_weights},
      {"scale_attn_by_inverse_layer_idx", &ModelConfig::scale_attn_by_inverse_layer_idx},
  };
  for (const auto& [name, member] : kFlags) {
    if (config.*member != model.config.*member) {
      return cannot_say(what, name, model.config.*member ? "true" : "false");
    }
  }
  if (config.hidden_act != model.config.hidden_act) {
    return cannot_say(what, "hidden_act", "another activation than the architecture's own");
  }
  ASSIGN_OR_RETURN(const Program program, model.architecture->build(config));
  if (!std::ranges::equal(program.ropes, model.program.ropes,
                          [](const Rope& a, const Rope& b) { return close(a, b); })) {
    return cannot_say(what, "rope_scaling", "other frequencies");
  }
  if (print_program(program) != print_program(model.program)) {
    return cannot_say(what, "layer_types", "other windows or biases");
  }
  return {};
}

}  // namespace quern
