#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "text/pattern.h"

namespace quern {

/// What becomes of the matches when a text is split on them.
enum class SplitBehavior {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

// The pre-tokenizers of tokenizer.json. A Sequence of them is their list.

/// Splits as GPT-2 does (`uses_pattern`) and writes bytes in the byte-level alphabet, unless the
/// model does that itself (`writes_bytes` false).
struct ByteLevelPreTokenizer {
  bool add_prefix_space;
  bool uses_pattern;
  bool writes_bytes;
  Pattern pattern;
};
struct SplitPreTokenizer {
  Pattern pattern;
  SplitBehavior behavior;
  bool invert;
};
struct DigitsPreTokenizer {
  bool individual_digits;
};
struct MetaspacePreTokenizer {
  enum class Prepend { kAlways, kFirst, kNever };
  char32_t replacement;
  Prepend prepend;
  bool split;
};
/// Words and runs of anything else that is no space.
struct WhitespacePreTokenizer {};
struct WhitespaceSplitPreTokenizer {};
struct PunctuationPreTokenizer {
  SplitBehavior behavior;
};
struct CharDelimiterPreTokenizer {
  char32_t delimiter;
};
struct FixedLengthPreTokenizer {
  uint64_t length;  // in code points, not 0
};

using PreTokenizer =
    std::variant<ByteLevelPreTokenizer, SplitPreTokenizer, DigitsPreTokenizer,
                 MetaspacePreTokenizer, WhitespacePreTokenizer, WhitespaceSplitPreTokenizer,
                 PunctuationPreTokenizer, CharDelimiterPreTokenizer, FixedLengthPreTokenizer>;

/// The text cut into pieces: views into one growing buffer, so that cutting copies nothing.
struct TextPieces {
  struct Piece {
    size_t begin, size;
    int32_t id;           // an added token, taken out of the text; -1: text still to be encoded
    bool at_input_start;  // see NormalizedText
  };
  std::string buffer;
  std::vector<Piece> pieces;

  std::string_view text(const Piece& piece) const {
    return std::string_view(buffer).substr(piece.begin, piece.size);
  }
};

/// The pattern of GPT-2's own tokenizer (Radford et al. 2019).
extern const std::string_view kGpt2Pattern;

/// Applies the pre-tokenizers in order to the pieces without an id. Fails with kBadInput where the
/// buffer would pass `max_bytes` or a pattern takes too much work.
Result<void> apply_pre_tokenizers(const std::vector<PreTokenizer>& pre_tokenizers, size_t max_bytes,
                                  PatternFuel& fuel, TextPieces& pieces);

}  // namespace quern
