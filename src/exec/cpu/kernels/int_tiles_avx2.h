// Products with integer panels in 256-bit registers: the arithmetic of int_tiles_avx512.h, lane by
// lane, eight rows of a panel at a time so that the tile fits 16 registers.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/tiles.h"

namespace quern::cpu {
namespace {

inline __m256i broadcast4(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}

#if defined(__AVXVNNI__)

/// sums[n] += the exact products of part `part` of one block, w unsigned, x signed.
template <typename Panel, int part, int NR>
inline __attribute__((always_inline)) void add_part(__m256i (&sums)[NR], const std::byte* p,
                                                    const int8_t* x) {
  for_groups([&](auto group) __attribute__((always_inline)) {
    // Groups that share a line of nibbles come together; a part is groups that stand together.
    constexpr int i = decltype(group)::kValue;
    constexpr int g = Panel::kParts == 1 ? i / 2 + i % 2 * 4 : i;
    if constexpr (g * Panel::kParts / 8 == part) {
      const __m256i w = Panel::template group<g, Bytes>(p).v;
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        sums[n] =
            _mm256_dpbusd_avx_epi32(sums[n], w, broadcast4(x + n * Panel::kTokenBytes + g * 4));
      }
    }
  });
}
constexpr bool kStartsFromOffset = true;

#else

inline __m256i widen_pairs(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

// Multiplying bytes in pairs saturates at 16 bits. Two products of 15 * 127 are 3810: eight groups
// fit, of 31 * 127 four, of 63 * 127 two, and then they are widened. Two of 255 * 127 do not fit:
// the weights' signs are given to x, and 2 * 128 * 127 = 32512 does; -128 is as good as any other.
template <typename Panel, int part, int NR>
inline __attribute__((always_inline)) void add_part(__m256i (&sums)[NR], const std::byte* p,
                                                    const int8_t* x) {
  constexpr int kGroupsThatFit = Panel::kBits == 4 ? 8 : Panel::kBits == 5 ? 4 : 2;
  constexpr int kGroups = 8 / Panel::kParts;
  __m256i pairs[NR];
  for_groups([&](auto number) __attribute__((always_inline)) {
    constexpr int i = decltype(number)::kValue;
    constexpr int g = Panel::kParts == 1 ? i / 2 + i % 2 * 4 : i;
    if constexpr (g * Panel::kParts / 8 == part) {
      const __m256i w = Panel::template group<g, Bytes>(p).v;
      if constexpr (Panel::kBits == 8) {
        const __m256i top = _mm256_set1_epi8(static_cast<char>(0x80));
        const __m256i is = _mm256_xor_si256(w, top);
        const __m256i magnitude = _mm256_abs_epi8(is);
        QUERN_UNROLL
        for (int n = 0; n < NR; ++n) {
          const __m256i signed_x =
              _mm256_sign_epi8(broadcast4(x + n * Panel::kTokenBytes + g * 4), is);
          sums[n] =
              _mm256_add_epi32(sums[n], widen_pairs(_mm256_maddubs_epi16(magnitude, signed_x)));
        }
      } else {
        constexpr int kNow = i % kGroups % kGroupsThatFit;
        QUERN_UNROLL
        for (int n = 0; n < NR; ++n) {
          const __m256i product =
              _mm256_maddubs_epi16(w, broadcast4(x + n * Panel::kTokenBytes + g * 4));
          pairs[n] = kNow == 0 ? product : _mm256_add_epi16(pairs[n], product);
        }
        if constexpr (kNow == kGroupsThatFit - 1 || i % kGroups == kGroups - 1) {
          QUERN_UNROLL
          for (int n = 0; n < NR; ++n) sums[n] = _mm256_add_epi32(sums[n], widen_pairs(pairs[n]));
        }
      }
    }
  });
}
constexpr bool kStartsFromOffset = false;  // with 8-bit weights

#endif

constexpr int kIntWidth = 4;

/// sums[n] (+)= rows 8 * half .. 8 * half + 7 of one panel over blocks [begin, end).
template <typename Panel, int NR>
void int_tile(const MultiplyArgs& args, int half, int64_t begin, int64_t end, int64_t place,
              float* sums) {
  const int64_t blocks = args.x->cols / 32;
  const int8_t* q = args.x->q + (place + begin * NR) * 32;
  const float* x_scale = args.x->scale + place + begin * NR;
  const int32_t* neg_sum = Panel::kParts == 1 ? args.x->neg_sum + place + begin * NR
                                              : args.x->neg_half_sum + (place + begin * NR) * 2;
  const float* scaled_sum = args.x->scaled_sum + place + begin * NR;
  const std::byte* p = args.panels[0] + begin * Panel::kQuantBytes + half * 32;
  const std::byte* const scales = args.panels[0] + blocks * Panel::kQuantBytes;
  const int row = half * 8;
  sums += row;

  __m256 acc[NR];
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    acc[n] = begin == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(sums + n * args.sums_stride);
  }
  for (int64_t b = begin; b < end; ++b) {
    if (NR == 1) _mm_prefetch(reinterpret_cast<const char*>(p + 4096), _MM_HINT_T0);
    const auto add = [&](auto number) __attribute__((always_inline)) {
      constexpr int part = decltype(number)::kValue;
      __m256i isum[NR];
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        isum[n] = _mm256_setzero_si256();
        if constexpr (Panel::kZero != 0 && (Panel::kBits != 8 || kStartsFromOffset)) {
          isum[n] = _mm256_slli_epi32(_mm256_set1_epi32(neg_sum[part * NR + n]),
                                      __builtin_ctz(Panel::kZero));
        }
      }
      add_part<Panel, part>(isum, p, q);
      const __m256 w_scale = Panel::template scale<HalfF>(scales, b, part, row).v;
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        acc[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum[n]),
                                 _mm256_mul_ps(w_scale, _mm256_set1_ps(x_scale[n])), acc[n]);
      }
    };
    add(Number<0>());
    if constexpr (Panel::kParts == 2) add(Number<1>());
    if constexpr (Panel::kHasMinimum) {
      const __m256 minimum = Panel::template minimum<HalfF>(scales, b, row).v;
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        acc[n] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(scaled_sum[n]), acc[n]);
      }
    }
    p += Panel::kQuantBytes;
    q += NR * 32;
    x_scale += NR;
    neg_sum += Panel::kParts * NR;
    scaled_sum += NR;
  }
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) _mm256_storeu_ps(sums + n * args.sums_stride, acc[n]);
}

TileShape int8_shape(int64_t tokens) {
  if (tokens <= 1) return {1, 1};
  const int64_t tiles = (tokens + kIntWidth - 1) / kIntWidth;
  return {static_cast<int>((tokens + tiles - 1) / tiles), panels_of_call(tokens, 1)};
}

template <typename Panel, int... NR>
inline void int_tile_of_width(int64_t width, const MultiplyArgs& args, int64_t begin, int64_t end,
                              int64_t place, float* sums) {
  using Tile = void (*)(const MultiplyArgs&, int, int64_t, int64_t, int64_t, float*);
  static constexpr Tile kTiles[] = {int_tile<Panel, NR>...};
  kTiles[width - 1](args, 0, begin, end, place, sums);
  kTiles[width - 1](args, 1, begin, end, place, sums);
}

template <typename Panel>
void multiply_int8(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  const int64_t blocks = x.cols / 32;
  // One token reads both halves of each line while it is in the first-level cache; many tokens
  // keep a slice of the panel there.
  const Slicing cut = {
      .steps = blocks, .slice = 8192 / Panel::kQuantBytes, .step_bytes = Panel::kQuantBytes};
  for_slices(args, cut, [&](const MultiplyArgs& panel, int64_t begin, int64_t end, SliceAhead&) {
    for (int64_t t = 0; t < x.tokens; t += x.width) {
      const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
      float* const sums = panel.sums + t * panel.sums_stride;
      int_tile_of_width<Panel, 1, 2, 3, 4>(width, panel, begin, end, t * blocks, sums);
    }
  });
}

}  // namespace
}  // namespace quern::cpu
