#pragma once

#include <string_view>

#include "program/context.h"

namespace quern {

/// x *= factor, in place. `x` [T, D].
struct Scale {
  static constexpr std::string_view kName = "Scale";

  Slot x;
  float factor = 1.0f;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.x);
    visitor.output(step.x);
  }
};

inline Cost cost(const Scale& step, const CostContext& at) {
  return {
      .flops = at.values(step.x), .read_bytes = at.bytes(step.x), .write_bytes = at.bytes(step.x)};
}

inline void reference(const Scale& step, ReferenceContext& at) {
  const Matrix<float> x = at.rows(step.x);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t d = 0; d < x.cols; ++d) x.row(t)[d] *= step.factor;
  }
}

}  // namespace quern
