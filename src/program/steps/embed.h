#pragma once

#include <algorithm>
#include <string_view>

#include "program/context.h"

namespace quern {

/// The row of the table that each token id names: out[t] = table[token_ids[t]].
/// `out` [T, D]; `table` [V, D].
struct Embed {
  static constexpr std::string_view kName = "Embed";

  Slot out;
  WeightId table;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.weight(step.table);
    visitor.output(step.out);
  }
};

inline Cost cost(const Embed& step, const CostContext& at) {
  // The rows that are read, not the whole table.
  return {.weight_bytes = at.row_bytes(step.table) * at.rows(step.out),
          .write_bytes = at.bytes(step.out)};
}

inline void reference(const Embed& step, ReferenceContext& at) {
  const Matrix<float> out = at.rows(step.out);
  const Matrix<const float> table = at.matrix(step.table);
  for (int64_t t = 0; t < out.rows; ++t) {
    const float* row = table.row(at.token_ids()[static_cast<size_t>(t)]);
    std::copy(row, row + out.cols, out.row(t));
  }
}

}  // namespace quern
