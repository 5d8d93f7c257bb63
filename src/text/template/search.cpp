#include "text/template/search.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace quern::jinja {

size_t find_first(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  // glibc's memmem is the two-way algorithm for all but short needles.
  const void* found = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t find_last(std::string_view text, std::string_view part) {
  if (part.size() > text.size()) return std::string_view::npos;
  if (part.empty()) return text.size();
  // Knuth, Morris and Pratt, backwards. border[i]: how much of the part's end is matched again when
  // the character before its last i does not match.
  const auto from_end = [](std::string_view whole, size_t i) {
    return whole[whole.size() - 1 - i];
  };
  std::vector<uint32_t> border(part.size() + 1, 0);
  for (size_t i = 1, matched = 0; i < part.size(); ++i) {
    while (matched > 0 && from_end(part, i) != from_end(part, matched)) matched = border[matched];
    if (from_end(part, i) == from_end(part, matched)) ++matched;
    border[i + 1] = static_cast<uint32_t>(matched);
  }
  for (size_t i = 0, matched = 0; i < text.size(); ++i) {
    while (matched > 0 && from_end(text, i) != from_end(part, matched)) matched = border[matched];
    if (from_end(text, i) == from_end(part, matched)) ++matched;
    if (matched == part.size()) return text.size() - 1 - i;
  }
  return std::string_view::npos;
}

}  // namespace quern::jinja
