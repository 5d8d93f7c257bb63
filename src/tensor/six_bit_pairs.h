#pragma once

#include <cstdint>

namespace quern {

/// Eight six-bit scales and eight six-bit minima in twelve bytes, as Q4_K and Q5_K store them.
/// Byte j < 4 holds scale j, byte 4 + j minimum j, in their low six bits. Byte 8 + j holds the low
/// four bits of scale 4 + j in its low and of minimum 4 + j in its high half; their upper two bits
/// are the upper two bits of bytes j and 4 + j.
struct SixBitPairs {
  uint8_t bytes[12];

  uint8_t scale(int j) const {
    if (j < 4) return bytes[j] & 0x3F;
    return static_cast<uint8_t>((bytes[j + 4] & 0x0F) | ((bytes[j - 4] >> 6) << 4));
  }
  uint8_t minimum(int j) const {
    if (j < 4) return bytes[j + 4] & 0x3F;
    return static_cast<uint8_t>((bytes[j + 4] >> 4) | ((bytes[j] >> 6) << 4));
  }

  /// Pair j of an object that was all zero; both below 64.
  void set(int j, int scale, int minimum) {
    if (j < 4) {
      bytes[j] |= static_cast<uint8_t>(scale);
      bytes[j + 4] |= static_cast<uint8_t>(minimum);
    } else {
      bytes[j + 4] = static_cast<uint8_t>((scale & 0x0F) | ((minimum & 0x0F) << 4));
      bytes[j - 4] |= static_cast<uint8_t>((scale >> 4) << 6);
      bytes[j] |= static_cast<uint8_t>((minimum >> 4) << 6);
    }
  }
};
static_assert(sizeof(SixBitPairs) == 12);

}  // namespace quern
