#pragma once

#include <cstddef>
#include <tuple>
#include <utility>

#include "tensor/formats/bf16.h"
#include "tensor/formats/f16.h"
#include "tensor/formats/f32.h"
#include "tensor/formats/fp8_e4m3.h"
#include "tensor/formats/q4_0.h"
#include "tensor/formats/q4_1.h"
#include "tensor/formats/q4_k.h"
#include "tensor/formats/q5_0.h"
#include "tensor/formats/q5_k.h"
#include "tensor/formats/q6_k.h"
#include "tensor/formats/q8_0.h"
#include "tensor/formats/w8a8.h"

namespace quern {

/// Every way quern can store a number. To add one: write formats/<name>.h and name it here.
using Formats = std::tuple<  //
    F32,                     // bits per value: 32
    F16,                     // 16
    BF16,                    // 16
    FP8_E4M3,                // 8
    Q8_0,                    // 8.5
    Q4_0,                    // 4.5
    Q4_1,                    // 5
    Q5_0,                    // 5.5
    Q4_K,                    // 4.5
    Q5_K,                    // 5.5
    Q6_K,                    // 6.5625
    W8A8>;                   // 8, and 32 a row

inline constexpr size_t kNumFormats = std::tuple_size_v<Formats>;

/// Whether a row of the format begins with a scale of all its values.
template <typename Format>
inline constexpr bool kScalesRows = requires { Format::kRowScaleBytes; };
/// Whether a number of the format stands alone, nothing shared with its neighbours.
template <typename Format>
inline constexpr bool kIsFloat = Format::kBlockValues == 1 && !kScalesRows<Format>;

/// Calls `visitor.template operator()<Format>()` for the format at `index` and returns its result.
template <typename Visitor>
decltype(auto) visit_format(size_t index, Visitor&& visitor) {
  using Return = decltype(visitor.template operator()<F32>());
  using Call = Return (*)(Visitor&);
  return [&]<size_t... I>(std::index_sequence<I...>) -> Return {
    static constexpr Call kCalls[] = {[](Visitor& v) -> Return {
      return v.template operator()<std::tuple_element_t<I, Formats>>();
    }...};
    return kCalls[index](visitor);
  }(std::make_index_sequence<kNumFormats>());
}

}  // namespace quern
