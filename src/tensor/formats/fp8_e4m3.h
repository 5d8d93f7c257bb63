#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string_view>

namespace quern {

/// One sign bit, four of exponent (bias 7), three of mantissa: 8 bits per value. There is no
/// infinity: the largest exponent holds numbers up to 448, and only its last code is NaN.
/// Source: Micikevicius et al. 2022, arXiv:2209.05433, E4M3.
struct FP8_E4M3 {
  static constexpr std::string_view kName = "fp8_e4m3";
  static constexpr std::string_view kAlias = "fp8";
  static constexpr std::string_view kSafetensorsName = "F8_E4M3";
  static constexpr int kBlockValues = 1;
  static constexpr int kGgufType = -1;  // GGUF has no such type

  uint8_t bits;

  constexpr float decode(int) const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24;
    const uint32_t magnitude = bits & 0x7Fu;
    if (magnitude == 0x7F) return std::bit_cast<float>(sign | 0x7FF00000u);
    if (magnitude < 8) {  // subnormal: a multiple of 2^-9
      const float value = static_cast<float>(magnitude) * 0x1p-9f;
      return sign != 0 ? -value : value;
    }
    return std::bit_cast<float>(sign | ((magnitude << 20) + (120u << 23)));
  }

  /// To nearest, ties to even; what is too large becomes +-448, NaN stays NaN.
  static constexpr FP8_E4M3 encode(std::span<const float, 1> x) {
    const uint32_t word = std::bit_cast<uint32_t>(x[0]);
    const uint32_t sign = word >> 24 & 0x80u;
    const uint32_t magnitude = word & 0x7FFFFFFFu;
    uint32_t code = 0;
    if (magnitude > 0x7F800000u) {
      code = 0x7F;
    } else if (magnitude >= 121u << 23) {
      const uint32_t rounded = magnitude + 0x7FFFFu + (magnitude >> 20 & 1u);
      code = (rounded >> 20) - (120u << 3);
      if (code > 0x7E) code = 0x7E;
    } else {
      // Added to 2^14, whose last place is 2^-9, the value is rounded to a multiple of that.
      const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
      code = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0x1p14f);
    }
    return {static_cast<uint8_t>(sign | code)};
  }
};
static_assert(sizeof(FP8_E4M3) == 1);

}  // namespace quern
