#pragma once

#include <cmath>
#include <string_view>

#include "program/context.h"

namespace quern {

/// The logits of the wanted rows: out[r, v] = in[r] . weight[v], capped as
/// softcap * tanh(out / softcap) where softcap > 0. `in` [R, D]; `weight` [V, D]; `out` [R, V].
struct Head {
  static constexpr std::string_view kName = "Head";

  Slot out, in;
  WeightId weight;
  float softcap = 0.0f;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.in);
    visitor.weight(step.weight);
    visitor.output(step.out);
  }
};

inline Cost cost(const Head& step, const CostContext& at) {
  return {.flops = 2 * at.values(step.in) * step.out.width,
          .weight_bytes = at.bytes(step.weight),
          .read_bytes = at.bytes(step.in),
          .write_bytes = at.bytes(step.out)};
}

inline void reference(const Head& step, ReferenceContext& at) {
  const Matrix<float> in = at.rows(step.in), out = at.rows(step.out);
  const Matrix<const float> weight = at.matrix(step.weight);
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t v = 0; v < out.cols; ++v) {
      float sum = 0.0f;
      for (int64_t d = 0; d < in.cols; ++d) sum += in.row(r)[d] * weight.row(v)[d];
      out.row(r)[v] = step.softcap > 0 ? step.softcap * std::tanh(sum / step.softcap) : sum;
    }
  }
}

}  // namespace quern
