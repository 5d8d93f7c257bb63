#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "program/step.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace quern {

struct KvLayer;
struct Program;
struct Rope;

/// The batch a cost is asked for: how many rows each step works on, and how weights and keys are
/// stored.
struct CostContext {
  const Program& program;
  int64_t tokens = 1;       // T, of all sequences together
  int64_t sequences = 1;    // S
  int64_t wanted_rows = 1;  // R, rows whose logits are computed
  int64_t attended = 128;   // sum over tokens of the keys each looks at, without windows
  int64_t kv_read = 128;    // sum over sequences of the keys in the cache, without windows
  DType kv_dtype = DType::of<F16>();
  std::function<int64_t(WeightId)> weight_bytes;  // as the executor stores it

  int64_t rows(const Slot& slot) const;
  int64_t values(const Slot& slot) const { return rows(slot) * slot.width; }
  int64_t bytes(const Slot& slot) const { return 4 * values(slot); }
  int64_t bytes(WeightId weight) const { return weight.valid() ? weight_bytes(weight) : 0; }
  int64_t row_bytes(WeightId weight) const;  // of one row of a matrix
  int64_t kv_bytes(int64_t values) const {
    return values / kv_dtype.block_values() * kv_dtype.block_bytes();
  }
};

/// What the reference form of a step may touch: fp32 activations, fp32 weights, and the keys and
/// values of the sequences in the batch. Implemented by exec/reference.
class ReferenceContext {
 public:
  virtual ~ReferenceContext() = default;

  virtual Matrix<float> rows(const Slot& slot) = 0;
  virtual Matrix<const float> matrix(WeightId weight) = 0;
  virtual std::span<const float> vector(WeightId weight) = 0;
  virtual const Rope& rope(int32_t index) const = 0;
  virtual const KvLayer& kv_layer(int32_t layer) const = 0;

  virtual std::span<const int32_t> token_ids() const = 0;    // [T]
  virtual std::span<const int32_t> positions() const = 0;    // [T]
  virtual std::span<const int32_t> wanted_rows() const = 0;  // [R] rows of the batch, ascending

  /// Puts the keys and values [Hk * Dh] of token `row` of the batch into the cache of its own
  /// sequence, at its own position, rounded to the cache's type.
  virtual void append(int32_t layer, int64_t row, std::span<const float> k,
                      std::span<const float> v) = 0;
  /// The key or value [Hk * Dh] at `position` of the sequence that token `row` belongs to.
  virtual std::span<const float> key(int32_t layer, int64_t row, int64_t position) = 0;
  virtual std::span<const float> value(int32_t layer, int64_t row, int64_t position) = 0;
};

}  // namespace quern
