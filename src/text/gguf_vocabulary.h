#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

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

/// The same with texts of its own.
struct GgufVocabularyTexts {
  std::string model, pre;
  std::vector<std::string> tokens;
  std::vector<float> scores;  // empty for model "gpt2"
  std::vector<int32_t> token_type;
  std::vector<std::string> merges;  // empty for model "llama"
  std::optional<int32_t> bos_id, eos_id, unk_id;
  bool add_bos = false, add_eos = false;
  std::optional<bool> add_space_prefix, remove_extra_whitespaces;  // model "llama"

  GgufVocabulary view() const;  // lives as long as this
};

/// The tokenizer in a model's folder as a GGUF file carries it: `vocab_size` tokens, as many as the
/// model has rows, unused ones where the tokenizer has none. The way back through
/// Tokenizer::from_gguf() is tried on texts that tell tokenizers apart: kUnsupported where it gives
/// other ids, for then GGUF has no words for this tokenizer.
Result<GgufVocabularyTexts> make_gguf_vocabulary(const std::filesystem::path& folder,
                                                 int64_t vocab_size);

}  // namespace quern
