#include "text/tokenizer_config.h"

#include <utility>

#include "base/json.h"
#include "base/numbers.h"

namespace quern {

namespace {

/// A token is written as its text or as an object with "content" and the flags.
Result<std::optional<AddedToken>> read_token(const Json* value, std::string_view what) {
  if (value == nullptr || value->is_null()) return std::optional<AddedToken>();
  AddedToken token;
  token.special = true;
  if (value->is_string()) {
    token.content = value->get<std::string>();
    return std::optional(std::move(token));
  }
  if (!value->is_object()) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what, ": a token is neither a text nor an object"),
                 .what = std::string(what)};
  }
  const JsonFields fields(*value, std::string(what));
  ASSIGN_OR_RETURN(const auto content, fields.text("content"));
  if (!content) return fields.wrong_type("content", "a string");
  token.content = *content;
  ASSIGN_OR_RETURN(const auto single_word, fields.boolean("single_word"));
  ASSIGN_OR_RETURN(const auto lstrip, fields.boolean("lstrip"));
  ASSIGN_OR_RETURN(const auto rstrip, fields.boolean("rstrip"));
  ASSIGN_OR_RETURN(const auto normalized, fields.boolean("normalized"));
  ASSIGN_OR_RETURN(const auto special, fields.boolean("special"));
  token.single_word = single_word.value_or(false);
  token.lstrip = lstrip.value_or(false);
  token.rstrip = rstrip.value_or(false);
  token.special = special.value_or(true);
  token.normalized = normalized.value_or(!token.special);
  return std::optional(std::move(token));
}

Result<std::optional<std::string>> read_name(const JsonFields& fields, std::string_view key,
                                             std::string_view what) {
  ASSIGN_OR_RETURN(auto token, read_token(fields.find(key), cat(what, ": ", key)));
  return token ? std::optional(std::move(token->content)) : std::nullopt;
}

}  // namespace

Result<TokenizerConfig> read_tokenizer_config(std::string_view json, std::string_view what) {
  TokenizerConfig config;
  if (json.empty()) return config;
  ASSIGN_OR_RETURN(const Json root, parse_json(json, what));
  if (!root.is_object()) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what, ": is no object"),
                 .what = std::string(what)};
  }
  const JsonFields fields(root, std::string(what));
  ASSIGN_OR_RETURN(const auto tokenizer_class, fields.text("tokenizer_class"));
  config.tokenizer_class = tokenizer_class.value_or("");
  ASSIGN_OR_RETURN(config.bos_token, read_name(fields, "bos_token", what));
  ASSIGN_OR_RETURN(config.eos_token, read_name(fields, "eos_token", what));
  ASSIGN_OR_RETURN(config.unk_token, read_name(fields, "unk_token", what));
  ASSIGN_OR_RETURN(config.pad_token, read_name(fields, "pad_token", what));
  ASSIGN_OR_RETURN(config.add_bos_token, fields.boolean("add_bos_token"));
  ASSIGN_OR_RETURN(config.add_eos_token, fields.boolean("add_eos_token"));
  ASSIGN_OR_RETURN(config.add_prefix_space, fields.boolean("add_prefix_space"));
  ASSIGN_OR_RETURN(config.legacy, fields.boolean("legacy"));
  if (const Json* decoder = fields.find("added_tokens_decoder")) {
    if (!decoder->is_object()) return fields.wrong_type("added_tokens_decoder", "an object");
    for (const auto& [key, value] : decoder->items()) {
      const auto id = parse_integer<int32_t>(key);
      if (!id || *id < 0) {
        return Error{.code = ErrorCode::kBadFile,
                     .message = cat(what, ": added_tokens_decoder: \"", key, "\" is no token id"),
                     .what = std::string(what)};
      }
      ASSIGN_OR_RETURN(auto token, read_token(&value, cat(what, ": added_tokens_decoder")));
      if (!token) continue;
      token->id = *id;
      config.added_tokens.push_back(*std::move(token));
    }
  }
  if (const Json* list = fields.find("additional_special_tokens")) {
    if (!list->is_array()) return fields.wrong_type("additional_special_tokens", "an array");
    for (const Json& value : *list) {
      ASSIGN_OR_RETURN(auto token, read_token(&value, cat(what, ": additional_special_tokens")));
      if (token) config.added_tokens.push_back(*std::move(token));
    }
  }
  return config;
}

}  // namespace quern
