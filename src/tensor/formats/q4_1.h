#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "tensor/half.h"

namespace quern {

/// 32 four-bit values that share a half-precision scale and minimum: value[i] = scale * q[i] + min.
/// 20 bytes for 32 values, 5 bits each. Byte j holds value j in its low and value j + 16 in its
/// high half.
struct Q4_1 {
  static constexpr std::string_view kName = "q4_1";
  static constexpr int kBlockValues = 32;
  static constexpr int kGgufType = 3;

  uint16_t scale;    // IEEE binary16
  uint16_t minimum;  // IEEE binary16
  uint8_t nibbles[kBlockValues / 2];

  static constexpr int kZero = 0;
  /// Quants 4 g .. 4 g + 3, a byte each.
  uint32_t group(int g) const {
    uint32_t four;
    std::memcpy(&four, nibbles + g % 4 * 4, 4);
    return (g < 4 ? four : four >> 4) & 0x0F0F0F0Fu;
  }
  int quant(int i) const { return i < 16 ? nibbles[i] & 0x0F : nibbles[i - 16] >> 4; }
  float decode(int i) const {
    return half_to_float(scale) * static_cast<float>(quant(i)) + half_to_float(minimum);
  }

  static Q4_1 encode(std::span<const float, kBlockValues> x) {
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    const float d = (*high - *low) / 15.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    Q4_1 block;
    block.scale = float_to_half(d);
    block.minimum = float_to_half(*low);
    const auto quantise = [&](float value) {
      const float level = (value - *low) * inverse + 0.5f;
      return level >= 0.0f ? static_cast<uint8_t>(std::min(15.0f, level)) : uint8_t{0};
    };
    for (int j = 0; j < kBlockValues / 2; ++j) {
      block.nibbles[j] = static_cast<uint8_t>(quantise(x[j]) | (quantise(x[j + 16]) << 4));
    }
    return block;
  }
};
static_assert(sizeof(Q4_1) == 20);

}  // namespace quern
