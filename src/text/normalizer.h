#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "text/pattern.h"
#include "text/sentencepiece_normalizer.h"
#include "text/unicode_normalization.h"

namespace quern {

// The normalizers of tokenizer.json, and SentencePiece's own. A Sequence of them is their list.

struct UnicodeNormalizer {
  NormalForm form;
};
struct LowercaseNormalizer {};
struct ReplaceNormalizer {
  Pattern pattern;
  std::string content;
};
struct PrependNormalizer {
  std::string text;
};
struct StripNormalizer {
  bool left, right;
};
/// Removes combining marks.
struct StripAccentsNormalizer {};
/// Writes each byte in the byte-level alphabet.
struct ByteLevelNormalizer {};
/// SentencePiece's "NMT" rules: control characters away, odd spaces to spaces.
struct NmtNormalizer {};

using Normalizer =
    std::variant<UnicodeNormalizer, LowercaseNormalizer, ReplaceNormalizer, PrependNormalizer,
                 StripNormalizer, StripAccentsNormalizer, ByteLevelNormalizer, NmtNormalizer,
                 std::shared_ptr<const SentencePieceNormalizer>>;

/// A text on its way through the normalizers.
struct NormalizedText {
  std::string text;
  /// Whether its first character came from the first character of the whole input: Metaspace may
  /// put its prefix only there.
  bool at_input_start = false;
};

/// Applies the normalizers in order. Fails with kBadInput where they would make the text larger
/// than `max_bytes` or a pattern takes too much work.
Result<void> apply_normalizers(const std::vector<Normalizer>& normalizers, size_t max_bytes,
                               PatternFuel& fuel, NormalizedText& text);
/// The error of a text that its normalizers make larger than `max_bytes`.
Error normalized_too_large(size_t max_bytes);

}  // namespace quern
