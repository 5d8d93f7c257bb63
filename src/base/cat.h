#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

namespace quern {

namespace internal {

inline void append_piece(std::string& out, std::string_view piece) { out += piece; }
inline void append_piece(std::string& out, const char* piece) { out += piece; }
inline void append_piece(std::string& out, char piece) { out += piece; }
inline void append_piece(std::string& out, bool piece) { out += piece ? "true" : "false"; }

template <typename Number>
  requires(std::integral<Number> || std::floating_point<Number>)
void append_piece(std::string& out, Number number) {
  std::array<char, 64> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

}  // namespace internal

/// The pieces (text, numbers, bools) one after the other. Numbers are written without a locale,
/// floating point ones with the fewest digits that read back to the same bits.
template <typename... Pieces>
std::string cat(const Pieces&... pieces) {
  std::string out;
  (internal::append_piece(out, pieces), ...);
  return out;
}

}  // namespace quern
