#include "exec/cpu/layout.h"

#include <cstring>

#include "base/ensure.h"

namespace quern::cpu {

namespace {

constexpr int64_t kBlock = 32;

int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

template <typename T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(value));
}
template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

/// f32, f16: value k of row r at (k * 16 + r).
template <typename T>
void pack_by_step(std::span<const std::byte* const> rows, int64_t cols, std::byte* panel) {
  constexpr int64_t kSize = sizeof(T);
  for (size_t r = 0; r < rows.size(); ++r) {
    std::byte* to = panel + static_cast<int64_t>(r) * kSize;
    for (int64_t k = 0; k < cols; ++k) {
      std::memcpy(to + k * kPanelRows * kSize, rows[r] + k * kSize, kSize);
    }
  }
}

void pack_bf16(std::span<const std::byte* const> rows, int64_t cols, std::byte* panel) {
  for (size_t r = 0; r < rows.size(); ++r) {
    std::byte* to = panel + static_cast<int64_t>(r) * 4;
    for (int64_t k = 0; k + 1 < cols; k += 2) std::memcpy(to + k * 32, rows[r] + k * 2, 4);
    if (cols % 2 != 0) std::memcpy(to + (cols - 1) * 32, rows[r] + (cols - 1) * 2, 2);
  }
}

/// Blocks of `Format` with `groups` groups of four bytes a row, every byte flipped by `flip`.
template <typename Format>
void pack_blocks(std::span<const std::byte* const> rows, int64_t cols, uint32_t flip,
                 std::byte* panel) {
  constexpr bool kHasMinimum = std::is_same_v<Format, Q4_1>;
  constexpr int64_t kScaleBytes = kHasMinimum ? 4 : 2;
  constexpr int64_t kGroups = (sizeof(Format) - kScaleBytes) / 4;
  constexpr int64_t kQuantBytes = kGroups * kPanelRows * 4;
  const int64_t blocks = cols / kBlock;
  std::byte* const scales = panel + blocks * kQuantBytes;
  std::byte* const minima = scales + blocks * kPanelRows * 2;
  for (int64_t b = 0; b < blocks; ++b) {
    for (size_t r = 0; r < static_cast<size_t>(kPanelRows); ++r) {
      const auto row = static_cast<int64_t>(r);
      std::byte* to = panel + b * kQuantBytes + row * 4;
      const int64_t scale_at = (b * kPanelRows + row) * 2;
      if (r >= rows.size()) {
        for (int64_t g = 0; g < kGroups; ++g) store<uint32_t>(to + g * kPanelRows * 4, flip);
        continue;  // scale and minimum are 0 already
      }
      const std::byte* from = rows[r] + b * static_cast<int64_t>(sizeof(Format));
      std::memcpy(scales + scale_at, from, 2);
      if constexpr (kHasMinimum) std::memcpy(minima + scale_at, from + 2, 2);
      from += kScaleBytes;
      for (int64_t g = 0; g < kGroups; ++g) {
        store(to + g * kPanelRows * 4, load<uint32_t>(from + g * 4) ^ flip);
      }
    }
  }
}

/// The inverse for one row, block by block, through the format's own decode().
template <typename Format>
void decode_blocks(const std::byte* panel, int64_t row, uint32_t flip, std::span<float> out) {
  constexpr bool kHasMinimum = std::is_same_v<Format, Q4_1>;
  constexpr int64_t kScaleBytes = kHasMinimum ? 4 : 2;
  constexpr int64_t kGroups = (sizeof(Format) - kScaleBytes) / 4;
  constexpr int64_t kQuantBytes = kGroups * kPanelRows * 4;
  const int64_t blocks = static_cast<int64_t>(out.size()) / kBlock;
  const std::byte* const scales = panel + blocks * kQuantBytes;
  const std::byte* const minima = scales + blocks * kPanelRows * 2;
  for (int64_t b = 0; b < blocks; ++b) {
    std::byte stored[sizeof(Format)];
    const int64_t scale_at = (b * kPanelRows + row) * 2;
    std::memcpy(stored, scales + scale_at, 2);
    if constexpr (kHasMinimum) std::memcpy(stored + 2, minima + scale_at, 2);
    for (int64_t g = 0; g < kGroups; ++g) {
      const std::byte* from = panel + b * kQuantBytes + (g * kPanelRows + row) * 4;
      store(stored + kScaleBytes + g * 4, load<uint32_t>(from) ^ flip);
    }
    Format block;
    std::memcpy(&block, stored, sizeof(block));
    float* to = out.data() + b * kBlock;
    for (int i = 0; i < kBlock; ++i) to[i] = block.decode(i);
  }
}

constexpr uint32_t kFlipSign = 0x80808080u;  // signed bytes to q + 128

}  // namespace

std::optional<PanelLayout> PanelLayout::of(DType dtype, int64_t cols) {
  if (!dtype.fits_row(cols)) return std::nullopt;
  const int64_t blocks = cols / kBlock;
  const auto made = [&](PanelKind kind, int64_t bytes) {
    return PanelLayout(kind, cols, round_up(bytes, 64));
  };
  if (dtype == DType::of<F32>()) return made(PanelKind::kF32, cols * 64);
  if (dtype == DType::of<F16>()) return made(PanelKind::kF16, cols * 32);
  if (dtype == DType::of<BF16>()) return made(PanelKind::kBF16, round_up(cols, 2) * 32);
  if (dtype == DType::of<Q8_0>()) return made(PanelKind::kQ8_0, blocks * (512 + 32));
  if (dtype == DType::of<Q4_0>()) return made(PanelKind::kQ4_0, blocks * (256 + 32));
  if (dtype == DType::of<Q4_1>()) return made(PanelKind::kQ4_1, blocks * (256 + 64));
  return std::nullopt;
}

void PanelLayout::pack(std::span<const std::byte* const> rows, std::byte* panel) const {
  ENSURE(rows.size() <= static_cast<size_t>(kPanelRows));
  std::memset(panel, 0, static_cast<size_t>(panel_bytes_));
  switch (kind_) {
    case PanelKind::kF32:
      return pack_by_step<uint32_t>(rows, cols_, panel);
    case PanelKind::kF16:
      return pack_by_step<uint16_t>(rows, cols_, panel);
    case PanelKind::kBF16:
      return pack_bf16(rows, cols_, panel);
    case PanelKind::kQ8_0:
      return pack_blocks<Q8_0>(rows, cols_, kFlipSign, panel);
    case PanelKind::kQ4_0:
      return pack_blocks<Q4_0>(rows, cols_, 0, panel);
    case PanelKind::kQ4_1:
      return pack_blocks<Q4_1>(rows, cols_, 0, panel);
  }
}

void PanelLayout::decode_row(const std::byte* panel, int row, std::span<float> out) const {
  ENSURE(static_cast<int64_t>(out.size()) == cols_);
  const auto r = static_cast<int64_t>(row);
  switch (kind_) {
    case PanelKind::kF32:
      for (int64_t k = 0; k < cols_; ++k) {
        out[static_cast<size_t>(k)] = load<float>(panel + (k * kPanelRows + r) * 4);
      }
      return;
    case PanelKind::kF16:
      for (int64_t k = 0; k < cols_; ++k) {
        out[static_cast<size_t>(k)] =
            half_to_float(load<uint16_t>(panel + (k * kPanelRows + r) * 2));
      }
      return;
    case PanelKind::kBF16:
      for (int64_t k = 0; k < cols_; ++k) {
        out[static_cast<size_t>(k)] =
            bf16_to_float(load<uint16_t>(panel + k / 2 * 64 + r * 4 + k % 2 * 2));
      }
      return;
    case PanelKind::kQ8_0:
      return decode_blocks<Q8_0>(panel, r, kFlipSign, out);
    case PanelKind::kQ4_0:
      return decode_blocks<Q4_0>(panel, r, 0, out);
    case PanelKind::kQ4_1:
      return decode_blocks<Q4_1>(panel, r, 0, out);
  }
}

}  // namespace quern::cpu
