#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace quern {

/// One tensor of a file to be written and where its numbers come from.
struct TensorStream {
  std::string name;            // in the new file
  std::string from;            // the type it is stored as
  std::vector<int64_t> shape;  // in the new file, outermost first

  /// The type it becomes; nothing where `stored` is written as it is, or `int8_row` says more.
  std::optional<DType> to;
  /// Makes a row of signed bytes of a row of values, which no DType does: their scales are another
  /// tensor.
  std::function<void(std::span<const float> row, std::byte* out)> int8_row = {};
  std::span<const std::byte> stored;
  /// out[i, :] = row first + i of the new tensor, any dimension but the last one counted as rows.
  std::function<void(int64_t first, Matrix<float> out)> rows;
  /// Its numbers will not be read again.
  std::function<void()> release;

  int64_t num_values() const;
  int64_t row_values() const { return shape.empty() ? 1 : shape.back(); }
  uint64_t num_bytes() const;  // in the new file
};

/// Called with the number of bytes just written; false ends the work.
using WriteProgress = std::function<bool(uint64_t bytes)>;

/// Writes the tensor at the file's position: decoded and encoded on the pool some rows at a time,
/// so that it never lies in memory as a whole. False where `progress` ended it.
Result<bool> write_tensor(const TensorStream& tensor, ThreadPool& pool, NewFile& file,
                          const WriteProgress& progress);

}  // namespace quern
