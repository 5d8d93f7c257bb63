#include "models/generation_config.h"

#include <algorithm>

#include "base/cat.h"
#include "models/config_fields.h"

namespace quern {

namespace {

constexpr size_t kMaxEndTokens = 1024;

Result<void> read_optional(const JsonFields& fields, std::string_view what, std::string_view name,
                           double min, double max, std::optional<double>& target) {
  if (!fields.has(name)) return {};
  target = min;
  return read_number(fields, what, name, min, max, *target);
}

void add_id(std::vector<int32_t>& ids, int64_t id) {
  if (id < 0 || id > INT32_MAX) return;
  const auto narrow = static_cast<int32_t>(id);
  if (std::ranges::find(ids, narrow) == ids.end()) ids.push_back(narrow);
}

}  // namespace

Result<std::optional<std::vector<int32_t>>> read_eos_token_ids(const Json& object,
                                                               std::string_view what) {
  constexpr std::string_view kName = "eos_token_id";
  const JsonFields fields(object, std::string(what));
  const Json* value = fields.find(kName);
  if (value == nullptr) return std::optional<std::vector<int32_t>>();
  std::vector<int32_t> ids;
  if (value->is_array()) {
    if (value->size() > kMaxEndTokens) {
      return bad_field(what, kName, cat("a list of ", value->size()),
                       cat("at most ", kMaxEndTokens, " ids"));
    }
    for (const Json& id : *value) {
      if (!id.is_number_integer()) return fields.wrong_type(kName, "a token id or a list of them");
      add_id(ids, id.get<int64_t>());
    }
  } else if (value->is_number_integer()) {
    add_id(ids, value->get<int64_t>());
  } else {
    return fields.wrong_type(kName, "a token id or a list of them");
  }
  return std::optional(std::move(ids));
}

Result<GenerationConfig> read_generation_config(const Json& object, std::string_view what) {
  if (!object.is_object()) {
    return bad_field(what, "the file", cat("a value of type ", object.type_name()), "an object");
  }
  GenerationConfig config;
  const JsonFields fields(object, std::string(what));
  ASSIGN_OR_RETURN(std::optional<std::vector<int32_t>> ends, read_eos_token_ids(object, what));
  if (ends) config.eos_token_ids = *std::move(ends);
  ASSIGN_OR_RETURN(config.do_sample, fields.boolean("do_sample"));
  RETURN_IF_ERROR(read_optional(fields, what, "temperature", 0.0, 1e6, config.temperature));
  RETURN_IF_ERROR(read_optional(fields, what, "top_p", 0.0, 1.0, config.top_p));
  RETURN_IF_ERROR(read_optional(fields, what, "min_p", 0.0, 1.0, config.min_p));
  RETURN_IF_ERROR(read_optional(fields, what, "typical_p", 0.0, 1.0, config.typical_p));
  RETURN_IF_ERROR(
      read_optional(fields, what, "repetition_penalty", 1e-6, 1e6, config.repetition_penalty));
  if (fields.has("top_k")) {
    config.top_k = 0;
    RETURN_IF_ERROR(read_integer(fields, what, "top_k", -1, INT32_MAX, *config.top_k));
    if (*config.top_k < 0) config.top_k = 0;  // both mean no limit
  }
  return config;
}

GenerationConfig read_gguf_generation_config(const Checkpoint& checkpoint) {
  GenerationConfig config;
  for (const std::string_view key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"}) {
    if (const std::optional<int64_t> id = checkpoint.integer(key)) {
      add_id(config.eos_token_ids, *id);
    }
  }
  // Files made before there was a key for it name the end of a turn by its text alone.
  const std::vector<std::string>* tokens = checkpoint.texts("tokenizer.ggml.tokens");
  if (tokens != nullptr && !checkpoint.integer("tokenizer.ggml.eot_token_id")) {
    for (const std::string_view text : {"<end_of_turn>", "<|eot_id|>", "<|im_end|>", "<|end|>"}) {
      const auto found = std::ranges::find(*tokens, text);
      if (found != tokens->end()) add_id(config.eos_token_ids, found - tokens->begin());
    }
  }
  const auto bounded = [&](std::string_view key, double min, double max) {
    const std::optional<double> value = checkpoint.number(key);
    return value && *value >= min && *value <= max ? value : std::nullopt;
  };
  config.temperature = bounded("general.sampling.temp", 0.0, 1e6);
  config.top_p = bounded("general.sampling.top_p", 0.0, 1.0);
  config.min_p = bounded("general.sampling.min_p", 0.0, 1.0);
  config.repetition_penalty = bounded("general.sampling.penalty_repeat", 1e-6, 1e6);
  const std::optional<int64_t> top_k = checkpoint.integer("general.sampling.top_k");
  if (top_k && *top_k >= 0 && *top_k <= INT32_MAX) config.top_k = top_k;
  return config;
}

}  // namespace quern
