#pragma once

#include <string_view>
#include <vector>

#include "program/context.h"

namespace quern {

/// Rotary position embedding in the half-split order of Hugging Face: value j of a head pairs with
/// value j + Dh / 2 and both turn by position * inverse_frequencies[j].
/// Source: Su et al. 2021, arXiv:2104.09864.
struct Rope {
  std::vector<float> inverse_frequencies;  // [Dh / 2], long-context scaling already applied
  float attention_scaling = 1.0f;          // multiplies cos and sin (YaRN); 1 elsewhere
};

/// An rms norm of each head of queries and keys by itself, then the rotation, in place.
/// `q` [T, H * Dh]; `k` [T, Hk * Dh]; `q_norm`, `k_norm` [Dh] or absent; `rope` is an index into
/// Program::ropes.
struct Rotate {
  static constexpr std::string_view kName = "Rotate";

  Slot q, k;
  int64_t head_dim = 0;
  int32_t rope = 0;
  WeightId q_norm = kNoWeight, k_norm = kNoWeight;
  float eps = 1e-6f;
  float weight_offset = 0.0f;

  template <typename Self, typename Visitor>
  static void visit(Self& step, Visitor&& visitor) {
    visitor.input(step.q);
    visitor.input(step.k);
    visitor.weight(step.q_norm);
    visitor.weight(step.k_norm);
    visitor.output(step.q);
    visitor.output(step.k);
  }
};

inline Cost cost(const Rotate& step, const CostContext& at) {
  const int64_t bytes = at.bytes(step.q) + at.bytes(step.k);
  return {.flops = 6 * (at.values(step.q) + at.values(step.k)),
          .weight_bytes = at.bytes(step.q_norm) + at.bytes(step.k_norm),
          .read_bytes = bytes,
          .write_bytes = bytes};
}

void reference(const Rotate& step, ReferenceContext& at);

}  // namespace quern
