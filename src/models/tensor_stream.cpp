#include "models/tensor_stream.h"

#include <algorithm>

namespace quern {

namespace {

constexpr int64_t kSlabBytes = 8 << 20;    // written at once
constexpr int64_t kChunkValues = 1 << 16;  // decoded at once by one thread

}  // namespace

int64_t TensorStream::num_values() const {
  int64_t values = 1;
  for (const int64_t size : shape) values *= size;
  return values;
}

uint64_t TensorStream::num_bytes() const {
  if (int8_row) return static_cast<uint64_t>(num_values());
  if (!to) return stored.size();
  return static_cast<uint64_t>(num_values() / row_values() * to->row_bytes(row_values()));
}

Result<bool> write_tensor(const TensorStream& tensor, ThreadPool& pool, NewFile& file,
                          const WriteProgress& progress) {
  if (!tensor.to && !tensor.int8_row) {
    std::span<const std::byte> left = tensor.stored;
    while (!left.empty()) {
      const auto piece = left.first(std::min(left.size(), static_cast<size_t>(kSlabBytes)));
      RETURN_IF_ERROR(file.write(piece));
      if (!progress(piece.size())) return false;
      left = left.subspan(piece.size());
    }
    return true;
  }

  const int64_t cols = tensor.row_values();
  const int64_t rows = tensor.num_values() / cols;
  const int64_t row_bytes = static_cast<int64_t>(tensor.num_bytes()) / rows;
  const int64_t slab_rows = std::clamp<int64_t>(kSlabBytes / row_bytes, 1, rows);
  const int64_t chunk_rows = std::clamp<int64_t>(kChunkValues / cols, 1, slab_rows);
  std::vector<std::byte> slab(static_cast<size_t>(slab_rows * row_bytes));
  std::vector<std::vector<float>> values(static_cast<size_t>(pool.num_threads()));
  for (int64_t begin = 0; begin < rows; begin += slab_rows) {
    const int64_t count = std::min(slab_rows, rows - begin);
    pool.parallel_for((count + chunk_rows - 1) / chunk_rows, [&](int64_t chunk, int worker) {
      const int64_t first = chunk * chunk_rows;
      const int64_t num_rows = std::min(chunk_rows, count - first);
      std::vector<float>& decoded = values[static_cast<size_t>(worker)];
      decoded.resize(static_cast<size_t>(chunk_rows * cols));
      const Matrix<float> out{decoded.data(), num_rows, cols, cols};
      tensor.rows(begin + first, out);
      for (int64_t i = 0; i < num_rows; ++i) {
        const std::span<const float> row(out.row(i), static_cast<size_t>(cols));
        std::byte* bytes = slab.data() + (first + i) * row_bytes;
        if (tensor.int8_row) {
          tensor.int8_row(row, bytes);
        } else {
          tensor.to->encode_row(row, bytes);
        }
      }
    });
    const auto written = std::span(slab).first(static_cast<size_t>(count * row_bytes));
    RETURN_IF_ERROR(file.write(written));
    if (!progress(written.size())) return false;
  }
  return true;
}

}  // namespace quern
