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

/// How many steps of backtracking and of looking far ahead all the expensive searches for one text
/// may take, so that a pattern that works for ages ends in an error, the same on every machine.
class PatternFuel {
 public:
  explicit PatternFuel(size_t text_bytes) { add_text(text_bytes); }
  void add_text(size_t bytes) { left_ += 64 * uint64_t{bytes}; }
  /// False where fewer steps are left.
  bool take(uint64_t steps) {
    if (steps > left_) return false;
    left_ -= steps;
    return true;
  }

 private:
  uint64_t left_ = 200'000'000;
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
  Result<void> find_all(std::string_view text, PatternFuel& fuel,
                        std::vector<TextSpan>& matches) const;

 private:
  struct Compiled;
  class Search;
  Pattern() = default;

  std::shared_ptr<const Compiled> compiled_;  // absent for a literal
  std::string text_;                          // the literal or the expression as it was written
};

}  // namespace quern
