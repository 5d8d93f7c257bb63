#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace quern {

/// Signed bytes with one scale a row: value[k] = scale * q[k], scale = amax / 127, q rounded to
/// nearest even. The one format that says how it is multiplied: activations are rounded by whole
/// rows too, so that a product is one sum of integers times the two scales.
///
/// A stored row is the scale as a float, then the bytes. Files keep the two apart (compressed-
/// tensors: X.weight and X.weight_scale), and their scales may be of any size.
struct W8A8 {
  static constexpr std::string_view kName = "w8a8";
  static constexpr int kBlockValues = 1;
  static constexpr int kGgufType = -1;
  static constexpr int kRowScaleBytes = 4;
  /// So many products of bytes are summed in 32 bits, -128 included.
  static constexpr int64_t kMaxRowValues = 131072;

  int8_t q;

  static float scale_of(std::span<const float> x) {
    float amax = 0.0f;
    for (const float value : x) amax = std::max(amax, std::abs(value));
    return amax / 127.0f;
  }
  static void quantise(std::span<const float> x, float scale, std::byte* out) {
    const float inverse = scale > 1e-38f ? 1.0f / scale : 0.0f;  // below it would overflow
    for (const float value : x) {
      const float level = value * inverse;
      // NaN fails both comparisons: it becomes -127, never an undefined conversion.
      const float bounded = level > -127.0f ? std::min(level, 127.0f) : -127.0f;
      *out++ = static_cast<std::byte>(static_cast<int8_t>(std::nearbyint(bounded)));
    }
  }

  static void decode_row(const std::byte* row, std::span<float> out) {
    float scale;
    std::memcpy(&scale, row, sizeof(scale));
    for (float& value : out) {
      value = scale * static_cast<float>(static_cast<int8_t>(row[kRowScaleBytes]));
      ++row;
    }
  }
  static void encode_row(std::span<const float> x, std::byte* row) {
    const float scale = scale_of(x);
    std::memcpy(row, &scale, sizeof(scale));
    quantise(x, scale, row + kRowScaleBytes);
  }
};
static_assert(sizeof(W8A8) == 1);

}  // namespace quern
