// Products with integer panels in 256-bit registers: the arithmetic of int_tiles_avx512.h, lane by
// lane, eight rows of a panel at a time so that the tile fits 16 registers.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/rows.h"

namespace quern::cpu {
namespace {

inline __m256i broadcast4(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}

inline __m256i load_half(const std::byte* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

#if defined(__AVXVNNI__)

/// acc += w . x in groups of four bytes, w unsigned, x signed.
inline __m256i dot(__m256i acc, __m256i w, __m256i x) { return _mm256_dpbusd_avx_epi32(acc, w, x); }

struct Q8_0Block {
  static constexpr int64_t kQuantBytes = 512;
  static constexpr int kOffsetBits = 7;
  static constexpr bool kHasMinimum = false;
  static constexpr bool kStartsFromOffset = true;

  template <int NR>
  static inline __attribute__((always_inline)) void add(__m256i (&sums)[NR], const std::byte* p,
                                                        const int8_t* x) {
    QUERN_UNROLL
    for (int g = 0; g < 8; ++g) {
      const __m256i w = load_half(p + g * 64);
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) sums[n] = dot(sums[n], w, broadcast4(x + n * 32 + g * 4));
    }
  }
};

struct NibbleBlock {
  static constexpr int64_t kQuantBytes = 256;

  template <int NR>
  static inline __attribute__((always_inline)) void add(__m256i (&sums)[NR], const std::byte* p,
                                                        const int8_t* x) {
    const __m256i mask = _mm256_set1_epi8(0x0F);
    QUERN_UNROLL
    for (int g = 0; g < 4; ++g) {
      const __m256i both_nibbles = load_half(p + g * 64);
      const __m256i low = _mm256_and_si256(both_nibbles, mask);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both_nibbles, 4), mask);
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        sums[n] = dot(sums[n], low, broadcast4(x + n * 32 + g * 4));
        sums[n] = dot(sums[n], high, broadcast4(x + n * 32 + 16 + g * 4));
      }
    }
  }
};

#else

inline __m256i widen_pairs(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

struct Q8_0Block {
  static constexpr int64_t kQuantBytes = 512;
  static constexpr int kOffsetBits = 7;
  static constexpr bool kHasMinimum = false;
  static constexpr bool kStartsFromOffset = false;

  // Multiplying bytes in pairs saturates at 16 bits: 2 * 255 * 127 would. So the weights' signs are
  // given to x: 2 * 128 * 127 = 32512 fits, and -128 is as good as any other.
  template <int NR>
  static inline __attribute__((always_inline)) void add(__m256i (&sums)[NR], const std::byte* p,
                                                        const int8_t* x) {
    const __m256i top = _mm256_set1_epi8(static_cast<char>(0x80));
    QUERN_UNROLL
    for (int g = 0; g < 8; ++g) {
      const __m256i w = _mm256_xor_si256(load_half(p + g * 64), top);
      const __m256i magnitude = _mm256_abs_epi8(w);
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        const __m256i signed_x = _mm256_sign_epi8(broadcast4(x + n * 32 + g * 4), w);
        sums[n] = _mm256_add_epi32(sums[n], widen_pairs(_mm256_maddubs_epi16(magnitude, signed_x)));
      }
    }
  }
};

struct NibbleBlock {
  static constexpr int64_t kQuantBytes = 256;

  // 8 pairs of 15 * 127 are 30480: a whole block fits 16 bits and is widened once.
  template <int NR>
  static inline __attribute__((always_inline)) void add(__m256i (&sums)[NR], const std::byte* p,
                                                        const int8_t* x) {
    const __m256i mask = _mm256_set1_epi8(0x0F);
    __m256i pairs[NR];
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) pairs[n] = _mm256_setzero_si256();
    QUERN_UNROLL
    for (int g = 0; g < 4; ++g) {
      const __m256i both_nibbles = load_half(p + g * 64);
      const __m256i low = _mm256_and_si256(both_nibbles, mask);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both_nibbles, 4), mask);
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        pairs[n] =
            _mm256_add_epi16(pairs[n], _mm256_maddubs_epi16(low, broadcast4(x + n * 32 + g * 4)));
        pairs[n] = _mm256_add_epi16(
            pairs[n], _mm256_maddubs_epi16(high, broadcast4(x + n * 32 + 16 + g * 4)));
      }
    }
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) sums[n] = _mm256_add_epi32(sums[n], widen_pairs(pairs[n]));
  }
};

#endif

struct Q4_0Block : NibbleBlock {
  static constexpr int kOffsetBits = 3;
  static constexpr bool kHasMinimum = false;
  static constexpr bool kStartsFromOffset = true;
};
struct Q4_1Block : NibbleBlock {
  static constexpr int kOffsetBits = 0;
  static constexpr bool kHasMinimum = true;
  static constexpr bool kStartsFromOffset = false;
};

constexpr int kIntWidth = 4;

/// sums[n] (+)= rows 8 * half .. 8 * half + 7 of one panel over blocks [begin, end).
template <typename Block, int NR>
void int_tile(const MultiplyArgs& args, int panel, int half, int64_t begin, int64_t end,
              int64_t place, float* sums) {
  const int64_t blocks = args.x->cols / 32;
  const int8_t* q = args.x->q + (place + begin * NR) * 32;
  const float* x_scale = args.x->scale + place + begin * NR;
  const int32_t* neg_sum = args.x->neg_sum + place + begin * NR;
  const float* scaled_sum = args.x->scaled_sum + place + begin * NR;
  const std::byte* p = args.panels[panel] + begin * Block::kQuantBytes + half * 32;
  const std::byte* scales =
      args.panels[panel] + blocks * Block::kQuantBytes + begin * 32 + half * 16;
  const auto load_scales = [](const std::byte* at) {
    return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(at)));
  };
  sums += half * 8;

  __m256 acc[NR];
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    acc[n] = begin == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(sums + n * args.sums_stride);
  }
  for (int64_t b = begin; b < end; ++b) {
    if (NR == 1) _mm_prefetch(reinterpret_cast<const char*>(p + 4096), _MM_HINT_T0);
    __m256i isum[NR];
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) {
      isum[n] = Block::kStartsFromOffset
                    ? _mm256_slli_epi32(_mm256_set1_epi32(neg_sum[n]), Block::kOffsetBits)
                    : _mm256_setzero_si256();
    }
    Block::template add<NR>(isum, p, q);

    const __m256 w_scale = load_scales(scales);
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) {
      acc[n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum[n]),
                               _mm256_mul_ps(w_scale, _mm256_set1_ps(x_scale[n])), acc[n]);
    }
    if constexpr (Block::kHasMinimum) {
      const __m256 minimum = load_scales(scales + blocks * 32);
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        acc[n] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(scaled_sum[n]), acc[n]);
      }
    }
    p += Block::kQuantBytes;
    scales += 32;
    q += NR * 32;
    x_scale += NR;
    neg_sum += NR;
    scaled_sum += NR;
  }
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) _mm256_storeu_ps(sums + n * args.sums_stride, acc[n]);
}

TileShape int8_shape(int64_t tokens) {
  if (tokens <= 1) return {1, 1};
  const int64_t tiles = (tokens + kIntWidth - 1) / kIntWidth;
  return {static_cast<int>((tokens + tiles - 1) / tiles), 1};
}

template <typename Block, int... NR>
inline void int_tile_of_width(int64_t width, const MultiplyArgs& args, int panel, int64_t begin,
                              int64_t end, int64_t place, float* sums) {
  using Tile = void (*)(const MultiplyArgs&, int, int, int64_t, int64_t, int64_t, float*);
  static constexpr Tile kTiles[] = {int_tile<Block, NR>...};
  kTiles[width - 1](args, panel, 0, begin, end, place, sums);
  kTiles[width - 1](args, panel, 1, begin, end, place, sums);
}

template <typename Block>
void multiply_int8(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  const int64_t blocks = x.cols / 32;
  // One token reads both halves of each line while it is in the first-level cache; many tokens
  // keep a slice of the panel there.
  const int64_t slice = 8192 / Block::kQuantBytes;
  for (int panel = 0; panel < args.num_panels; ++panel) {
    for (int64_t begin = 0; begin < blocks; begin += slice) {
      const int64_t end = begin + slice < blocks ? begin + slice : blocks;
      for (int64_t t = 0; t < x.tokens; t += x.width) {
        const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
        float* sums = args.sums + t * args.sums_stride + panel * kLanes;
        int_tile_of_width<Block, 1, 2, 3, 4>(width, args, panel, begin, end, t * blocks, sums);
      }
    }
  }
}

}  // namespace
}  // namespace quern::cpu
