#pragma once

#include <string_view>
#include <vector>

#include "program/context.h"
#include "program/steps/activate.h"

namespace quern {

/// Matrix products of one input with one or several weights stacked by rows:
///   y[t, n] = sum over k of in[t, k] * weight[n, k] (+ bias[n])
/// and then, in the same pass over y, at most one of
///   activation  out = act(y), or gated: out[t, f] = act(y[t, f]) * y[t, F + f]
///   residual    out = add + y
/// `in` [T, K]; each weight [N_i, K], the N_i stacked; `out` [T, sum of N_i], half of it if gated;
/// `add` has the shape of `out` and may be `out`. Activation, gate and residual come from the fuse
/// pass; an architecture's Program has plain products.
struct Linear {
  static constexpr std::string_view kName = "Linear";
  enum class Epilogue { kNone, kActivate, kActivateGated, kAdd };

  Slot out, in;
  std::vector<WeightId> weights;
  std::vector<WeightId> biases;  // one per weight, kNoWeight where there is none
  Epilogue epilogue = Epilogue::kNone;
  Activation activation = Activation::kSilu;
  Slot add;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.in);
    if (step.epilogue == Epilogue::kAdd) visitor.input(step.add);
    for (auto& weight : step.weights) visitor.weight(weight);
    for (auto& bias : step.biases) visitor.weight(bias);
    visitor.output(step.out);
  }
};

constexpr std::string_view epilogue_name(Linear::Epilogue epilogue) {
  switch (epilogue) {
    case Linear::Epilogue::kNone:
      return "none";
    case Linear::Epilogue::kActivate:
      return "activate";
    case Linear::Epilogue::kActivateGated:
      return "activate_gated";
    case Linear::Epilogue::kAdd:
      return "add";
  }
  return "?";
}

Cost cost(const Linear& step, const CostContext& at);
void reference(const Linear& step, ReferenceContext& at);

}  // namespace quern
