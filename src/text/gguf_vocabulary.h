#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// The vocabulary that a GGUF file carries, as its keys under tokenizer.ggml say. Filled by
/// whoever reads the file; the views must live until Tokenizer::from_gguf() returns.
struct GgufVocabulary {
  std::string model;  // "gpt2" or "llama"
  std::string pre;    // which tokenizer it was made from; empty in old files
  std::vector<std::string_view> tokens;
  std::vector<float> scores;        // model "llama"
  std::vector<int32_t> token_type;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused,
                                    // 6 byte; empty: all normal
  std::vector<std::string_view> merges;  // "left right", model "gpt2"
  std::optional<int64_t> bos_id, eos_id, unk_id, pad_id, eot_id, eom_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
};

}  // namespace quern
