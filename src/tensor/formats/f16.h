#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/half.h"

namespace quern {

/// IEEE binary16: 16 bits per value.
struct F16 {
  static constexpr std::string_view kName = "f16";
  static constexpr std::string_view kAlias = "float16";
  static constexpr std::string_view kSafetensorsName = "F16";
  static constexpr int kBlockValues = 1;
  static constexpr int kGgufType = 1;

  uint16_t bits;

  constexpr float decode(int) const { return half_to_float(bits); }
  static constexpr F16 encode(std::span<const float, 1> x) { return {float_to_half(x[0])}; }
};
static_assert(sizeof(F16) == 2);

}  // namespace quern
