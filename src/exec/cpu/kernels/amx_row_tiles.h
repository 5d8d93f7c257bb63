// Products with panels of one scale a row by AMX, in the arithmetic of row_tiles.h. A tile of
// weights is a step of 64 of a panel as it lies there, a tile of tokens one of the activations, so
// nothing is unpacked: two panels times two tiles of tokens are four tiles of sums.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/amx_tiles.h"

namespace quern::cpu {
namespace {

/// Fewer tokens than this are multiplied by vectors: weights come from memory no faster.
constexpr int64_t kAmxRowTokens = 8;
/// Steps of 64 that all tiles pass over before the next ones: 16 KiB of two panels.
constexpr int64_t kAmxRowSlice = 8;

// Tile registers: 0 to 3 sums, 2 * panel + token tile; 4 and 5 tokens; 6 and 7 weights.
inline void configure_row_tiles(int64_t width, int64_t second_width) {
  TileConfig config;
  for (int i = 0; i < 6; ++i) config.set(i, i % 2 == 0 ? width : second_width, 64);
  for (int i = 6; i < 8; ++i) config.set(i, kPanelRows, 64);
  asm volatile("ldtilecfg %0" : : "m"(config));
}

template <int kTile>
inline void load_tile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%[from], %[stride], 1), %%tmm%c[tile]"
               :
               : [from] "r"(from), [stride] "r"(stride), [tile] "i"(kTile)
               : "memory");
}
template <int kTile>
inline void store_tile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c[tile], (%[to], %[stride], 1)"
               :
               : [to] "r"(to), [stride] "r"(stride), [tile] "i"(kTile)
               : "memory");
}
template <int kTile>
inline void clear_tile() {
  asm volatile("tilezero %%tmm%c[tile]" : : [tile] "i"(kTile));
}
/// Sums += tokens x weights, signed times unsigned.
template <int kPanel, int kTokens>
inline void multiply_tiles() {
  asm volatile("tdpbsud %%tmm%c[w], %%tmm%c[x], %%tmm%c[sums]"
               :
               : [w] "i"(6 + kPanel), [x] "i"(4 + kTokens), [sums] "i"(2 * kPanel + kTokens));
}

/// Calls body(panel, token tile) for MR panels and NT token tiles.
template <int MR, int NT, typename Body>
inline __attribute__((always_inline)) void for_sums(const Body& body) {
  body(Number<0>(), Number<0>());
  if constexpr (NT == 2) body(Number<0>(), Number<1>());
  if constexpr (MR == 2) body(Number<1>(), Number<0>());
  if constexpr (MR == 2 && NT == 2) body(Number<1>(), Number<1>());
}

/// sums[n][m] (+)= MR panels over steps [begin, end) for NT tiles of tokens from `token` on, of
/// x.width tokens but for the last of all.
template <typename Panel, int MR, int NT>
void amx_row_tiles(const MultiplyArgs& args, int64_t begin, int64_t end, int64_t token,
                   SliceAhead& ahead) {
  const RowForm& x = *args.x;
  const int64_t steps = Panel::steps(x.cols);
  const int64_t sums_bytes = args.sums_stride * 4;
  int64_t width[NT];
  const int8_t* q[NT];
  float* sums[NT];
  for (int n = 0; n < NT; ++n) {
    const int64_t first = token + n * x.width;
    width[n] = x.tokens - first < x.width ? x.tokens - first : x.width;
    q[n] = x.q + (first * steps + begin * width[n]) * Panel::kTokenBytes;
    sums[n] = args.sums + first * args.sums_stride;
  }
  for_sums<MR, NT>([&](auto m, auto n) __attribute__((always_inline)) {
    constexpr int kTile = 2 * m.kValue + n.kValue;
    if (begin == 0) {
      clear_tile<kTile>();
    } else {
      load_tile<kTile>(sums[n.kValue] + m.kValue * kPanelRows, sums_bytes);
    }
  });
  for (int64_t s = begin; s < end; ++s) {
    ahead.read_some();
    load_tile<6>(args.panels[0] + s * Panel::kStepBytes, 64);
    if constexpr (MR == 2) load_tile<7>(args.panels[1] + s * Panel::kStepBytes, 64);
    load_tile<4>(q[0], 64);
    q[0] += width[0] * Panel::kTokenBytes;
    if constexpr (NT == 2) {
      load_tile<5>(q[1], 64);
      q[1] += width[1] * Panel::kTokenBytes;
    }
    for_sums<MR, NT>([&](auto m, auto n)
                         __attribute__((always_inline)) { multiply_tiles<m.kValue, n.kValue>(); });
  }
  for_sums<MR, NT>([&](auto m, auto n) __attribute__((always_inline)) {
    store_tile<2 * m.kValue + n.kValue>(sums[n.kValue] + m.kValue * kPanelRows, sums_bytes);
  });
  if (end < steps) return;
  for (int m = 0; m < MR; ++m) {
    const __m512 w_scale = _mm512_load_ps(args.panels[m] + Panel::scales_at(x.cols));
    for (int n = 0; n < NT; ++n) {
      for (int64_t i = 0; i < width[n]; ++i) {
        const int64_t t = token + n * x.width + i;
        float* const to = args.sums + t * args.sums_stride + m * kPanelRows;
        const __m512i from_zero =
            _mm512_slli_epi32(_mm512_set1_epi32(x.neg_sum[t]), __builtin_ctz(Panel::kZero));
        const __m512i isum = _mm512_add_epi32(_mm512_loadu_si512(to), from_zero);
        const __m512 scale = _mm512_mul_ps(w_scale, _mm512_set1_ps(x.scale[t]));
        _mm512_storeu_ps(to, _mm512_mul_ps(_mm512_cvtepi32_ps(isum), scale));
      }
    }
  }
}

template <typename Panel>
void multiply_amx_rows(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  const int64_t steps = Panel::steps(x.cols);
  const int64_t pairs = (x.tokens + 2 * x.width - 1) / (2 * x.width);  // of token tiles
  int64_t first_width = 0, second_width = 0;                           // as tiles are configured
  const int64_t slice = pairs == 1 ? steps : kAmxRowSlice;
  const Slicing cut = {.steps = steps,
                       .slice = slice,
                       .step_bytes = Panel::kStepBytes,
                       .together = kAmxPanels,
                       .tiles = pairs,
                       .ahead_steps = 1};
  for_slices(
      args, cut, [&](const MultiplyArgs& some, int64_t begin, int64_t end, SliceAhead& ahead) {
        for (int64_t t = 0; t < x.tokens; t += 2 * x.width) {
          const int64_t left = x.tokens - t;
          const bool alone = left <= x.width;
          const int64_t first = alone ? left : x.width;
          const int64_t second = alone ? left : left < 2 * x.width ? left - x.width : x.width;
          if (first != first_width || second != second_width) configure_row_tiles(first, second);
          first_width = first;
          second_width = second;
          if (some.num_panels == 2) {
            alone ? amx_row_tiles<Panel, 2, 1>(some, begin, end, t, ahead)
                  : amx_row_tiles<Panel, 2, 2>(some, begin, end, t, ahead);
          } else {
            alone ? amx_row_tiles<Panel, 1, 1>(some, begin, end, t, ahead)
                  : amx_row_tiles<Panel, 1, 2>(some, begin, end, t, ahead);
          }
        }
      });
  release_tiles();
}

}  // namespace
}  // namespace quern::cpu
