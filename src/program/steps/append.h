#pragma once

#include <string_view>

#include "program/context.h"

namespace quern {

/// Puts the keys and values of each token into the cache of `layer` (an index into
/// Program::kv_layers), at the token's position, rounded to the cache's type. `k`, `v` [T, Hk *
/// Dh].
struct Append {
  static constexpr std::string_view kName = "Append";

  Slot k, v;
  int32_t layer = 0;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.k);
    visitor.input(step.v);
  }
};

inline Cost cost(const Append& step, const CostContext& at) {
  const int64_t values = at.values(step.k) + at.values(step.v);
  return {.read_bytes = 4 * values, .write_bytes = at.kv_bytes(values)};
}

inline void reference(const Append& step, ReferenceContext& at) {
  const Matrix<float> k = at.rows(step.k), v = at.rows(step.v);
  for (int64_t t = 0; t < k.rows; ++t) {
    at.append(step.layer, t, {k.row(t), static_cast<size_t>(k.cols)},
              {v.row(t), static_cast<size_t>(v.cols)});
  }
}

}  // namespace quern
