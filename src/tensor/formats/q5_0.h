#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "tensor/half.h"

namespace quern {

/// 32 five-bit values that share one half-precision scale: value[i] = scale * (q[i] - 16).
/// 22 bytes for 32 values, 5.5 bits each. Byte j of `nibbles` holds the low four bits of value j in
/// its low and of value j + 16 in its high half; bit i of `high`, little-endian, is the fifth bit
/// of value i. The scale is the value of largest magnitude divided by -16, so that it is exact.
struct Q5_0 {
  static constexpr std::string_view kName = "q5_0";
  static constexpr int kBlockValues = 32;
  static constexpr int kGgufType = 6;

  uint16_t scale;   // IEEE binary16
  uint8_t high[4];  // bytes, not a word: the block is aligned to two
  uint8_t nibbles[kBlockValues / 2];

  static constexpr int kZero = 16;
  /// Quants 4 g .. 4 g + 3, a byte each.
  uint32_t group(int g) const {
    uint32_t low;
    std::memcpy(&low, nibbles + g % 4 * 4, 4);
    const uint32_t bits = static_cast<uint32_t>(high[g / 2]) >> (g % 2 * 4) & 0x0F;
    const uint32_t spread = bits * 0x00204081u & 0x01010101u;  // bit j to byte j
    return ((g < 4 ? low : low >> 4) & 0x0F0F0F0Fu) | spread << 4;
  }
  int quant(int i) const {
    const int low = i < 16 ? nibbles[i] & 0x0F : nibbles[i - 16] >> 4;
    return low | (((high[i / 8] >> (i % 8)) & 1) << 4);
  }
  float decode(int i) const { return half_to_float(scale) * static_cast<float>(quant(i) - 16); }

  static Q5_0 encode(std::span<const float, kBlockValues> x) {
    float extreme = 0.0f;
    for (const float value : x) {
      if (std::abs(value) > std::abs(extreme)) extreme = value;
    }
    const float d = extreme / -16.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    Q5_0 block{};
    block.scale = float_to_half(d);
    for (int i = 0; i < kBlockValues; ++i) {
      // NaN compares false everywhere: it becomes 0, never an undefined conversion.
      const float level = x[static_cast<size_t>(i)] * inverse + 16.5f;
      const int q = level >= 0.0f ? static_cast<int>(std::min(31.0f, level)) : 0;
      block.nibbles[i % 16] |= static_cast<uint8_t>((q & 0x0F) << (i / 16 * 4));
      block.high[i / 8] |= static_cast<uint8_t>((q >> 4) << (i % 8));
    }
    return block;
  }
};
static_assert(sizeof(Q5_0) == 22);

}  // namespace quern
