// Products with panels of one scale a row: a tile is nothing but integer products, summed exactly
// over the whole row in int32, and then
//   sum = float(isum) * (weight scale * activation scale)
// So the bits depend neither on the tile nor on the level. Between slices of the row the integers
// wait where the sums will be.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/int_tiles.h"
#include "exec/cpu/kernels/tiles.h"

namespace quern::cpu {
namespace {

#if defined(__AVX512F__)

/// 4 panels x 6 tokens: 24 of 32 registers; 4 tokens where a product needs more than one register.
constexpr int64_t kRowWidth = Dot::kStartsFromOffset ? 6 : 4;
constexpr int kRowPanels = 4;
/// Steps of 64 that all tiles pass over before the next ones: 16 KiB of four panels.
constexpr int64_t kRowSlice = 4;

/// What add_part() needs to know of a panel.
template <typename Panel>
struct AsRows {
  static constexpr int64_t kTokenBytes = Panel::kTokenBytes;
  static constexpr bool kIs8Bit = true;
  static constexpr int kParts = Panel::kParts;

  template <int g>
  static Bytes group(const std::byte* half_step) {
    return Panel::template group<g, Bytes>(half_step);
  }
};

/// sums[n][m] (+)= panels over steps [begin, end) for the NR tokens from `token` on.
template <typename Panel, int MR, int NR>
void row_tile(const MultiplyArgs& args, int64_t begin, int64_t end, int64_t token) {
  const RowForm& x = *args.x;
  const int64_t steps = Panel::steps(x.cols);
  const int8_t* q = x.q + (token * steps + begin * NR) * Panel::kTokenBytes;
  float* const sums = args.sums + token * args.sums_stride;

  __m512i isum[MR][NR];
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    const __m512i start = Dot::kStartsFromOffset
                              ? _mm512_slli_epi32(_mm512_set1_epi32(x.neg_sum[token + n]),
                                                  __builtin_ctz(Panel::kZero))
                              : _mm512_setzero_si512();
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      isum[m][n] =
          begin == 0 ? start : _mm512_loadu_si512(sums + n * args.sums_stride + m * kLanes);
    }
  }
  const std::byte* p[MR];
  QUERN_UNROLL
  for (int m = 0; m < MR; ++m) p[m] = args.panels[m] + begin * Panel::kStepBytes;
  // The only tile of a pass streams the weights from memory, and at a panel's end reads ahead in
  // the panel that comes next.
  const bool streams = x.tokens == NR;
  constexpr int64_t kAheadSteps = kAheadBytes / Panel::kStepBytes;
  const int64_t last_ahead = steps - kAheadSteps;

  for (int64_t s = begin; s < end; ++s) {
    if (streams) {
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) {
        const std::byte* const ahead =
            s < last_ahead ? p[m] + kAheadBytes
                           : args.next_panels[m] + (s - last_ahead) * Panel::kStepBytes;
        for (int64_t line = 0; line < Panel::kStepBytes; line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(ahead + line), _MM_HINT_T0);
        }
      }
    }
    for (int half = 0; half < 2; ++half) {
      add_part<AsRows<Panel>, 0>(isum, p, q + half * 32);
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) p[m] += Panel::kStepBytes / 2;
    }
    q += NR * Panel::kTokenBytes;
  }
  QUERN_UNROLL
  for (int m = 0; m < MR; ++m) {
    const __m512 w_scale = _mm512_load_ps(args.panels[m] + Panel::scales_at(x.cols));
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) {
      float* const to = sums + n * args.sums_stride + m * kLanes;
      if (end < steps) {
        _mm512_storeu_si512(to, isum[m][n]);
      } else {
        const __m512 scale = _mm512_mul_ps(w_scale, _mm512_set1_ps(x.scale[token + n]));
        _mm512_storeu_ps(to, _mm512_mul_ps(_mm512_cvtepi32_ps(isum[m][n]), scale));
      }
    }
  }
}

TileShape row_shape(int64_t tokens) {
  if (tokens <= 1) return {1, kRowPanels};
  const int64_t tiles = (tokens + kRowWidth - 1) / kRowWidth;
  return {static_cast<int>((tokens + tiles - 1) / tiles), panels_of_call(tokens, kRowPanels)};
}

template <typename Panel, int MR, int... NR>
inline void row_tile_of_width(int64_t width, const MultiplyArgs& args, int64_t begin, int64_t end,
                              int64_t token) {
  using Tile = void (*)(const MultiplyArgs&, int64_t, int64_t, int64_t);
  static constexpr Tile kTiles[] = {row_tile<Panel, MR, NR>...};
  kTiles[width - 1](args, begin, end, token);
}

/// All tokens times the panels of `args`, four at once or one by one.
template <typename Panel>
void multiply_rows(const MultiplyArgs& args) {
  const int four = args.num_panels / kRowPanels * kRowPanels;
  if (four > 0 && four < args.num_panels) {
    multiply_rows<Panel>(some_panels(args, 0, four));
    return multiply_rows<Panel>(some_panels(args, four, args.num_panels - four));
  }
  const RowForm& x = *args.x;
  const int64_t steps = Panel::steps(x.cols);
  const int64_t tiles = (x.tokens + x.width - 1) / x.width;
  const Slicing cut = {.steps = steps,
                       .slice = tiles == 1 ? steps : kRowSlice,
                       .step_bytes = Panel::kStepBytes,
                       .together = four > 0 ? kRowPanels : 1,
                       .tiles = tiles,
                       .ahead_steps = tiles == 1 ? 0 : kRowSlice};
  for_slices(
      args, cut, [&](const MultiplyArgs& some, int64_t begin, int64_t end, SliceAhead& ahead) {
        for (int64_t t = 0; t < x.tokens; t += x.width) {
          const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
          if (tiles > 1) ahead.read_some();
          if (some.num_panels == kRowPanels) {
            row_tile_of_width<Panel, kRowPanels, 1, 2, 3, 4, 5, 6>(width, some, begin, end, t);
          } else {
            row_tile_of_width<Panel, 1, 1, 2, 3, 4, 5, 6>(width, some, begin, end, t);
          }
        }
      });
}

#else

/// sums[n] (+)= eight rows of one panel over steps [begin, end).
template <typename Panel, int NR>
void row_tile(const MultiplyArgs& args, int half, int64_t begin, int64_t end, int64_t token) {
  const RowForm& x = *args.x;
  const int64_t steps = Panel::steps(x.cols);
  const int8_t* q = x.q + (token * steps + begin * NR) * Panel::kTokenBytes;
  const int row = half * 8;
  const std::byte* p = args.panels[0] + begin * Panel::kStepBytes + row * 4;
  float* const sums = args.sums + token * args.sums_stride + row;

  // Two chains for each output: one alone would wait for its own products.
  __m256i isum[NR], other[NR];
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    const void* const before = sums + n * args.sums_stride;
    other[n] = _mm256_setzero_si256();
    isum[n] = begin > 0           ? _mm256_loadu_si256(static_cast<const __m256i*>(before))
              : kStartsFromOffset ? _mm256_slli_epi32(_mm256_set1_epi32(x.neg_sum[token + n]),
                                                      __builtin_ctz(Panel::kZero))
                                  : _mm256_setzero_si256();
  }
  for (int64_t s = begin; s < end; ++s) {
    if (NR == 1) {
      _mm_prefetch(reinterpret_cast<const char*>(p + 4096), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(p + 4096 + Panel::kStepBytes / 2), _MM_HINT_T0);
    }
    add_part<Panel, 0>(isum, p, q);
    add_part<Panel, 0>(other, p + Panel::kStepBytes / 2, q + 32);
    p += Panel::kStepBytes;
    q += NR * Panel::kTokenBytes;
  }
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) isum[n] = _mm256_add_epi32(isum[n], other[n]);
  const auto* const scales =
      reinterpret_cast<const float*>(args.panels[0] + Panel::scales_at(x.cols));
  const __m256 w_scale = _mm256_loadu_ps(scales + row);
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    float* const to = sums + n * args.sums_stride;
    if (end < steps) {
      _mm256_storeu_si256(static_cast<__m256i*>(static_cast<void*>(to)), isum[n]);
    } else {
      const __m256 scale = _mm256_mul_ps(w_scale, _mm256_set1_ps(x.scale[token + n]));
      _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(isum[n]), scale));
    }
  }
}

TileShape row_shape(int64_t tokens) { return int8_shape(tokens); }

template <typename Panel, int... NR>
inline void row_tile_of_width(int64_t width, const MultiplyArgs& args, int64_t begin, int64_t end,
                              int64_t token) {
  using Tile = void (*)(const MultiplyArgs&, int, int64_t, int64_t, int64_t);
  static constexpr Tile kTiles[] = {row_tile<Panel, NR>...};
  kTiles[width - 1](args, 0, begin, end, token);
  kTiles[width - 1](args, 1, begin, end, token);
}

template <typename Panel>
void multiply_rows(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  // As in int_tiles_avx2.h: both halves of each line while it is in the first-level cache.
  const Slicing cut = {.steps = Panel::steps(x.cols),
                       .slice = 8192 / Panel::kStepBytes,
                       .step_bytes = Panel::kStepBytes};
  for_slices(args, cut, [&](const MultiplyArgs& panel, int64_t begin, int64_t end, SliceAhead&) {
    for (int64_t t = 0; t < x.tokens; t += x.width) {
      const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
      row_tile_of_width<Panel, 1, 2, 3, 4>(width, panel, begin, end, t);
    }
  });
}

#endif

}  // namespace
}  // namespace quern::cpu
