#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// Finds the first of some stop strings in a text that comes in pieces, and gives on only what
/// cannot belong to one any more. The outcome does not depend on how the text is cut.
///
/// First is what ends first; of two that end together, the longer. Each byte costs a few
/// comparisons per stop string whatever the strings are (Knuth, Morris and Pratt 1977).
class StopMatcher {
 public:
  /// Empty strings are left out: they would stop everything.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Text that is certain now, in order; nothing once a stop string has come. Valid until the next
  /// call.
  std::string_view push(std::string_view piece);
  /// The same for a piece in which nothing stops; all of it is certain at once.
  std::string_view pass(std::string_view piece);
  /// What was held back, at the end of the text.
  std::string_view finish();

  /// The stop string that came, if one has.
  std::optional<std::string_view> stopped_by() const;

 private:
  struct Pattern {
    std::string text;
    std::vector<size_t> fallback;  // after i + 1 bytes: the longest proper prefix they end with
    size_t matched = 0;            // bytes of it that the text ends with
    void advance(char byte);
  };

  std::vector<Pattern> patterns_;
  std::optional<size_t> stopped_by_;
  std::string held_;  // the end of the text that a stop string may begin in
  std::string out_;
};

}  // namespace quern
