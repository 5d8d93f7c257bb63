#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "tensor/half.h"

namespace quern {

/// 32 signed bytes that share one half-precision scale: value[i] = scale * q[i].
/// 34 bytes for 32 values, 8.5 bits each. The scale is amax / 127 and the values are rounded
/// against it before it is stored as a half, as every other writer of this format does.
struct Q8_0 {
  static constexpr std::string_view kName = "q8_0";
  static constexpr int kBlockValues = 32;
  static constexpr int kGgufType = 8;

  uint16_t scale;  // IEEE binary16
  int8_t q[kBlockValues];

  static constexpr int kZero = 128;
  /// Quants 4 g .. 4 g + 3 as unsigned bytes, 128 for zero.
  uint32_t group(int g) const {
    uint32_t four;
    std::memcpy(&four, q + 4 * g, 4);
    return four ^ 0x80808080u;
  }
  float decode(int i) const { return half_to_float(scale) * static_cast<float>(q[i]); }

  static Q8_0 encode(std::span<const float, kBlockValues> x) {
    float amax = 0.0f;
    for (const float value : x) amax = std::max(amax, std::abs(value));
    const float d = amax / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    Q8_0 block;
    block.scale = float_to_half(d);
    const auto quantise = [](float level) {
      // NaN fails both comparisons: it becomes -127, never an undefined conversion.
      const float bounded = level > -127.0f ? std::min(level, 127.0f) : -127.0f;
      return static_cast<int8_t>(std::round(bounded));
    };
    for (int i = 0; i < kBlockValues; ++i) {
      block.q[i] = quantise(x[static_cast<size_t>(i)] * inverse);
    }
    return block;
  }
};
static_assert(sizeof(Q8_0) == 34);

}  // namespace quern
