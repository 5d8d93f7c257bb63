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
///   bf16  for each pair k, k + 1: 16 times the two values of a row, K rounded up to even
///   q8_0  for each block of 32 k: 8 groups of 16 rows x 4 bytes, each byte q + 128;
///         then for each block 16 scales (f16)
///   q4_0  for each block of 32 k: 4 groups of 16 rows x 4 bytes; low halves are values 4 g + j,
///         high halves values 16 + 4 g + j; then the scales
///   q4_1  as q4_0, then for each block 16 minima (f16)
///
/// A 64-byte line thus serves 16 outputs with no shuffle, and values and scales are aligned.
/// A panel is a multiple of 64 bytes long.
class PanelLayout {
 public:
  /// Nothing for a type that has no panels, or a width it cannot divide into blocks.
  static std::optional<PanelLayout> of(DType dtype, int64_t cols);

  PanelKind kind() const { return kind_; }
  bool is_float() const {
    return kind_ == PanelKind::kF32 || kind_ == PanelKind::kF16 || kind_ == PanelKind::kBF16;
  }
  int64_t panel_bytes() const { return panel_bytes_; }
  static int64_t num_panels(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
  int64_t matrix_bytes(int64_t rows) const { return num_panels(rows) * panel_bytes_; }

  /// Packs up to 16 rows, each stored as the type stores a row; missing ones become zero.
  void pack(std::span<const std::byte* const> rows, std::byte* panel) const;
  /// out[k] = row `row` of the panel, decoded as the type decodes it.
  void decode_row(const std::byte* panel, int row, std::span<float> out) const;

 private:
  PanelLayout(PanelKind kind, int64_t cols, int64_t panel_bytes)
      : kind_(kind), cols_(cols), panel_bytes_(panel_bytes) {}

  PanelKind kind_;
  int64_t cols_;
  int64_t panel_bytes_;
};

}  // namespace quern::cpu
