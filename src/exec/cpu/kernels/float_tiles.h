// Products with float panels, and with panels whose values are widened to fp32 first: one FMA
// into one lane per output for every k, ascending. A lane is one output, so its bits know nothing
// of the tile it was computed in.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/tiles.h"
#include "exec/cpu/kernels/vector_math.h"

namespace quern::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int kFloatWidth = 12;  // 2 panels x 12 tokens: 24 of 32 registers
#else
constexpr int kFloatWidth = 6;  // 1 panel (2 registers) x 6 tokens: 12 of 16 registers
#endif

/// Most panels of a tile.
constexpr int kFloatPanels = 4;
/// Panels that meet a slice of many tokens, whose activations have four bytes a value.
constexpr int kFloatPanelsOfCall = 8;

/// Panels of a tile of `width` tokens.
inline int float_tile_panels(int64_t width) {
  if (width == 1) return kFloatPanels;
  if (kFloatRegisters == 16) return width <= 2 ? 2 : 1;
  return width <= 4 ? kFloatPanels : 2;
}

inline TileShape float_shape(int64_t tokens) {
  if (tokens <= 1) return {1, kFloatPanels};
  const int64_t tiles = (tokens + kFloatWidth - 1) / kFloatWidth;
  const auto width = static_cast<int>((tokens + tiles - 1) / tiles);
  return {width, panels_of_call(tokens, float_tile_panels(width), kFloatPanelsOfCall)};
}

/// Up to so many tokens pass once over whole panels, with memory all that they wait for: they read
/// ahead of the steps being multiplied.
constexpr int64_t kStreamTokens = 4;
constexpr int64_t kFloatAheadBytes = 4096;
/// Whether a tile has all the tokens there are, and so few.
inline bool is_alone(const RowForm& x, int64_t width) {
  return width <= kStreamTokens && x.tokens == width;
}

/// What a tile does with two steps k, k + 1 of a float panel.
struct F32Panel {
  static constexpr int64_t kPairBytes = 128;
  static constexpr bool kInMemory = true;
  static F first(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
  static F second(const std::byte* p) { return load(reinterpret_cast<const float*>(p) + 16); }
};
struct F16Panel {
  static constexpr int64_t kPairBytes = 64;
  static constexpr bool kInMemory = true;
  static F first(const std::byte* p) { return load_f16(reinterpret_cast<const uint16_t*>(p)); }
  static F second(const std::byte* p) {
    return load_f16(reinterpret_cast<const uint16_t*>(p) + 16);
  }
};
struct BF16Panel {  // row r's values k and k + 1 in the low and high half of lane r
  static constexpr int64_t kPairBytes = 64;
  static constexpr bool kInMemory = true;
  static F first(const std::byte* p) { return as_float(shift_left<16>(load_int(p))); }
  static F second(const std::byte* p) {
    return as_float(load_int(p) & all_int(static_cast<int32_t>(0xFFFF0000u)));
  }
};

struct WidenedSlice : F32Panel {  // just made of a panel of another type, so in the cache
  static constexpr bool kInMemory = false;
};

/// Pairs of steps of a tile of several tokens after which some more of the next slice is read
/// ahead.
constexpr int64_t kAheadPairs = 4;

/// sums[n][m] (+)= panels over steps [begin, end), begin even; `panels` [MR] begin there.
template <typename Panel, int MR, int NR>
void float_tile(const MultiplyArgs& args, const std::byte* const* panels, int64_t begin,
                int64_t end, const float* x, SliceAhead& ahead, float* sums) {
  F acc[MR][NR];
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      acc[m][n] = begin == 0 ? all(0.0f) : load(sums + n * args.sums_stride + m * kLanes);
    }
  }
  const std::byte* p[MR];
  QUERN_UNROLL
  for (int m = 0; m < MR; ++m) p[m] = panels[m];
  x += begin * NR;
  const bool streaming = is_alone(*args.x, NR);
  // Where the panel ends, reading ahead goes on in the panel that comes next.
  const int64_t last_ahead = args.x->cols - kFloatAheadBytes / Panel::kPairBytes * 2;
  for (int64_t k = begin; k + 2 <= end; k += 2, x += 2 * NR) {
    if constexpr (Panel::kInMemory) {
      if (!streaming && k / 2 % kAheadPairs == 0) ahead.read_some();
    }
    F w[MR];
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      w[m] = Panel::first(p[m]);
      if (Panel::kInMemory && streaming) {
        const std::byte* next =
            k < last_ahead ? p[m] + kFloatAheadBytes
                           : args.next_panels[m] + (k - last_ahead) / 2 * Panel::kPairBytes;
        for (int64_t line = 0; line < Panel::kPairBytes; line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(next + line), _MM_HINT_T0);
        }
      }
    }
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) {
      const F b = all(x[n]);
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) acc[m][n] = fma(w[m], b, acc[m][n]);
    }
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) w[m] = Panel::second(p[m]);
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) {
      const F b = all(x[NR + n]);
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) acc[m][n] = fma(w[m], b, acc[m][n]);
    }
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) p[m] += Panel::kPairBytes;
  }
  if ((end - begin) % 2 != 0) {
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      const F w = Panel::first(p[m]);
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) acc[m][n] = fma(w, all(x[n]), acc[m][n]);
    }
  }
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) store(sums + n * args.sums_stride + m * kLanes, acc[m][n]);
  }
}

template <typename Panel, int MR, int... NR>
inline void float_tile_of_width(int64_t width, const MultiplyArgs& args,
                                const std::byte* const* panels, int64_t begin, int64_t end,
                                const float* x, SliceAhead& ahead, float* sums) {
  using Tile = void (*)(const MultiplyArgs&, const std::byte* const*, int64_t, int64_t,
                        const float*, SliceAhead&, float*);
  static constexpr Tile kTiles[] = {float_tile<Panel, MR, NR>...};
  kTiles[width - 1](args, panels, begin, end, x, ahead, sums);
}

/// One pass of all tokens over steps [begin, end) of one, two or four panels.
template <typename Panel>
void multiply_steps(const MultiplyArgs& args, const std::byte* const* panels, int64_t begin,
                    int64_t end, SliceAhead& ahead) {
  const RowForm& x = *args.x;
  for (int64_t t = 0; t < x.tokens; t += x.width) {
    const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
    const float* tile = x.f32 + t * x.cols;
    float* sums = args.sums + t * args.sums_stride;
#if defined(__AVX512F__)
    if (args.num_panels == 1) {
      float_tile_of_width<Panel, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(
          width, args, panels, begin, end, tile, ahead, sums);
    } else if (args.num_panels == 2) {
      float_tile_of_width<Panel, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(
          width, args, panels, begin, end, tile, ahead, sums);
    } else {
      float_tile_of_width<Panel, 4, 1, 2, 3, 4>(width, args, panels, begin, end, tile, ahead, sums);
    }
#else
    if (args.num_panels == 1) {
      float_tile_of_width<Panel, 1, 1, 2, 3, 4, 5, 6>(width, args, panels, begin, end, tile, ahead,
                                                      sums);
    } else if (args.num_panels == 2) {
      float_tile_of_width<Panel, 2, 1, 2>(width, args, panels, begin, end, tile, ahead, sums);
    } else {
      float_tile_of_width<Panel, 4, 1>(width, args, panels, begin, end, tile, ahead, sums);
    }
#endif
  }
}

/// All tokens times the panels of `args`: steps are cut so that the slice of a tile's panels stays
/// in the first-level cache while the tiles of tokens pass over it.
template <typename Panel>
void multiply_float(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  const int64_t slice = is_alone(x, x.tokens) ? x.cols : 8192 / Panel::kPairBytes * 2;
  const int64_t tiles = (x.tokens + x.width - 1) / x.width;
  const Slicing cut = {.steps = x.cols,
                       .slice = slice,
                       .step_bytes = Panel::kPairBytes / 2,
                       .together = float_tile_panels(x.width),
                       .tiles = tiles,
                       .ahead_steps = is_alone(x, x.tokens) ? 0 : 2 * kAheadPairs};
  for_slices(args, cut,
             [&](const MultiplyArgs& all, int64_t begin, int64_t end, SliceAhead& ahead) {
               without_threes(all, [&](const MultiplyArgs& some) {
                 const std::byte* panels[kFloatPanels];
                 for (int m = 0; m < some.num_panels; ++m) {
                   panels[m] = some.panels[m] + begin / 2 * Panel::kPairBytes;
                 }
                 multiply_steps<Panel>(some, panels, begin, end, ahead);
               });
             });
}

/// Four quants of each row, less `zero` and times `scale`.
inline __attribute__((always_inline)) F widened_quant(I four, int step, F scale, int zero) {
  I value = four;
  if (step == 1) value = shift_right<8>(four);
  if (step == 2) value = shift_right<16>(four);
  if (step == 3) value = shift_right<24>(four);
  return to_float((value & all_int(0xFF)) - all_int(zero)) * scale;
}

/// Steps [begin, end) of a panel as fp32, each value exactly as its format defines it, in the order
/// of F32Panel: `out` [end - begin][16]. Blocks are whole.
template <typename Panel>
struct Widen {
  static void fill(const std::byte* panel, int64_t cols, int64_t begin, int64_t end, float* out) {
    const std::byte* const scales = panel + cols / 32 * Panel::kQuantBytes;
    for (int64_t b = begin / 32; b < end / 32; ++b, out += 32 * kLanes) {
      const std::byte* const quants = panel + b * Panel::kQuantBytes;
      F scale[Panel::kParts], minimum = all(0.0f);
      for (int part = 0; part < Panel::kParts; ++part) {
        scale[part] = Panel::template scale<F>(scales, b, part, 0);
      }
      if constexpr (Panel::kHasMinimum) minimum = Panel::template minimum<F>(scales, b, 0);
      for_groups([&](auto group) __attribute__((always_inline)) {
        constexpr int g = decltype(group)::kValue;
        const I four = Panel::template group<g, I>(quants);
        for (int step = 0; step < 4; ++step) {
          F w = widened_quant(four, step, scale[g * Panel::kParts / 8], Panel::kZero);
          if (Panel::kHasMinimum) w = w + minimum;
          store(out + (4 * g + step) * kLanes, w);
        }
      });
    }
  }
};
template <>
struct Widen<PanelOf<W8A8>> {
  using Panel = PanelOf<W8A8>;
  /// Groups of four are whole: up to three steps more than asked for.
  static void fill(const std::byte* panel, int64_t cols, int64_t begin, int64_t end, float* out) {
    const F scale = load(reinterpret_cast<const float*>(panel + Panel::scales_at(cols)));
    for (int64_t k = begin; k < end; k += 4, out += 4 * kLanes) {
      const I four = I::load(panel + k * kLanes);
      for (int step = 0; step < 4; ++step) {
        store(out + step * kLanes, widened_quant(four, step, scale, Panel::kZero));
      }
    }
  }
};
struct FP8Panel {};
template <>
struct Widen<FP8Panel> {
  static void fill(const std::byte* panel, int64_t, int64_t begin, int64_t end, float* out) {
    for (int64_t k = begin; k < end; ++k, out += kLanes) store(out, load_fp8(panel + k * kLanes));
  }
};

/// As multiply_float, a slice of each panel being widened first.
template <typename Panel>
void multiply_widened(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  constexpr int64_t kSteps = 64;  // with four panels 16 KiB
  const Slicing cut = {.steps = x.cols, .slice = kSteps, .together = float_tile_panels(x.width)};
  for_slices(args, cut,
             [&](const MultiplyArgs& all, int64_t begin, int64_t end, SliceAhead& ahead) {
               without_threes(all, [&](const MultiplyArgs& some) {
                 alignas(64) float widened[kFloatPanels][kSteps * kLanes];
                 const std::byte* panels[kFloatPanels];
                 for (int m = 0; m < some.num_panels; ++m) {
                   Widen<Panel>::fill(some.panels[m], x.cols, begin, end, widened[m]);
                   panels[m] = reinterpret_cast<const std::byte*>(widened[m]);
                 }
                 multiply_steps<WidenedSlice>(some, panels, begin, end, ahead);
               });
             });
}

/// How a type without blocks is multiplied.
template <typename Format>
constexpr auto kMultiplyFloat = nullptr;
template <>
constexpr auto kMultiplyFloat<F32> = multiply_float<F32Panel>;
template <>
constexpr auto kMultiplyFloat<F16> = multiply_float<F16Panel>;
template <>
constexpr auto kMultiplyFloat<BF16> = multiply_float<BF16Panel>;
template <>
constexpr auto kMultiplyFloat<FP8_E4M3> = multiply_widened<FP8Panel>;

}  // namespace
}  // namespace quern::cpu
