#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "program/program.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace quern {

/// Where an executor gets the numbers of a Program's weights from, already in the Program's own
/// order (whatever a file format permutes, transposes or bakes in is undone here). Implemented by
/// models/ over a checkpoint, and by tests over arrays.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// How the file stores the weight.
  virtual DType stored_dtype(WeightId weight) const = 0;
  /// The stored bytes of one row, as they are, or nullptr where the stored rows are not the
  /// Program's rows (transposed, shifted); then decode_rows is the only way. What a file keeps
  /// apart, values and their scale, is put together in `room`, which has that type's row_bytes.
  virtual const std::byte* stored_row(WeightId weight, int64_t row, std::byte* room) const = 0;
  /// out[i, :] = row first + i, as fp32; `out` is [count, cols of the weight].
  virtual void decode_rows(WeightId weight, int64_t first, Matrix<float> out) const = 0;
  /// A hash that changes with what is stored; 0 where that cannot be told.
  virtual uint64_t fingerprint() const { return 0; }
  /// The weight will not be read again: its mapped pages may go.
  virtual void release(WeightId weight) const = 0;
};

/// The type each weight is to be held in, by WeightId: what --dtype, its overrides and the
/// fallbacks come to. Vectors are always f32.
struct WeightTypes {
  std::vector<DType> of;

  DType operator[](WeightId weight) const { return of[static_cast<size_t>(weight.index)]; }
};

}  // namespace quern
