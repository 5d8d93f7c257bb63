#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/byte_range.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/prefix_table.h"

namespace quern {

/// A token that is taken out of the text as a whole before the model sees it.
struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool single_word = false;  // only between characters that are no part of a word
  bool lstrip = false;       // takes the spaces on its left
  bool rstrip = false;       // and on its right
  bool normalized = false;   // is looked for in the normalised text, itself normalised
  bool special = false;      // left out when decoding, plain text where asked for
};

/// The added tokens of a tokenizer, in the order of their ids.
class AddedTokens {
 public:
  AddedTokens() = default;
  /// Normalises the contents that ask for it. Fails with kBadFile where two tokens would be looked
  /// for by the same text, or one by an empty one.
  static Result<AddedTokens> build(std::vector<AddedToken> tokens,
                                   const std::vector<Normalizer>& normalizers,
                                   std::string_view what);

  /// Cuts every piece that has no id at the tokens in it: those that are looked for in the text as
  /// it was written, or those looked for in the normalised text. Where `parse_special` is false,
  /// special tokens are passed over. Fails with kBadInput where that takes too much work.
  /// kSpecial looks for every special token in the text as it was written, and not where it touches
  /// one of the ascending `plain` parts of the buffer.
  enum class Text { kWritten, kNormalized, kSpecial };
  Result<void> cut(Text kind, bool parse_special, TextPieces& pieces,
                   std::span<const ByteRange> plain = {}) const;
  /// Whether some special token is spelled so that it touches one of the `plain` parts of `text`.
  bool spells_special(std::string_view text, std::span<const ByteRange> plain) const;

  /// The added token of an id, or nullptr.
  const AddedToken* find(int32_t id) const;
  /// How the token is written when it is decoded: its content after the normalizers.
  std::string_view decoded(const AddedToken& token) const;
  const std::vector<AddedToken>& all() const { return tokens_; }
  bool has(Text kind) const { return !table(kind).empty(); }

 private:
  const PrefixTable& table(Text kind) const {
    return kind == Text::kWritten ? written_ : kind == Text::kNormalized ? normalized_ : special_;
  }

  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<int32_t, std::string> normalized_contents_;  // where it differs
  PrefixTable written_, normalized_;
  PrefixTable special_;  // all special tokens by their contents
};

}  // namespace quern
