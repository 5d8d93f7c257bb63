#pragma once

#include <algorithm>
#include <string_view>

#include "program/context.h"

namespace quern {

/// The rows whose logits are wanted: out[r] = in[wanted_rows[r]]. `in` [T, D]; `out` [R, D].
struct GatherRows {
  static constexpr std::string_view kName = "GatherRows";

  Slot out, in;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.in);
    visitor.output(step.out);
  }
};

inline Cost cost(const GatherRows& step, const CostContext& at) {
  return {.read_bytes = at.bytes(step.out), .write_bytes = at.bytes(step.out)};
}

inline void reference(const GatherRows& step, ReferenceContext& at) {
  const Matrix<float> in = at.rows(step.in), out = at.rows(step.out);
  for (int64_t r = 0; r < out.rows; ++r) {
    const float* row = in.row(at.wanted_rows()[static_cast<size_t>(r)]);
    std::copy(row, row + out.cols, out.row(r));
  }
}

}  // namespace quern
