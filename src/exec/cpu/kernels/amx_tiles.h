// Products with integer panels by AMX: one instruction multiplies a block of 32 steps of 16 tokens
// with the same block of 16 rows, in int32, exactly; the scales are applied by vectors, in the
// order of int_tiles_avx512.h. So the bits are those of every other level.
//
// The tile instructions are written out, because GCC 12's intrinsics do not tell the compiler which
// memory they read and write.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/int_tiles_avx512.h"
#include "exec/cpu/kernels/tiles.h"

namespace quern::cpu {
namespace {

/// Fewer tokens than this are multiplied by vectors: tiles have to unpack weights first.
constexpr int64_t kAmxTokens = 15;
constexpr int64_t kAmxWidth = 16;
constexpr int64_t kAmxBlockBytes = 512;  // 8 groups x 16 rows x 4 steps, as signed bytes
constexpr int64_t kAmxPanels = 2;

// Tile registers: 0 sums, 2 tokens, 4 weights; 1 and 3 sums and tokens of a narrower last tile.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int64_t num_rows, int64_t bytes) {
    rows[tile] = static_cast<uint8_t>(num_rows);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

/// Widths 1 to 16; `steps` of a block that one product takes.
inline void configure_tiles(int64_t width, int64_t last_width, int64_t steps) {
  TileConfig config;
  config.set(0, width, 64);
  config.set(1, last_width, 64);
  config.set(2, width, steps);
  config.set(3, last_width, steps);
  config.set(4, steps / 4, 64);
  asm volatile("ldtilecfg %0" : : "m"(config));
}
inline void release_tiles() { asm volatile("tilerelease"); }

/// products[token][row] of one of kParts parts of a block: `x` [W][32 bytes], `w` [8][64 bytes], of
/// which the part's come first. `is_last`: with the registers of the last tile.
template <int kParts, int W>
inline __attribute__((always_inline)) void multiply_block(int32_t (*products)[kPanelRows],
                                                          const int8_t* x, const int8_t* w,
                                                          bool is_last) {
  struct X {
    int8_t bytes[(W - 1) * 32 + 32 / kParts];
  };
  struct Weights {
    int8_t bytes[kAmxBlockBytes / kParts];
  };
  struct Products {
    int32_t values[W * kPanelRows];
  };
  const int64_t x_stride = 32, stride = 64;
  // The memory operands say what is read and written; the instructions use the addresses.
  if (is_last) {
    asm volatile(
        "tilezero %%tmm1\n\t"
        "tileloadd (%[x], %[xs], 1), %%tmm3\n\t"
        "tileloadd (%[w], %[s], 1), %%tmm4\n\t"
        "tdpbssd %%tmm4, %%tmm3, %%tmm1\n\t"
        "tilestored %%tmm1, (%[c], %[s], 1)"
        : "=m"(*reinterpret_cast<Products*>(products))
        : [x] "r"(x), [xs] "r"(x_stride), [w] "r"(w), [s] "r"(stride), [c] "r"(products),
          "m"(*reinterpret_cast<const X*>(x)), "m"(*reinterpret_cast<const Weights*>(w)));
  } else {
    asm volatile(
        "tilezero %%tmm0\n\t"
        "tileloadd (%[x], %[xs], 1), %%tmm2\n\t"
        "tileloadd (%[w], %[s], 1), %%tmm4\n\t"
        "tdpbssd %%tmm4, %%tmm2, %%tmm0\n\t"
        "tilestored %%tmm0, (%[c], %[s], 1)"
        : "=m"(*reinterpret_cast<Products*>(products))
        : [x] "r"(x), [xs] "r"(x_stride), [w] "r"(w), [s] "r"(stride), [c] "r"(products),
          "m"(*reinterpret_cast<const X*>(x)), "m"(*reinterpret_cast<const Weights*>(w)));
  }
}

/// sums[n] (+)= one panel over blocks [begin, end), unpacked, for W tokens whose form begins at
/// `place`.
template <typename Source, int W>
void amx_tile(const MultiplyArgs& args, const UnpackedSlice& panel, int64_t begin, int64_t end,
              int64_t place, bool is_last, SliceAhead& ahead, float* sums) {
  constexpr int kParts = Source::kParts;
  const int8_t* q = args.x->q + (place + begin * W) * 32;
  const float* x_scale = args.x->scale + place + begin * W;
  const float* scaled_sum = args.x->scaled_sum + place + begin * W;
  const auto* quants = reinterpret_cast<const int8_t*>(panel.quants);
  alignas(64) int32_t products[2][kParts][W][kPanelRows];

  __m512 acc[W];
  QUERN_UNROLL
  for (int n = 0; n < W; ++n) {
    acc[n] = begin == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + n * args.sums_stride);
  }
  const auto multiply = [&](int64_t b) __attribute__((always_inline)) {
    const int64_t i = b - begin;
    for (int part = 0; part < kParts; ++part) {
      multiply_block<kParts, W>(products[b & 1][part], q + i * W * 32 + part * 16,
                                quants + i * kAmxBlockBytes + part * 256, is_last);
    }
  };
  // The product of the next block is under way while this one is scaled.
  multiply(begin);
  for (int64_t b = begin; b < end; ++b) {
    ahead.read_some();
    if (b + 1 < end) multiply(b + 1);
    for (int part = 0; part < kParts; ++part) {
      const int32_t(*product)[kPanelRows] = products[b & 1][part];
      const __m512 w_scale = Source::scale(panel.scales, b - begin, part).v;
      QUERN_UNROLL
      for (int n = 0; n < W; ++n) {
        acc[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(product[n])),
                                 _mm512_mul_ps(w_scale, _mm512_set1_ps(x_scale[n])), acc[n]);
      }
    }
    if constexpr (Source::kHasMinimum) {
      const __m512 minimum = Source::minimum(panel.scales, b - begin).v;
      QUERN_UNROLL
      for (int n = 0; n < W; ++n) {
        acc[n] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(scaled_sum[n]), acc[n]);
      }
    }
    x_scale += W;
    scaled_sum += W;
  }
  QUERN_UNROLL
  for (int n = 0; n < W; ++n) _mm512_storeu_ps(sums + n * args.sums_stride, acc[n]);
}

template <typename Source, int... W>
inline void amx_tile_of_width(int64_t width, const MultiplyArgs& args, const UnpackedSlice& panel,
                              int64_t begin, int64_t end, int64_t place, bool is_last,
                              SliceAhead& ahead, float* sums) {
  using Tile = void (*)(const MultiplyArgs&, const UnpackedSlice&, int64_t, int64_t, int64_t, bool,
                        SliceAhead&, float*);
  static constexpr Tile kTiles[] = {amx_tile<Source, W>...};
  kTiles[width - 1](args, panel, begin, end, place, is_last, ahead, sums);
}

/// For kAmxTokens and more.
TileShape amx_shape(int64_t tokens) {
  const int64_t tiles = (tokens + kAmxWidth - 1) / kAmxWidth;
  return {static_cast<int>((tokens + tiles - 1) / tiles), panels_of_call(tokens, kAmxPanels)};
}

template <typename Panel>
void multiply_amx(const MultiplyArgs& args) {
  using Source = UnpackedOf<Panel>;
  const RowForm& x = *args.x;
  const int64_t blocks = x.cols / 32;
  const int64_t tiles = (x.tokens + x.width - 1) / x.width;
  const int64_t rest = x.tokens % x.width;
  configure_tiles(x.width, rest == 0 ? x.width : rest, 32 / Source::kParts);
  const Slicing cut = {.steps = blocks,
                       .slice = kSlice,
                       .step_bytes = Panel::kQuantBytes,
                       .together = kAmxPanels,
                       .tiles = tiles * kAmxPanels,
                       .ahead_steps = 1};
  for_slices(
      args, cut, [&](const MultiplyArgs& some, int64_t begin, int64_t end, SliceAhead& ahead) {
        UnpackedSlice unpacked[kAmxPanels];
        for (int m = 0; m < some.num_panels; ++m) {
          unpacked[m].template fill<Panel, true>(some.panels[m], blocks, begin, end);
        }
        for (int64_t t = 0; t < x.tokens; t += x.width) {
          const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
          for (int m = 0; m < some.num_panels; ++m) {
            float* const sums = some.sums + t * some.sums_stride + m * kPanelRows;
            amx_tile_of_width<Source, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16>(
                width, some, unpacked[m], begin, end, t * blocks, width != x.width, ahead, sums);
          }
        }
      });
  release_tiles();
}

}  // namespace
}  // namespace quern::cpu
