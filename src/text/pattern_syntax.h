#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// Rewrites a pattern of tokenizer.json (Oniguruma, Ruby syntax, Unicode 16) into one that PCRE2
/// 10.42 (Unicode 14) reads the same way: \s, \w and \h mean other sets there, nested classes do
/// not exist, (?m) means something else. What cannot be said in PCRE2 is refused by name.
Result<std::string> to_pcre2_syntax(std::string_view expression, std::string_view what);

}  // namespace quern
