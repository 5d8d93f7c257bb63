#include "exec/cpu/layout.h"

#include <cstring>
#include <type_traits>
#include <utility>

#include "base/ensure.h"
#include "exec/cpu/panels.h"
#include "tensor/half.h"

namespace quern::cpu {

namespace {

constexpr int64_t kBlock = 32;

int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// --- f32, f16, bf16, fp8 ---

/// Where value k of row r lies.
template <typename Format>
int64_t float_place(int64_t k, int64_t r) {
  if (std::is_same_v<Format, BF16>) return k / 2 * 64 + r * 4 + k % 2 * 2;
  return (k * kPanelRows + r) * static_cast<int64_t>(sizeof(Format));
}

template <typename Format>
void pack_floats(std::span<const std::byte* const> rows, int64_t cols, std::byte* panel) {
  constexpr size_t kSize = sizeof(Format);
  for (size_t r = 0; r < rows.size(); ++r) {
    for (int64_t k = 0; k < cols; ++k) {
      std::memcpy(panel + float_place<Format>(k, static_cast<int64_t>(r)),
                  rows[r] + static_cast<size_t>(k) * kSize, kSize);
    }
  }
}

template <typename Format>
void decode_floats(const std::byte* panel, int row, std::span<float> out) {
  for (size_t k = 0; k < out.size(); ++k) {
    out[k] = load<Format>(panel + float_place<Format>(static_cast<int64_t>(k), row)).decode(0);
  }
}

// --- quantised ---

template <typename Panel>
void pack_blocks(std::span<const std::byte* const> rows, int64_t cols, std::byte* panel) {
  using Format = typename Panel::Format;
  constexpr int kBlocks = Panel::Scales::kBlocks;
  std::byte* const scales = panel + cols / kBlock * Panel::kQuantBytes;
  for (int64_t at = 0; at < cols / Format::kBlockValues; ++at) {
    for (size_t r = 0; r < rows.size(); ++r) {  // missing rows have scales of 0
      const int row = static_cast<int>(r);
      const auto stored = load<Format>(rows[r] + at * static_cast<int64_t>(sizeof(Format)));
      Panel::Scales::pack(stored, row, scales + at * Panel::Scales::kBytes);
      for (int b = 0; b < kBlocks; ++b) {
        uint32_t groups[8];
        for (int g = 0; g < 8; ++g) groups[g] = stored.group(b * 8 + g);
        Quants<Panel::kBits>::pack(groups, row, panel + (at * kBlocks + b) * Panel::kQuantBytes);
      }
    }
  }
}

/// Four bytes, and one float, as what a panel hands out.
struct Bytes {
  uint32_t v;
  static Bytes load(const std::byte* p) { return {cpu::load<uint32_t>(p)}; }
  static Bytes all(int byte) { return {0x01010101u * static_cast<uint32_t>(byte)}; }
};
Bytes operator&(Bytes a, Bytes b) { return {a.v & b.v}; }
Bytes operator|(Bytes a, Bytes b) { return {a.v | b.v}; }
template <int kBits>
Bytes shift_left(Bytes x) {
  return {x.v << kBits};
}
template <int kBits>
Bytes shift_right(Bytes x) {
  return {x.v >> kBits};
}
struct Value {
  float v;
  static Value from_halves(const std::byte* p) { return {half_to_float(load<uint16_t>(p))}; }
  static Value from_unsigned(const std::byte* p) { return {static_cast<float>(load<uint8_t>(p))}; }
  static Value from_signed(const std::byte* p) { return {static_cast<float>(load<int8_t>(p))}; }
};
Value operator*(Value a, Value b) { return {a.v * b.v}; }

template <typename Panel>
void decode_blocks(const std::byte* panel, int row, std::span<float> out) {
  const int64_t blocks = static_cast<int64_t>(out.size()) / kBlock;
  const std::byte* const scales = panel + blocks * Panel::kQuantBytes;
  for (int64_t b = 0; b < blocks; ++b) {
    const std::byte* const quants = panel + b * Panel::kQuantBytes + row * 4;
    float* const to = out.data() + b * kBlock;
    const auto decode_group = [&]<int g>() {
      const uint32_t four = Panel::template group<g, Bytes>(quants).v;
      const float scale = Panel::template scale<Value>(scales, b, g * Panel::kParts / 8, row).v;
      for (int j = 0; j < 4; ++j) {
        const int quant = static_cast<int>(four >> 8 * j & 0xFF);
        float value = scale * static_cast<float>(quant - Panel::kZero);
        if constexpr (Panel::kHasMinimum) {
          value += Panel::template minimum<Value>(scales, b, row).v;
        }
        to[4 * g + j] = value;
      }
    };
    [&]<int... g>(std::integer_sequence<int, g...>) {
      (decode_group.template operator()<g>(), ...);
    }(std::make_integer_sequence<int, 8>());
  }
}

// --- one scale a row ---

template <typename Panel>
void pack_scaled_rows(std::span<const std::byte* const> rows, int64_t cols, std::byte* panel) {
  constexpr int64_t kBefore = Panel::Format::kRowScaleBytes;
  for (size_t r = 0; r < rows.size(); ++r) {  // missing rows have scales of 0
    const auto row = static_cast<int64_t>(r);
    std::memcpy(panel + Panel::scales_at(cols) + 4 * row, rows[r], 4);
    for (int64_t k = 0; k < cols; ++k) {
      panel[k / 4 * 64 + row * 4 + k % 4] = rows[r][kBefore + k] ^ std::byte{Panel::kZero};
    }
  }
}

template <typename Panel>
void decode_scaled_row(const std::byte* panel, int row, std::span<float> out) {
  const auto cols = static_cast<int64_t>(out.size());
  const float scale = load<float>(panel + Panel::scales_at(cols) + 4 * row);
  for (int64_t k = 0; k < cols; ++k) {
    const int quant = std::to_integer<int>(panel[k / 4 * 64 + row * 4 + k % 4]);
    out[static_cast<size_t>(k)] = scale * static_cast<float>(quant - Panel::kZero);
  }
}

}  // namespace

std::optional<PanelLayout> PanelLayout::of(DType dtype, int64_t cols) {
  if (!dtype.fits_row(cols)) return std::nullopt;
  return visit_format(dtype.index(), [&]<typename Format>() -> std::optional<PanelLayout> {
    if constexpr (kIsFloat<Format>) {
      const auto size = static_cast<int64_t>(sizeof(Format));
      return PanelLayout(dtype, cols, round_up(round_up(cols, 2) * kPanelRows * size, 64));
    } else if constexpr (PanelOf<Format>::kExists) {
      return PanelLayout(dtype, cols, round_up(PanelOf<Format>::bytes(cols), 64));
    } else {
      return std::nullopt;
    }
  });
}

void PanelLayout::pack(std::span<const std::byte* const> rows, std::byte* panel) const {
  ENSURE(rows.size() <= static_cast<size_t>(kPanelRows));
  std::memset(panel, 0, static_cast<size_t>(panel_bytes_));
  visit_format(dtype_.index(), [&]<typename Format>() {
    using Panel = PanelOf<Format>;
    if constexpr (kIsFloat<Format>) {
      pack_floats<Format>(rows, cols_, panel);
    } else if constexpr (kScalesRows<Format>) {
      pack_scaled_rows<Panel>(rows, cols_, panel);
    } else if constexpr (Panel::kExists) {
      pack_blocks<Panel>(rows, cols_, panel);
    }
  });
}

void PanelLayout::decode_row(const std::byte* panel, int row, std::span<float> out) const {
  ENSURE(static_cast<int64_t>(out.size()) == cols_);
  visit_format(dtype_.index(), [&]<typename Format>() {
    using Panel = PanelOf<Format>;
    if constexpr (kIsFloat<Format>) {
      decode_floats<Format>(panel, row, out);
    } else if constexpr (kScalesRows<Format>) {
      decode_scaled_row<Panel>(panel, row, out);
    } else if constexpr (Panel::kExists) {
      decode_blocks<Panel>(panel, row, out);
    }
  });
}

}  // namespace quern::cpu
