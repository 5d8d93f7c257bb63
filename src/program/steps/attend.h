#pragma once

#include <string_view>

#include "program/context.h"

namespace quern {

/// Causal attention of each token over the cache of its own sequence, its own token included:
///   score[p] = scale * (q . key[p]), capped: softcap * tanh(score / softcap) where softcap > 0
///   out = sum over p of softmax(score)[p] * value[p]
/// for positions p in (position - window, position], all of them where window is 0. Query head h
/// reads key/value head h / (H / Hk). `q`, `out` [T, H * Dh].
/// Source: Vaswani et al. 2017, arXiv:1706.03762; Ainslie et al. 2023, arXiv:2305.13245.
struct Attend {
  static constexpr std::string_view kName = "Attend";

  Slot out, q;
  int32_t layer = 0;
  float scale = 1.0f;
  int64_t window = 0;
  float softcap = 0.0f;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.q);
    visitor.output(step.out);
  }
};

Cost cost(const Attend& step, const CostContext& at);
void reference(const Attend& step, ReferenceContext& at);

}  // namespace quern
