#pragma once

#include <cmath>
#include <string_view>

#include "program/context.h"

namespace quern {

/// Root-mean-square norm of each row:
///   out[t, d] = x[t, d] * (weight[d] + offset) / sqrt(mean over d of x[t, d]^2 + eps)
///
/// x, out [T, D]; weight [D]. `out` may be `x`.
/// Order: a row is summed in float, d ascending, and looks at no other row.
/// Source: Zhang and Sennrich 2019, arXiv:1910.07467.
inline void rms_norm(Matrix<float> out, Matrix<const float> x, std::span<const float> weight,
                     float offset, float eps) noexcept {
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* in = x.row(t);
    float sum = 0.0f;
    for (int64_t d = 0; d < x.cols; ++d) sum += in[d] * in[d];

    const float scale = 1.0f / std::sqrt(sum / static_cast<float>(x.cols) + eps);
    float* row = out.row(t);
    for (int64_t d = 0; d < x.cols; ++d) {
      row[d] = in[d] * scale * (weight[static_cast<size_t>(d)] + offset);
    }
  }
}

/// Layer norm of each row:
///   out[t, d] = (x[t, d] - mean) / sqrt(var + eps) * weight[d] + bias[d]
///
/// x, out [T, D]; weight, bias [D] (an empty bias is zero). `out` may be `x`.
/// Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450.
inline void layer_norm(Matrix<float> out, Matrix<const float> x, std::span<const float> weight,
                       std::span<const float> bias, float eps) noexcept {
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* in = x.row(t);
    const float width = static_cast<float>(x.cols);
    float mean = 0.0f;
    for (int64_t d = 0; d < x.cols; ++d) mean += in[d];
    mean /= width;
    float variance = 0.0f;
    for (int64_t d = 0; d < x.cols; ++d) variance += (in[d] - mean) * (in[d] - mean);
    const float scale = 1.0f / std::sqrt(variance / width + eps);
    float* row = out.row(t);
    for (int64_t d = 0; d < x.cols; ++d) {
      const float shift = bias.empty() ? 0.0f : bias[static_cast<size_t>(d)];
      row[d] = (in[d] - mean) * scale * weight[static_cast<size_t>(d)] + shift;
    }
  }
}

/// Normalises each row of `in`. `in`, `out` [T, D]; `weight`, `bias` [D].
///   rms    out = in * (weight + weight_offset) / sqrt(mean(in^2) + eps)
///   layer  out = (in - mean(in)) / sqrt(var(in) + eps) * weight + bias
struct Norm {
  static constexpr std::string_view kName = "Norm";
  enum class Kind { kRms, kLayer };

  Slot out, in;
  WeightId weight, bias = kNoWeight;  // bias: layer only
  Kind kind = Kind::kRms;
  float eps = 1e-5f;
  float weight_offset = 0.0f;  // 1 where a checkpoint stores weight - 1 (Gemma)

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.in);
    visitor.weight(step.weight);
    visitor.weight(step.bias);
    visitor.output(step.out);
  }
};

inline Cost cost(const Norm& step, const CostContext& at) {
  return {.flops = 4 * at.values(step.in),
          .weight_bytes = at.bytes(step.weight) + at.bytes(step.bias),
          .read_bytes = at.bytes(step.in),
          .write_bytes = at.bytes(step.out)};
}

inline void reference(const Norm& step, ReferenceContext& at) {
  if (step.kind == Norm::Kind::kRms) {
    rms_norm(at.rows(step.out), at.rows(step.in), at.vector(step.weight), step.weight_offset,
             step.eps);
  } else {
    const auto bias = step.bias.valid() ? at.vector(step.bias) : std::span<const float>();
    layer_norm(at.rows(step.out), at.rows(step.in), at.vector(step.weight), bias, step.eps);
  }
}

}  // namespace quern
