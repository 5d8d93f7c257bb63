#include "program/steps/linear.h"

#include "program/program.h"

namespace quern {

Cost cost(const Linear& step, const CostContext& at) {
  Cost out{.read_bytes = at.bytes(step.in), .write_bytes = at.bytes(step.out)};
  for (const WeightId weight : step.weights) {
    const WeightDecl& decl = at.program.weight(weight);
    out.flops += 2 * at.rows(step.in) * decl.rows * decl.cols;
    out.weight_bytes += at.bytes(weight);
  }
  for (const WeightId bias : step.biases) out.weight_bytes += at.bytes(bias);
  if (step.epilogue == Linear::Epilogue::kAdd) out.read_bytes += at.bytes(step.add);
  return out;
}

void reference(const Linear& step, ReferenceContext& at) {
  const Matrix<float> in = at.rows(step.in), out = at.rows(step.out);
  std::vector<float> y;
  for (int64_t t = 0; t < out.rows; ++t) {
    y.clear();
    for (size_t i = 0; i < step.weights.size(); ++i) {
      const Matrix<const float> weight = at.matrix(step.weights[i]);
      const bool has_bias = step.biases[i].valid();
      for (int64_t n = 0; n < weight.rows; ++n) {
        float sum = 0.0f;
        for (int64_t k = 0; k < weight.cols; ++k) sum += in.row(t)[k] * weight.row(n)[k];
        y.push_back(has_bias ? sum + at.vector(step.biases[i])[static_cast<size_t>(n)] : sum);
      }
    }
    float* row = out.row(t);
    for (int64_t n = 0; n < out.cols; ++n) {
      const float value = y[static_cast<size_t>(n)];
      switch (step.epilogue) {
        case Linear::Epilogue::kNone:
          row[n] = value;
          break;
        case Linear::Epilogue::kActivate:
          row[n] = activate(step.activation, value);
          break;
        case Linear::Epilogue::kActivateGated:
          row[n] = activate(step.activation, value) * y[static_cast<size_t>(out.cols + n)];
          break;
        case Linear::Epilogue::kAdd:
          row[n] = at.rows(step.add).row(t)[n] + value;
          break;
      }
    }
  }
}

}  // namespace quern
