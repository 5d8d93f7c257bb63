// Products with float panels, and with quantised panels whose values are widened to fp32: one FMA
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

TileShape float_shape(int64_t tokens) {
  if (tokens <= 1) return {1, 4};
  const int64_t tiles = (tokens + kFloatWidth - 1) / kFloatWidth;
  const auto width = static_cast<int>((tokens + tiles - 1) / tiles);
  if (kFloatRegisters == 16) return {width, width <= 2 ? 2 : 1};
  return {width, width <= 4 ? 4 : 2};
}

/// Bytes read ahead of the steps being multiplied in a pass for one token.
constexpr int64_t kFloatAheadBytes = 4096;

/// What a tile does with two steps k, k + 1 of a float panel.
struct F32Panel {
  static constexpr int64_t kPairBytes = 128;
  static int64_t bytes(int64_t cols) { return cols * 64; }
  static F first(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
  static F second(const std::byte* p) { return load(reinterpret_cast<const float*>(p) + 16); }
};
struct F16Panel {
  static constexpr int64_t kPairBytes = 64;
  static F first(const std::byte* p) { return load_f16(reinterpret_cast<const uint16_t*>(p)); }
  static F second(const std::byte* p) {
    return load_f16(reinterpret_cast<const uint16_t*>(p) + 16);
  }
};
struct FP8Panel {
  static constexpr int64_t kPairBytes = 32;
  static F first(const std::byte* p) { return load_fp8(p); }
  static F second(const std::byte* p) { return load_fp8(p + 16); }
};
struct BF16Panel {  // row r's values k and k + 1 in the low and high half of lane r
  static constexpr int64_t kPairBytes = 64;
  static F first(const std::byte* p) { return as_float(shift_left<16>(load_int(p))); }
  static F second(const std::byte* p) {
    return as_float(load_int(p) & all_int(static_cast<int32_t>(0xFFFF0000u)));
  }
};

/// sums[n][m] (+)= panels over steps [begin, end), begin even.
template <typename Panel, int MR, int NR>
void float_tile(const MultiplyArgs& args, int64_t begin, int64_t end, const float* x, float* sums) {
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
  for (int m = 0; m < MR; ++m) p[m] = args.panels[m] + begin / 2 * Panel::kPairBytes;
  x += begin * NR;
  // A pass for one token streams from memory: where the panel ends, reading ahead goes on in the
  // panel that comes next.
  const int64_t last_ahead = args.x->cols - kFloatAheadBytes / Panel::kPairBytes * 2;
  for (int64_t k = begin; k + 2 <= end; k += 2, x += 2 * NR) {
    F w[MR];
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      w[m] = Panel::first(p[m]);
      if constexpr (NR == 1) {
        const std::byte* ahead =
            k < last_ahead ? p[m] + kFloatAheadBytes
                           : args.next_panels[m] + (k - last_ahead) / 2 * Panel::kPairBytes;
        for (int64_t line = 0; line < Panel::kPairBytes; line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(ahead + line), _MM_HINT_T0);
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

/// Dequantised exactly as the format defines it; then as float_tile. One step of 32 at a time.
template <typename Panel, int NR>
void widened_tile(const MultiplyArgs& args, int panel, const float* x, float* sums) {
  const int64_t blocks = args.x->cols / 32;
  const std::byte* quants = args.panels[panel];
  const std::byte* const scales = quants + blocks * Panel::kQuantBytes;
  F acc[NR];
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) acc[n] = all(0.0f);
  for (int64_t b = 0; b < blocks; ++b, quants += Panel::kQuantBytes) {
    F scale[Panel::kParts], minimum = all(0.0f);
    for (int part = 0; part < Panel::kParts; ++part) {
      scale[part] = Panel::template scale<F>(scales, b, part, 0);
    }
    if constexpr (Panel::kHasMinimum) minimum = Panel::template minimum<F>(scales, b, 0);
    for_groups([&](auto group) __attribute__((always_inline)) {
      constexpr int g = decltype(group)::kValue;
      const I four = Panel::template group<g, I>(quants);
      const auto step = [&](I value, const float* at) __attribute__((always_inline)) {
        F w = to_float(value - all_int(Panel::kZero)) * scale[g * Panel::kParts / 8];
        if (Panel::kHasMinimum) w = w + minimum;
        QUERN_UNROLL
        for (int n = 0; n < NR; ++n) acc[n] = fma(w, all(at[n]), acc[n]);
      };
      const I byte = all_int(0xFF);
      step(four & byte, x);
      step(shift_right<8>(four) & byte, x + NR);
      step(shift_right<16>(four) & byte, x + 2 * NR);
      step(shift_right<24>(four), x + 3 * NR);
      x += 4 * NR;
    });
  }
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) store(sums + n * args.sums_stride, acc[n]);
}

template <typename Panel, int MR, int... NR>
inline void float_tile_of_width(int64_t width, const MultiplyArgs& args, int64_t begin, int64_t end,
                                const float* x, float* sums) {
  using Tile = void (*)(const MultiplyArgs&, int64_t, int64_t, const float*, float*);
  static constexpr Tile kTiles[] = {float_tile<Panel, MR, NR>...};
  kTiles[width - 1](args, begin, end, x, sums);
}

/// All tokens times the panels of `args`: steps are cut so that the panels' slice stays in the
/// first-level cache while the tiles of tokens pass over it.
template <typename Panel>
void multiply_float(const MultiplyArgs& all_args) {
  MultiplyArgs args = all_args;
  if (args.num_panels == 3) {
    multiply_float<Panel>(without_first(args, 1));
    args.num_panels = 1;
  }
  const RowForm& x = *args.x;
  const int64_t slice = x.width == 1 ? x.cols : 16384 / Panel::kPairBytes * 2;
  for (int64_t begin = 0; begin < x.cols; begin += slice) {
    const int64_t end = begin + slice < x.cols ? begin + slice : x.cols;
    for (int64_t t = 0; t < x.tokens; t += x.width) {
      const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
      const float* tile = x.f32 + t * x.cols;
      float* sums = args.sums + t * args.sums_stride;
#if defined(__AVX512F__)
      if (args.num_panels == 1) {
        float_tile_of_width<Panel, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(width, args, begin,
                                                                             end, tile, sums);
      } else if (args.num_panels == 2) {
        float_tile_of_width<Panel, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(width, args, begin,
                                                                             end, tile, sums);
      } else {
        float_tile_of_width<Panel, 4, 1, 2, 3, 4>(width, args, begin, end, tile, sums);
      }
#else
      if (args.num_panels == 1) {
        float_tile_of_width<Panel, 1, 1, 2, 3, 4, 5, 6>(width, args, begin, end, tile, sums);
      } else if (args.num_panels == 2) {
        float_tile_of_width<Panel, 2, 1, 2>(width, args, begin, end, tile, sums);
      } else {
        float_tile_of_width<Panel, 4, 1>(width, args, begin, end, tile, sums);
      }
#endif
    }
  }
}

template <typename Panel, int... NR>
inline void widened_tile_of_width(int64_t width, const MultiplyArgs& args, int panel,
                                  const float* x, float* sums) {
  using Tile = void (*)(const MultiplyArgs&, int, const float*, float*);
  static constexpr Tile kTiles[] = {widened_tile<Panel, NR>...};
  kTiles[width - 1](args, panel, x, sums);
}

template <typename Panel>
void multiply_widened(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  for (int panel = 0; panel < args.num_panels; ++panel) {
    for (int64_t t = 0; t < x.tokens; t += x.width) {
      const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
      const float* tile = x.f32 + t * x.cols;
      float* sums = args.sums + t * args.sums_stride + panel * kLanes;
#if defined(__AVX512F__)
      widened_tile_of_width<Panel, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(width, args, panel, tile,
                                                                          sums);
#else
      widened_tile_of_width<Panel, 1, 2, 3, 4, 5, 6>(width, args, panel, tile, sums);
#endif
    }
  }
}

/// The float panel of a type that has one.
template <typename Format>
struct FloatPanelOf;
template <>
struct FloatPanelOf<F32> : F32Panel {};
template <>
struct FloatPanelOf<F16> : F16Panel {};
template <>
struct FloatPanelOf<BF16> : BF16Panel {};
template <>
struct FloatPanelOf<FP8_E4M3> : FP8Panel {};

}  // namespace
}  // namespace quern::cpu
