#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/added_tokens.h"

namespace quern {

/// What a tokenizer_config.json says about tokens and ids; the template in it is read elsewhere.
struct TokenizerConfig {
  std::string tokenizer_class;
  std::optional<std::string> bos_token, eos_token, unk_token, pad_token;
  std::optional<bool> add_bos_token, add_eos_token, add_prefix_space, legacy;
  /// added_tokens_decoder and additional_special_tokens, ids as written (-1: none).
  std::vector<AddedToken> added_tokens;
};

/// Reads the JSON text; an empty text is a config that says nothing.
Result<TokenizerConfig> read_tokenizer_config(std::string_view json, std::string_view what);

}  // namespace quern
