#pragma once

#include <string_view>

#include "program/context.h"

namespace quern {

/// Adds the learned embedding of each token's position: x[t] += table[positions[t]].
/// `x` [T, D]; `table` [context length, D].
struct AddPositions {
  static constexpr std::string_view kName = "AddPositions";

  Slot x;
  WeightId table;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.x);
    visitor.weight(step.table);
    visitor.output(step.x);
  }
};

inline Cost cost(const AddPositions& step, const CostContext& at) {
  return {.flops = at.values(step.x),
          .weight_bytes = at.row_bytes(step.table) * at.rows(step.x),
          .read_bytes = at.bytes(step.x),
          .write_bytes = at.bytes(step.x)};
}

inline void reference(const AddPositions& step, ReferenceContext& at) {
  const Matrix<float> x = at.rows(step.x);
  const Matrix<const float> table = at.matrix(step.table);
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* position = table.row(at.positions()[static_cast<size_t>(t)]);
    for (int64_t d = 0; d < x.cols; ++d) x.row(t)[d] += position[d];
  }
}

}  // namespace quern
