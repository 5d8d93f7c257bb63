#include "base/numbers.h"

#include "base/checked.h"

namespace quern {

std::optional<uint64_t> parse_size(std::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  const std::optional<uint64_t> count = parse_integer<uint64_t>(text.substr(0, digits));
  if (!count) return std::nullopt;

  std::string_view unit = text.substr(digits);
  uint64_t scale = 1;
  constexpr std::string_view kUnits = "KMGT";
  if (!unit.empty()) {
    const char upper = static_cast<char>(unit[0] & ~0x20);
    if (const size_t power = kUnits.find(upper); power != std::string_view::npos) {
      scale = uint64_t{1} << (10 * (power + 1));
      unit.remove_prefix(1);
      if (unit.starts_with('i')) unit.remove_prefix(1);
    }
  }
  if (!unit.empty() && unit != "B" && unit != "b") return std::nullopt;
  return (CheckedU64(*count) * scale).get();
}

}  // namespace quern
