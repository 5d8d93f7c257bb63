#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "tensor/half.h"

namespace quern {

/// 256 six-bit values in sixteen sub-blocks of 16, each with a signed eight-bit scale in steps of
/// one half-precision number of the block:
///   value[i] = (d * sub_scale[i / 16]) * (q[i] - 32)
/// 210 bytes for 256 values, 6.5625 bits each. Of each 128 values, 64 bytes of `low` hold the low
/// four bits: byte j, j < 64, of value j in its low and of value j + 64 in its high half; and 32
/// bytes of `high` the upper two: byte j, j < 32, of values j, j + 32, j + 64, j + 96 from its
/// lowest bits up.
struct Q6_K {
  static constexpr std::string_view kName = "q6_k";
  static constexpr int kBlockValues = 256;
  static constexpr int kGgufType = 14;

  uint8_t low[kBlockValues / 2];
  uint8_t high[kBlockValues / 4];
  int8_t scales[kBlockValues / 16];
  uint16_t d;  // IEEE binary16

  int8_t sub_scale(int block16) const { return scales[block16]; }
  static constexpr int kZero = 32;
  /// Quants 4 g .. 4 g + 3, a byte each.
  uint32_t group(int g) const {
    uint32_t nibbles, upper;
    std::memcpy(&nibbles, low + g / 32 * 64 + g % 16 * 4, 4);
    std::memcpy(&upper, high + g / 32 * 32 + g % 8 * 4, 4);
    return (nibbles >> (g / 16 % 2 * 4) & 0x0F0F0F0Fu) | (upper >> (g / 8 % 4 * 2) & 0x03030303u)
                                                             << 4;
  }
  int quant(int i) const {
    const int half = i / 128, at = i % 128;
    const int nibble = (low[half * 64 + at % 64] >> (at / 64 * 4)) & 0x0F;
    return nibble | (((high[half * 32 + at % 32] >> (at / 32 * 2)) & 3) << 4);
  }
  float decode(int i) const {
    const float scale = half_to_float(d) * static_cast<float>(sub_scale(i / 16));
    return scale * static_cast<float>(quant(i) - 32);
  }

  /// Searches scales of least weighted squared error; see tensor/grid_fit.h.
  static Q6_K encode(std::span<const float, kBlockValues> x);
};
static_assert(sizeof(Q6_K) == 210);

}  // namespace quern
