#include "program/steps/attend.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "program/program.h"

namespace quern {

Cost cost(const Attend& step, const CostContext& at) {
  const KvLayer& layer = at.program.kv_layers[static_cast<size_t>(step.layer)];
  const int64_t tokens = at.rows(step.q);
  const int64_t cap = step.window > 0 ? step.window : INT64_MAX;
  // Windows bound each token's keys; the batch gives only sums, so the mean is bounded.
  const int64_t attended = tokens * std::min(cap, at.attended / std::max<int64_t>(1, tokens));
  const int64_t read = std::min(at.kv_read, cap == INT64_MAX ? cap : cap * at.sequences);
  return {.flops = 4 * attended * step.q.width,
          .read_bytes =
              at.bytes(step.q) + at.kv_bytes(2 * read * layer.num_key_value_heads * layer.head_dim),
          .write_bytes = at.bytes(step.out)};
}

void reference(const Attend& step, ReferenceContext& at) {
  const KvLayer& layer = at.kv_layer(step.layer);
  const Matrix<float> q = at.rows(step.q), out = at.rows(step.out);
  const int64_t head_dim = layer.head_dim;
  const int64_t num_heads = q.cols / head_dim;
  const int64_t group = num_heads / layer.num_key_value_heads;
  std::vector<float> weights;
  for (int64_t t = 0; t < q.rows; ++t) {
    const int64_t last = at.positions()[static_cast<size_t>(t)];
    const int64_t first = step.window > 0 ? std::max<int64_t>(0, last - step.window + 1) : 0;
    for (int64_t h = 0; h < num_heads; ++h) {
      const float* query = q.row(t) + h * head_dim;
      const int64_t kv_offset = h / group * head_dim;
      weights.clear();
      float largest = -INFINITY;
      for (int64_t p = first; p <= last; ++p) {
        const float* key = at.key(step.layer, t, p).data() + kv_offset;
        float score = 0.0f;
        for (int64_t d = 0; d < head_dim; ++d) score += query[d] * key[d];
        score *= step.scale;
        if (step.softcap > 0) score = step.softcap * std::tanh(score / step.softcap);
        largest = std::max(largest, score);
        weights.push_back(score);
      }
      float sum = 0.0f;
      for (float& weight : weights) sum += weight = std::exp(weight - largest);
      float* row = out.row(t) + h * head_dim;
      std::fill(row, row + head_dim, 0.0f);
      for (int64_t p = first; p <= last; ++p) {
        const float* value = at.value(step.layer, t, p).data() + kv_offset;
        const float weight = weights[static_cast<size_t>(p - first)] / sum;
        for (int64_t d = 0; d < head_dim; ++d) row[d] += weight * value[d];
      }
    }
  }
}

}  // namespace quern
