#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "exec/cpu/kernel_table.h"
#include "tensor/dtype.h"

namespace quern::cpu {

/// How a matrix is packed: its rows in panels of 16, one after the other; the last one is filled up
/// with zero rows. All instruction set levels read the same bytes. In a panel, with K columns:
///
///   f32   for each k: 16 floats
///   f16   for each k: 16 halves
///   fp8   for each k: 16 bytes
///   bf16  for each pair k, k + 1: 16 times the two values of a row, K rounded up to even
///   types of blocks: for each block of 32 k the quants, unsigned; then the scales (panels.h)
///   w8a8  for each 4 k: 16 times the four bytes of a row, unsigned, K rounded up to 64; then the
///         16 scales
///
/// A 64-byte line thus serves 16 outputs with no shuffle, and values and scales are aligned.
/// A panel is a multiple of 64 bytes long.
class PanelLayout {
 public:
  /// Nothing for a type that has no panels, or a width it cannot divide into blocks.
  static std::optional<PanelLayout> of(DType dtype, int64_t cols);

  DType dtype() const { return dtype_; }
  bool is_float() const { return dtype_.is_float(); }
  int64_t panel_bytes() const { return panel_bytes_; }
  static int64_t num_panels(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
  int64_t matrix_bytes(int64_t rows) const { return num_panels(rows) * panel_bytes_; }

  /// Packs up to 16 rows, each stored as the type stores a row; missing ones become zero.
  void pack(std::span<const std::byte* const> rows, std::byte* panel) const;
  /// out[k] = row `row` of the panel, decoded as the type decodes it.
  void decode_row(const std::byte* panel, int row, std::span<float> out) const;

 private:
  PanelLayout(DType dtype, int64_t cols, int64_t panel_bytes)
      : dtype_(dtype), cols_(cols), panel_bytes_(panel_bytes) {}

  DType dtype_;
  int64_t cols_;
  int64_t panel_bytes_;
};

}  // namespace quern::cpu
