#pragma once

#include <cmath>
#include <string_view>

#include "program/context.h"

namespace quern {

/// The non-linear functions of feed-forward layers, under their names in config.json.
enum class Activation {
  kGelu,      // x * Phi(x), by erf                       (hidden_act "gelu")
  kGeluTanh,  // its tanh approximation                   ("gelu_new", "gelu_pytorch_tanh")
  kSilu,      // x / (1 + exp(-x))                        ("silu")
};

constexpr std::string_view activation_name(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kSilu:
      return "silu";
  }
  return "?";
}

/// Source of the tanh form: Hendrycks and Gimpel 2016, arXiv:1606.08415.
inline float activate(Activation activation, float x) noexcept {
  switch (activation) {
    case Activation::kGelu:
      return 0.5f * x * (1.0f + std::erf(x * 0.70710678118654752f));
    case Activation::kGeluTanh:
      return 0.5f * x * (1.0f + std::tanh(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case Activation::kSilu:
      return x / (1.0f + std::exp(-x));
  }
  return x;
}

/// Applies a non-linear function to each value, gated or not:
///   plain  out[t, f] = act(in[t, f])                  in, out [T, F]
///   gated  out[t, f] = act(in[t, f]) * in[t, F + f]   in [T, 2 F], out [T, F]
struct Activate {
  static constexpr std::string_view kName = "Activate";

  Slot out, in;
  Activation activation = Activation::kSilu;
  enum class Form { kPlain, kGated } form = Form::kPlain;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.in);
    visitor.output(step.out);
  }
};

inline Cost cost(const Activate& step, const CostContext& at) {
  return {.flops = 10 * at.values(step.out),
          .read_bytes = at.bytes(step.in),
          .write_bytes = at.bytes(step.out)};
}

inline void reference(const Activate& step, ReferenceContext& at) {
  const Matrix<float> in = at.rows(step.in), out = at.rows(step.out);
  for (int64_t t = 0; t < out.rows; ++t) {
    for (int64_t f = 0; f < out.cols; ++f) {
      const float gate = step.form == Activate::Form::kGated ? in.row(t)[out.cols + f] : 1.0f;
      out.row(t)[f] = activate(step.activation, in.row(t)[f]) * gate;
    }
  }
}

}  // namespace quern
