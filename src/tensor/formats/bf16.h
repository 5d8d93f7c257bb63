#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/half.h"

namespace quern {

/// bfloat16, the upper half of a binary32: 16 bits per value.
struct BF16 {
  static constexpr std::string_view kName = "bf16";
  static constexpr std::string_view kAlias = "bfloat16";
  static constexpr std::string_view kSafetensorsName = "BF16";
  static constexpr int kBlockValues = 1;
  static constexpr int kGgufType = 30;

  uint16_t bits;

  constexpr float decode(int) const { return bf16_to_float(bits); }
  static constexpr BF16 encode(std::span<const float, 1> x) { return {float_to_bf16(x[0])}; }
};
static_assert(sizeof(BF16) == 2);

}  // namespace quern
