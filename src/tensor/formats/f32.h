#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace quern {

/// IEEE binary32: 32 bits per value.
struct F32 {
  static constexpr std::string_view kName = "f32";
  static constexpr std::string_view kAlias = "float32";
  static constexpr std::string_view kSafetensorsName = "F32";
  static constexpr int kBlockValues = 1;
  static constexpr int kGgufType = 0;

  float value;

  constexpr float decode(int) const { return value; }
  static constexpr F32 encode(std::span<const float, 1> x) { return {x[0]}; }
};
static_assert(sizeof(F32) == 4);

}  // namespace quern
