#pragma once

#include <string_view>

#include "program/context.h"

namespace quern {

/// out = a + b, all [T, D]; `out` may be `a` or `b`.
struct Add {
  static constexpr std::string_view kName = "Add";

  Slot out, a, b;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.a);
    visitor.input(step.b);
    visitor.output(step.out);
  }
};

inline Cost cost(const Add& step, const CostContext& at) {
  return {.flops = at.values(step.out),
          .read_bytes = at.bytes(step.a) + at.bytes(step.b),
          .write_bytes = at.bytes(step.out)};
}

inline void reference(const Add& step, ReferenceContext& at) {
  const Matrix<float> out = at.rows(step.out), a = at.rows(step.a), b = at.rows(step.b);
  for (int64_t t = 0; t < out.rows; ++t) {
    for (int64_t d = 0; d < out.cols; ++d) out.row(t)[d] = a.row(t)[d] + b.row(t)[d];
  }
}

}  // namespace quern
