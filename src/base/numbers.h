#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace quern {

/// The integer that `text` is, the whole of it: decimal digits, a leading '-' only for signed
/// types, no '+', no spaces, no locale. Nothing if it is anything else or out of range.
template <typename Integer>
std::optional<Integer> parse_integer(std::string_view text) {
  Integer value{};
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc() || stop != end || text.empty()) return std::nullopt;
  return value;
}

/// The finite decimal number that `text` is ("0.5", "-1e-3"), the whole of it.
inline std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc() || stop != end || text.empty()) return std::nullopt;
  if (!(value - value == 0)) return std::nullopt;  // inf and nan
  return value;
}

/// A size in bytes: digits with an optional K, M, G or T (powers of 1024), "iB" or "B" after it;
/// "4k", "8GiB", "512MB" are all accepted.
std::optional<uint64_t> parse_size(std::string_view text);

}  // namespace quern
