#include "program/steps/rotate.h"

#include <cmath>

#include "program/program.h"
#include "program/steps/norm.h"

namespace quern {

namespace {

/// Turns one head [Dh] to its position, in place.
void rotate_head(float* head, const Rope& rope, int32_t position) noexcept {
  const size_t half = rope.inverse_frequencies.size();
  for (size_t j = 0; j < half; ++j) {
    // The angle in float, its cosine and sine exactly rounded as nearly as libm does: what the
    // reference implementations compute.
    const float angle = static_cast<float>(position) * rope.inverse_frequencies[j];
    const float c = std::cos(angle) * rope.attention_scaling;
    const float s = std::sin(angle) * rope.attention_scaling;
    const float a = head[j], b = head[j + half];
    head[j] = a * c - b * s;
    head[j + half] = b * c + a * s;
  }
}

}  // namespace

void reference(const Rotate& step, ReferenceContext& at) {
  const Rope& rope = at.rope(step.rope);
  const auto turn = [&](const Slot& slot, WeightId norm) {
    const Matrix<float> rows = at.rows(slot);
    for (int64_t t = 0; t < rows.rows; ++t) {
      for (int64_t d = 0; d < rows.cols; d += step.head_dim) {
        float* head = rows.row(t) + d;
        if (norm.valid()) {
          const Matrix<float> one{head, 1, step.head_dim, step.head_dim};
          rms_norm(one, one, at.vector(norm), step.weight_offset, step.eps);
        }
        rotate_head(head, rope, at.positions()[static_cast<size_t>(t)]);
      }
    }
  };
  turn(step.q, step.q_norm);
  turn(step.k, step.k_norm);
}

}  // namespace quern
