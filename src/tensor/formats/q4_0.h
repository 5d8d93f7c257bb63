#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "tensor/half.h"

namespace quern {

/// 32 four-bit values that share one half-precision scale: value[i] = scale * (q[i] - 8).
/// 18 bytes for 32 values, 4.5 bits each. Byte j holds value j in its low and value j + 16 in its
/// high half. The scale is the value of largest magnitude divided by -8, so that it is exact.
struct Q4_0 {
  static constexpr std::string_view kName = "q4_0";
  static constexpr int kBlockValues = 32;
  static constexpr int kGgufType = 2;

  uint16_t scale;  // IEEE binary16
  uint8_t nibbles[kBlockValues / 2];

  static constexpr int kZero = 8;
  /// Quants 4 g .. 4 g + 3, a byte each.
  uint32_t group(int g) const {
    uint32_t four;
    std::memcpy(&four, nibbles + g % 4 * 4, 4);
    return (g < 4 ? four : four >> 4) & 0x0F0F0F0Fu;
  }
  int quant(int i) const { return i < 16 ? nibbles[i] & 0x0F : nibbles[i - 16] >> 4; }
  float decode(int i) const { return half_to_float(scale) * static_cast<float>(quant(i) - 8); }

  static Q4_0 encode(std::span<const float, kBlockValues> x) {
    float extreme = 0.0f;
    for (const float value : x) {
      if (std::abs(value) > std::abs(extreme)) extreme = value;
    }
    const float d = extreme / -8.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    Q4_0 block;
    block.scale = float_to_half(d);
    const auto quantise = [&](float value) {
      // NaN compares false everywhere: it becomes 0, never an undefined conversion.
      const float level = value * inverse + 8.5f;
      return level >= 0.0f ? static_cast<uint8_t>(std::min(15.0f, level)) : uint8_t{0};
    };
    for (int j = 0; j < kBlockValues / 2; ++j) {
      block.nibbles[j] = static_cast<uint8_t>(quantise(x[j]) | (quantise(x[j + 16]) << 4));
    }
    return block;
  }
};
static_assert(sizeof(Q4_0) == 18);

}  // namespace quern
