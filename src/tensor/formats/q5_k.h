#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "tensor/half.h"
#include "tensor/six_bit_pairs.h"

namespace quern {

/// 256 five-bit values in eight sub-blocks of 32, each with a six-bit scale and minimum in steps of
/// two half-precision numbers of the block:
///   value[i] = (d * sub_scale[i / 32]) * q[i] - dmin * sub_minimum[i / 32]
/// 176 bytes for 256 values, 5.5 bits each. The low four bits lie as in Q4_K: of each 64 values
/// byte j, j < 32, holds value j in its low and value j + 32 in its high half. Bit b of high[j] is
/// the fifth bit of value 32 * b + j.
struct Q5_K {
  static constexpr std::string_view kName = "q5_k";
  static constexpr int kBlockValues = 256;
  static constexpr int kGgufType = 13;

  uint16_t d;         // IEEE binary16
  uint16_t dmin;      // IEEE binary16
  SixBitPairs pairs;  // of sub-block j: scale(j), minimum(j)
  uint8_t high[kBlockValues / 8];
  uint8_t nibbles[kBlockValues / 2];

  uint8_t sub_scale(int block32) const { return pairs.scale(block32); }
  uint8_t sub_minimum(int block32) const { return pairs.minimum(block32); }
  static constexpr int kZero = 0;
  /// Quants 4 g .. 4 g + 3, a byte each.
  uint32_t group(int g) const {
    uint32_t low, upper;
    std::memcpy(&low, nibbles + g / 16 * 32 + g % 8 * 4, 4);
    std::memcpy(&upper, high + g % 8 * 4, 4);
    return (low >> (g / 8 % 2 * 4) & 0x0F0F0F0Fu) | (upper >> g / 8 & 0x01010101u) << 4;
  }
  int quant(int i) const {
    const int low = (nibbles[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4)) & 0x0F;
    return low | (((high[i % 32] >> (i / 32)) & 1) << 4);
  }
  float decode(int i) const {
    const float scale = half_to_float(d) * static_cast<float>(sub_scale(i / 32));
    const float minimum = half_to_float(dmin) * static_cast<float>(sub_minimum(i / 32));
    return scale * static_cast<float>(quant(i)) - minimum;
  }

  /// Searches scales and minima of least weighted squared error; see tensor/grid_fit.h.
  static Q5_K encode(std::span<const float, kBlockValues> x);
};
static_assert(sizeof(Q5_K) == 176);

}  // namespace quern
