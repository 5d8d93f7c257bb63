#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/formats.h"

namespace quern::cpu {

/// Rows of one packed panel: the lanes of one 512-bit register of fp32.
inline constexpr int kPanelRows = 16;

// How 16 rows of a quantised format lie in a panel, for every reader: packing, decoding, and the
// kernels of all levels. A reader brings its own vector types, `B` for bytes and `V` for floats, as
// wide as it likes, and says with `row` which row its first lane is.

template <typename T>
void pack_value(std::byte* p, T value) {
  __builtin_memcpy(p, &value, sizeof(value));
}

/// 32 unsigned quants of 16 rows, kBits each, in groups of four along the row: group g holds values
/// 4 g .. 4 g + 3, a 64-byte line of 16 rows x 4 bytes.
///
///   8 bits  a line for each of the 8 groups
///   4 bits  line g holds group g in its low halves and group g + 4 in its high halves
///   5 bits  the same, then a line whose byte has the fifth bit of group g at bit g
///   6 bits  the same, then two lines; the first has the upper two bits of group g at bit 2 g, the
///           second those of group g + 4
template <int kBits>
struct Quants {
  static_assert(kBits == 4 || kBits == 5 || kBits == 6);
  static constexpr int64_t kBytes = 64 * kBits;

  /// Group g of the block at `p`, as bytes.
  template <int g, typename B>
  static B group(const std::byte* p) {
    const B nibbles = B::load(p + g % 4 * 64);
    const B low = (g < 4 ? nibbles : shift_right<4>(nibbles)) & B::all(0x0F);
    if constexpr (kBits == 4) {
      return low;
    } else if constexpr (kBits == 5) {
      return low | (shift_by<4 - g>(B::load(p + 256)) & B::all(0x10));
    } else {
      return low | (shift_by<4 - 2 * (g % 4)>(B::load(p + 256 + g / 4 * 64)) & B::all(0x30));
    }
  }
  /// The eight groups of one row, a byte a quant.
  static void pack(const uint32_t (&groups)[8], int row, std::byte* p) {
    uint32_t upper[2] = {0, 0};
    for (int g = 0; g < 4; ++g) {
      const uint32_t nibbles = (groups[g] & 0x0F0F0F0Fu) | (groups[g + 4] & 0x0F0F0F0Fu) << 4;
      pack_value(p + g * 64 + row * 4, nibbles);
    }
    for (int g = 0; g < 8; ++g) {
      const uint32_t bits = groups[g] >> 4;
      if constexpr (kBits == 5) upper[0] |= (bits & 0x01010101u) << g;
      if constexpr (kBits == 6) upper[g / 4] |= (bits & 0x03030303u) << g % 4 * 2;
    }
    for (int line = 0; line < kBits - 4; ++line)
      pack_value(p + 256 + line * 64 + row * 4, upper[line]);
  }

 private:
  template <int kLeft, typename B>
  static B shift_by(B bytes) {
    if constexpr (kLeft > 0) return shift_left<kLeft>(bytes);
    if constexpr (kLeft < 0) return shift_right<-kLeft>(bytes);
    return bytes;
  }
};

template <>
struct Quants<8> {
  static constexpr int64_t kBytes = 512;

  template <int g, typename B>
  static B group(const std::byte* p) {
    return B::load(p + g * 64);
  }
  static void pack(const uint32_t (&groups)[8], int row, std::byte* p) {
    for (int g = 0; g < 8; ++g) pack_value(p + g * 64 + row * 4, groups[g]);
  }
};

// The scales of 16 rows. One stored unit serves kBlocks blocks of 32, and in each of these kParts
// scales serve equal parts; where there is a minimum, value = scale * (quant - zero) + minimum.

/// One half per block.
struct HalfScales {
  static constexpr int64_t kBytes = 32;
  static constexpr int kBlocks = 1, kParts = 1;
  static constexpr bool kHasMinimum = false;

  template <typename V>
  static V scale(const std::byte* p, int /*block*/, int /*part*/, int row) {
    return V::from_halves(p + 2 * row);
  }
  template <typename Format>
  static void pack(const Format& block, int row, std::byte* p) {
    pack_value(p + 2 * row, block.scale);
  }
};

/// A half for the scale and one for the minimum.
struct HalfScalesAndMinima {
  static constexpr int64_t kBytes = 64;
  static constexpr int kBlocks = 1, kParts = 1;
  static constexpr bool kHasMinimum = true;

  template <typename V>
  static V scale(const std::byte* p, int /*block*/, int /*part*/, int row) {
    return V::from_halves(p + 2 * row);
  }
  template <typename V>
  static V minimum(const std::byte* p, int /*block*/, int row) {
    return V::from_halves(p + 32 + 2 * row);
  }
  template <typename Format>
  static void pack(const Format& block, int row, std::byte* p) {
    pack_value(p + 2 * row, block.scale);
    pack_value(p + 32 + 2 * row, block.minimum);
  }
};

/// For eight blocks d and -dmin, then for each an unsigned byte times d and one times -dmin.
struct SuperScales {
  static constexpr int64_t kBytes = 64 + 8 * 32;
  static constexpr int kBlocks = 8, kParts = 1;
  static constexpr bool kHasMinimum = true;

  template <typename V>
  static V scale(const std::byte* p, int block, int /*part*/, int row) {
    return V::from_halves(p + 2 * row) * V::from_unsigned(p + 64 + block * 32 + row);
  }
  template <typename V>
  static V minimum(const std::byte* p, int block, int row) {
    return V::from_halves(p + 32 + 2 * row) * V::from_unsigned(p + 64 + block * 32 + 16 + row);
  }
  template <typename Format>
  static void pack(const Format& stored, int row, std::byte* p) {
    pack_value(p + 2 * row, stored.d);
    pack_value(p + 32 + 2 * row, static_cast<uint16_t>(stored.dmin ^ 0x8000));
    for (int b = 0; b < kBlocks; ++b) {
      pack_value(p + 64 + b * 32 + row, stored.sub_scale(b));
      pack_value(p + 64 + b * 32 + 16 + row, stored.sub_minimum(b));
    }
  }
};

/// For eight blocks d, then for each half of a block a signed byte times d.
struct SignedSubScales {
  static constexpr int64_t kBytes = 32 + 8 * 32;
  static constexpr int kBlocks = 8, kParts = 2;
  static constexpr bool kHasMinimum = false;

  template <typename V>
  static V scale(const std::byte* p, int block, int part, int row) {
    return V::from_halves(p + 2 * row) * V::from_signed(p + 32 + block * 32 + part * 16 + row);
  }
  template <typename Format>
  static void pack(const Format& stored, int row, std::byte* p) {
    pack_value(p + 2 * row, stored.d);
    for (int i = 0; i < kBlocks * kParts; ++i) {
      pack_value(p + 32 + i * 16 + row, stored.sub_scale(i));
    }
  }
};

/// A panel of a quantised format: the quants of all blocks, then all their scales.
template <typename FormatT, int kQuantBits, typename ScalesT>
struct IntPanel {
  using Format = FormatT;
  using Scales = ScalesT;
  static constexpr int kBits = kQuantBits;
  static constexpr int kZero = Format::kZero;  // the quant that means 0
  static constexpr int64_t kQuantBytes = Quants<kBits>::kBytes;
  static constexpr int64_t kTokenBytes = 32;  // of a token's activations in a step along the row
  static constexpr int kParts = Scales::kParts;
  static constexpr bool kHasMinimum = Scales::kHasMinimum;
  static_assert(Format::kBlockValues == Scales::kBlocks * 32);

  static constexpr int64_t bytes(int64_t cols) {
    return cols / 32 * kQuantBytes + cols / Format::kBlockValues * Scales::kBytes;
  }
  template <int g, typename B>
  static B group(const std::byte* block) {
    return Quants<kBits>::template group<g, B>(block);
  }
  /// Of block b, counted from the panel's beginning, as its `scales` are.
  template <typename V>
  static V scale(const std::byte* scales, int64_t b, int part, int row) {
    const auto block = static_cast<int>(b % Scales::kBlocks);
    return Scales::template scale<V>(scales_of(scales, b), block, part, row);
  }
  template <typename V>
  static V minimum(const std::byte* scales, int64_t b, int row) {
    const auto block = static_cast<int>(b % Scales::kBlocks);
    return Scales::template minimum<V>(scales_of(scales, b), block, row);
  }
  static const std::byte* scales_of(const std::byte* scales, int64_t b) {
    return scales + b / Scales::kBlocks * Scales::kBytes;
  }
};

/// A panel of a format with one scale a row: bytes with 128 for zero in groups of four along the
/// row, a 64-byte line each as above, for rows filled up to whole steps of 64; then 16 scales as
/// floats. A step of 64 is what one product of tiles takes. Activations are filled up with zeros.
template <typename FormatT>
struct RowPanel {
  using Format = FormatT;
  static constexpr int kBits = 8;
  static constexpr int kZero = 128;
  static constexpr int kParts = 1;
  static constexpr int64_t kTokenBytes = 64;
  static constexpr int64_t kStepBytes = 1024;

  static constexpr int64_t steps(int64_t cols) { return (cols + 63) / 64; }
  static constexpr int64_t scales_at(int64_t cols) { return steps(cols) * kStepBytes; }
  static constexpr int64_t bytes(int64_t cols) { return scales_at(cols) + 64; }
  template <int g, typename B>
  static B group(const std::byte* p) {
    return B::load(p + g * 64);
  }
};

/// The panel of each quantised format. A new one is a line here.
template <typename Format>
struct PanelOf {
  static constexpr bool kExists = false;
};
template <typename Panel>
struct SomePanel : Panel {
  static constexpr bool kExists = true;
};
template <>
struct PanelOf<Q8_0> : SomePanel<IntPanel<Q8_0, 8, HalfScales>> {};
template <>
struct PanelOf<Q4_0> : SomePanel<IntPanel<Q4_0, 4, HalfScales>> {};
template <>
struct PanelOf<Q4_1> : SomePanel<IntPanel<Q4_1, 4, HalfScalesAndMinima>> {};
template <>
struct PanelOf<Q5_0> : SomePanel<IntPanel<Q5_0, 5, HalfScales>> {};
template <>
struct PanelOf<Q4_K> : SomePanel<IntPanel<Q4_K, 4, SuperScales>> {};
template <>
struct PanelOf<Q5_K> : SomePanel<IntPanel<Q5_K, 5, SuperScales>> {};
template <>
struct PanelOf<Q6_K> : SomePanel<IntPanel<Q6_K, 6, SignedSubScales>> {};
template <>
struct PanelOf<W8A8> : SomePanel<RowPanel<W8A8>> {};

}  // namespace quern::cpu
