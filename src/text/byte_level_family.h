#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/merge_table.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/vocabulary_json.h"

namespace quern {

/// How a family of byte-level tokenizers cuts a text before its merges, where the file at hand
/// (vocab.json, GGUF) only names the family. To add one: one line in the table.
struct ByteLevelFamily {
  std::string_view name;
  std::string_view pattern;    // the cuts; empty: those of GPT-2
  bool composes;               // the text in NFC first
  bool individual_digits;      // each digit by itself before the pattern
  bool ignore_merges;          // a piece that is a token is that token
  bool adds_bos;               // unless the file says otherwise
  std::string_view pre_names;  // values of tokenizer.ggml.pre, each between two spaces
  std::string_view classes;    // values of tokenizer_class, likewise
  uint64_t first_merges;       // hash_of_first_merges(), 0: not recognised by them
};

std::span<const ByteLevelFamily> byte_level_families();
/// The family that tokenizer.ggml.pre names, or nullptr.
const ByteLevelFamily* family_of_pre(std::string_view pre);
/// The family that a tokenizer_class belongs to, or nullptr.
const ByteLevelFamily* family_of_class(std::string_view tokenizer_class);
/// The family whose vocabulary this is, told by its first merges, or nullptr.
const ByteLevelFamily* family_of_merges(std::span<const MergeTexts> merges);
const ByteLevelFamily& gpt2_family();
/// The names that family_of_pre() knows, for messages.
std::string known_pre_names();

/// What the family does to a text before the merges.
std::vector<Normalizer> family_normalizers(const ByteLevelFamily& family);
std::vector<PreTokenizer> family_pre_tokenizers(const ByteLevelFamily& family,
                                                bool add_prefix_space);

}  // namespace quern
