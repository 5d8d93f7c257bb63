// Products with bf16 panels by VDPBF16PS: two steps an instruction, one lane per output, pairs of
// steps ascending. The activations are rounded to bf16 too and the instruction has a rounding of
// its own, so these bits are those of this level alone.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/float_tiles.h"
#include "exec/cpu/kernels/tiles.h"

namespace quern::cpu {
namespace {

/// Written out, because clang 16 ends with a segmentation fault over the intrinsic.
inline void add_pairs(__m512& acc, __m512i w, __m512i x) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
}

/// sums[n][m] (+)= panels over pairs of steps [begin, end).
template <int MR, int NR>
void pair_tile(const MultiplyArgs& args, int64_t begin, int64_t end, const uint32_t* x,
               SliceAhead& ahead, float* sums) {
  __m512 acc[MR][NR];
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      acc[m][n] = begin == 0 ? _mm512_setzero_ps()
                             : _mm512_loadu_ps(sums + n * args.sums_stride + m * kLanes);
    }
  }
  const std::byte* p[MR];
  QUERN_UNROLL
  for (int m = 0; m < MR; ++m) p[m] = args.panels[m] + begin * 64;
  x += begin * NR;
  const bool streaming = is_alone(*args.x, NR);
  const int64_t last_ahead = (args.x->cols + 1) / 2 - kFloatAheadBytes / 64;
  for (int64_t pair = begin; pair < end; ++pair, x += NR) {
    if (!streaming && pair % kAheadPairs == 0) ahead.read_some();
    __m512i w[MR];
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      w[m] = _mm512_load_si512(p[m]);
      if (streaming) {
        const std::byte* next = pair < last_ahead ? p[m] + kFloatAheadBytes
                                                  : args.next_panels[m] + (pair - last_ahead) * 64;
        _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T0);
      }
      p[m] += 64;
    }
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) {
      const __m512i b = _mm512_set1_epi32(static_cast<int32_t>(x[n]));
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) add_pairs(acc[m][n], w[m], b);
    }
  }
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      _mm512_storeu_ps(sums + n * args.sums_stride + m * kLanes, acc[m][n]);
    }
  }
}

template <int MR, int... NR>
inline void pair_tile_of_width(int64_t width, const MultiplyArgs& args, int64_t begin, int64_t end,
                               const uint32_t* x, SliceAhead& ahead, float* sums) {
  using Tile =
      void (*)(const MultiplyArgs&, int64_t, int64_t, const uint32_t*, SliceAhead&, float*);
  static constexpr Tile kTiles[] = {pair_tile<MR, NR>...};
  kTiles[width - 1](args, begin, end, x, ahead, sums);
}

void multiply_pairs(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  const int64_t pairs = (x.cols + 1) / 2;
  const int64_t slice = is_alone(x, x.tokens) ? pairs : 256;
  const int64_t tiles = (x.tokens + x.width - 1) / x.width;
  const Slicing cut = {.steps = pairs,
                       .slice = slice,
                       .step_bytes = 64,
                       .together = float_tile_panels(x.width),
                       .tiles = tiles,
                       .ahead_steps = is_alone(x, x.tokens) ? 0 : kAheadPairs};
  const auto pass = [&](const MultiplyArgs& some, int64_t begin, int64_t end, SliceAhead& ahead) {
    for (int64_t t = 0; t < x.tokens; t += x.width) {
      const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
      const uint32_t* tile = x.pairs + t * pairs;
      float* sums = some.sums + t * some.sums_stride;
      if (some.num_panels == 1) {
        pair_tile_of_width<1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(width, some, begin, end, tile,
                                                                     ahead, sums);
      } else if (some.num_panels == 2) {
        pair_tile_of_width<2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(width, some, begin, end, tile,
                                                                     ahead, sums);
      } else {
        pair_tile_of_width<4, 1, 2, 3, 4>(width, some, begin, end, tile, ahead, sums);
      }
    }
  };
  for_slices(
      args, cut, [&](const MultiplyArgs& all, int64_t begin, int64_t end, SliceAhead& ahead) {
        without_threes(all, [&](const MultiplyArgs& some) { pass(some, begin, end, ahead); });
      });
}

}  // namespace
}  // namespace quern::cpu
