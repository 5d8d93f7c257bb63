#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quern {

/// Bytes [begin, end) of a text.
struct TextSpan {
  size_t begin;
  size_t end;

  friend bool operator==(const TextSpan&, const TextSpan&) = default;
};

/// A search pattern of a tokenizer: a literal text or a regular expression. Immutable, shared
/// between threads.
class Pattern {
 public:
  /// A regular expression in Oniguruma's syntax. kUnsupported for what PCRE2 cannot say, kBadFile
  /// for what is no expression.
  static Result<Pattern> expression(std::string_view expression, std::string_view what);
  /// Finds exactly this text, which is not empty.
  static Pattern literal(std::string_view text);

  /// Adds to `matches` every match in `text` (valid UTF-8), left to right, none overlapping. An
  /// empty match directly behind another match does not count. Fails with kBadInput where the
  /// pattern takes too much work on this text.
  Result<void> find_all(std::string_view text, std::vector<TextSpan>& matches) const;

 private:
  struct Compiled;
  Pattern() = default;

  std::shared_ptr<const Compiled> compiled_;  // absent for a literal
  std::string text_;                          // the literal or the expression as it was written
};

}  // namespace quern
