// Products with integer panels in 512-bit registers. For each block of 32 steps the products are
// summed exactly in int32, starting from -offset * (sum of x) because the weights are stored
// unsigned, and joined by
//   acc = fma(float(sum), weight scale * activation scale, acc)
//   acc = fma(weight minimum, activation scale * (sum of x), acc)     q4_1
// blocks ascending, one lane per output. So the bits depend neither on the tile nor on the level.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/rows.h"

namespace quern::cpu {
namespace {

/// acc += w . x in groups of four bytes, w unsigned, x signed, |x| <= 127. `Dot` says with which
/// instructions; kOffset products are corrected before the sum starts.
#if defined(__AVX512VNNI__)
struct Dot {
  using Weights = __m512i;
  static constexpr bool kStartsFromOffset = true;
  static Weights q8(__m512i w) { return w; }
  static __m512i add_q8(__m512i acc, Weights w, __m512i x) {
    return _mm512_dpbusd_epi32(acc, w, x);
  }
  static __m512i add_q4(__m512i acc, __m512i w, __m512i x) {
    return _mm512_dpbusd_epi32(acc, w, x);
  }
};
#else
struct Dot {
  // Multiplying bytes in pairs saturates at 16 bits: 2 * 255 * 127 would. So the weights' signs are
  // given to x: 2 * 128 * 127 = 32512 fits, and -128 is as good as any other.
  struct Weights {
    __m512i magnitude;
    __mmask64 negative;
  };
  static constexpr bool kStartsFromOffset = false;
  static Weights q8(__m512i w) {
    const __m512i is = _mm512_xor_si512(w, _mm512_set1_epi8(static_cast<char>(0x80)));
    return {_mm512_abs_epi8(is), _mm512_movepi8_mask(is)};
  }
  static __m512i widen(__m512i acc, __m512i pairs) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  static __m512i add_q8(__m512i acc, Weights w, __m512i x) {
    const __m512i signed_x = _mm512_mask_sub_epi8(x, w.negative, _mm512_setzero_si512(), x);
    return widen(acc, _mm512_maddubs_epi16(w.magnitude, signed_x));
  }
  static __m512i add_q4(__m512i acc, __m512i w, __m512i x) {
    return widen(acc, _mm512_maddubs_epi16(w, x));
  }
};
#endif

inline __m512i broadcast4(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

/// The exact sums of one block: sums[m][n] over 32 steps of MR panels and NR tokens.
struct Q8_0Block {
  static constexpr bool kIsNibbles = false, kManyTiles = false;
  static constexpr int64_t kQuantBytes = 512;
  static constexpr int kOffsetBits = 7;  // 128
  static constexpr bool kHasMinimum = false;
  static constexpr bool kStartsFromOffset = Dot::kStartsFromOffset;

  template <int MR, int NR>
  static inline __attribute__((always_inline)) void add(__m512i (&sums)[MR][NR],
                                                        const std::byte* const (&p)[MR],
                                                        const int8_t* x) {
    QUERN_UNROLL
    for (int g = 0; g < 8; ++g) {
      Dot::Weights w[MR];
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) w[m] = Dot::q8(_mm512_load_si512(p[m] + g * 64));
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        const __m512i four = broadcast4(x + n * 32 + g * 4);
        QUERN_UNROLL
        for (int m = 0; m < MR; ++m) sums[m][n] = Dot::add_q8(sums[m][n], w[m], four);
      }
    }
  }
};

struct NibbleBlock {
  static constexpr bool kIsNibbles = true, kManyTiles = false;
  static constexpr int64_t kQuantBytes = 256;

  template <int MR, int NR>
  static inline __attribute__((always_inline)) void add(__m512i (&sums)[MR][NR],
                                                        const std::byte* const (&p)[MR],
                                                        const int8_t* x) {
    const __m512i mask = _mm512_set1_epi8(0x0F);
    QUERN_UNROLL
    for (int g = 0; g < 4; ++g) {
      __m512i low[MR], high[MR];
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) {
        const __m512i both_nibbles = _mm512_load_si512(p[m] + g * 64);
        low[m] = _mm512_and_si512(both_nibbles, mask);
        high[m] = _mm512_and_si512(_mm512_srli_epi16(both_nibbles, 4), mask);
      }
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        const __m512i four = broadcast4(x + n * 32 + g * 4);
        QUERN_UNROLL
        for (int m = 0; m < MR; ++m) sums[m][n] = Dot::add_q4(sums[m][n], low[m], four);
      }
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        const __m512i four = broadcast4(x + n * 32 + 16 + g * 4);
        QUERN_UNROLL
        for (int m = 0; m < MR; ++m) sums[m][n] = Dot::add_q4(sums[m][n], high[m], four);
      }
    }
  }
};
struct Q4_0Block : NibbleBlock {
  static constexpr int kOffsetBits = 3;  // 8
  static constexpr bool kHasMinimum = false;
  static constexpr bool kStartsFromOffset = true;
};
struct Q4_1Block : NibbleBlock {
  static constexpr int kOffsetBits = 0;
  static constexpr bool kHasMinimum = true;
  static constexpr bool kStartsFromOffset = false;
};

/// Blocks of nibbles that have been unpacked to bytes, because many tiles of tokens will pass over
/// them: the scales stay where the panel has them.
template <typename Block>
struct Unpacked {
  static constexpr bool kManyTiles = true;
  static constexpr int64_t kQuantBytes = 512;
  static constexpr int kOffsetBits = Block::kOffsetBits;
  static constexpr bool kHasMinimum = Block::kHasMinimum;
  static constexpr bool kStartsFromOffset = Block::kStartsFromOffset;

  template <int MR, int NR>
  static inline __attribute__((always_inline)) void add(__m512i (&sums)[MR][NR],
                                                        const std::byte* const (&p)[MR],
                                                        const int8_t* x) {
    QUERN_UNROLL
    for (int g = 0; g < 8; ++g) {
      __m512i w[MR];
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) w[m] = _mm512_load_si512(p[m] + g * 64);
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        const __m512i four = broadcast4(x + n * 32 + g * 4);
        QUERN_UNROLL
        for (int m = 0; m < MR; ++m) sums[m][n] = Dot::add_q4(sums[m][n], w[m], four);
      }
    }
  }
};

/// The bytes of one block of nibbles, groups in order.
inline void unpack_nibbles(const std::byte* p, std::byte* out) {
  const __m512i mask = _mm512_set1_epi8(0x0F);
  for (int g = 0; g < 4; ++g) {
    const __m512i both_nibbles = _mm512_load_si512(p + g * 64);
    _mm512_store_si512(out + g * 64, _mm512_and_si512(both_nibbles, mask));
    _mm512_store_si512(out + (g + 4) * 64,
                       _mm512_and_si512(_mm512_srli_epi16(both_nibbles, 4), mask));
  }
}

/// Bytes read ahead of the block being multiplied, where a pass over the weights is made for one
/// token only: measured best on two CPU families.
constexpr int64_t kAheadBytes = 4096;

/// sums[n][m] (+)= panels over blocks [begin, end). `quants` [MR]: the bytes of block `begin`;
/// `scales` [MR]: its scales. Minima come args.x->cols / 32 blocks after the scales.
template <typename Block, int MR, int NR>
void int_tile(const MultiplyArgs& args, const std::byte* const* quants,
              const std::byte* const* scales_begin, int64_t begin, int64_t end, int64_t place,
              float* sums) {
  const int64_t blocks = args.x->cols / 32;
  const int8_t* q = args.x->q + (place + begin * NR) * 32;
  const float* x_scale = args.x->scale + place + begin * NR;
  const int32_t* neg_sum = args.x->neg_sum + place + begin * NR;
  const float* scaled_sum = args.x->scaled_sum + place + begin * NR;

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
  const std::byte* scales[MR];
  QUERN_UNROLL
  for (int m = 0; m < MR; ++m) {
    p[m] = quants[m];
    scales[m] = scales_begin[m];
  }
  // The only tile of a pass streams the weights from memory. Where the panel ends, reading ahead
  // goes on in the panel that comes next.
  const bool streams = args.x->tokens == NR;
  constexpr int64_t kAheadBlocks = kAheadBytes / Block::kQuantBytes;
  const int64_t last_ahead = blocks - kAheadBlocks;

  for (int64_t b = begin; b < end; ++b) {
    if (streams) {
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) {
        const std::byte* ahead = b < last_ahead
                                     ? p[m] + kAheadBytes
                                     : args.next_panels[m] + (b - last_ahead) * Block::kQuantBytes;
        QUERN_UNROLL
        for (int64_t line = 0; line < Block::kQuantBytes; line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(ahead + line), _MM_HINT_T0);
        }
        if (b % 2 == 0) {
          _mm_prefetch(reinterpret_cast<const char*>(scales[m] + 512), _MM_HINT_T0);
        }
      }
    }
    __m512i isum[MR][NR];
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) {
      const __m512i start =
          Block::kStartsFromOffset
              ? _mm512_slli_epi32(_mm512_set1_epi32(neg_sum[n]), Block::kOffsetBits)
              : _mm512_setzero_si512();
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) isum[m][n] = start;
    }
    Block::template add<MR, NR>(isum, p, q);

    __m512 w_scale[MR];
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      w_scale[m] = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scales[m])));
    }
    QUERN_UNROLL
    for (int n = 0; n < NR; ++n) {
      const __m512 scale = _mm512_set1_ps(x_scale[n]);
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) {
        acc[m][n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[m][n]),
                                    _mm512_mul_ps(w_scale[m], scale), acc[m][n]);
      }
    }
    if constexpr (Block::kHasMinimum) {
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) {
        const __m512 minimum = _mm512_cvtph_ps(
            _mm256_load_si256(reinterpret_cast<const __m256i*>(scales[m] + blocks * 32)));
        QUERN_UNROLL
        for (int n = 0; n < NR; ++n) {
          acc[m][n] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(scaled_sum[n]), acc[m][n]);
        }
      }
    }
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      p[m] += Block::kQuantBytes;
      scales[m] += 32;
    }
    q += NR * 32;
    x_scale += NR;
    neg_sum += NR;
    scaled_sum += NR;
  }
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) {
      _mm512_storeu_ps(sums + n * args.sums_stride + m * kLanes, acc[m][n]);
    }
  }
}

/// Up to 6 tokens pass over two panels at once (12 integer and 12 float sums of 32 registers); 7 to
/// 12 over one, so that a small batch unpacks its weights once.
TileShape int8_shape(int64_t tokens) {
  if (tokens <= 2) return {static_cast<int>(tokens < 1 ? 1 : tokens), 4};
  if (tokens <= 6) return {static_cast<int>(tokens), 2};
  if (tokens <= 12) return {static_cast<int>(tokens), 1};
  const int64_t tiles = (tokens + 5) / 6;
  return {static_cast<int>((tokens + tiles - 1) / tiles), 2};
}

template <typename Block, int MR, int... NR>
inline void int_tile_of_width(int64_t width, const MultiplyArgs& args,
                              const std::byte* const* quants, const std::byte* const* scales,
                              int64_t begin, int64_t end, int64_t place, float* sums) {
  using Tile = void (*)(const MultiplyArgs&, const std::byte* const*, const std::byte* const*,
                        int64_t, int64_t, int64_t, float*);
  static constexpr Tile kTiles[] = {int_tile<Block, MR, NR>...};
  kTiles[width - 1](args, quants, scales, begin, end, place, sums);
}

/// Spreads the reading ahead of the next slice of the panels over the tiles that pass over this
/// one. Memory is read while there is much to compute, and only as fast as needed.
class SliceAhead {
 public:
  /// The slice after [begin, end) of `blocks` blocks, in `tiles` portions.
  SliceAhead(const MultiplyArgs& args, int64_t quant_bytes, int64_t end, int64_t blocks,
             int64_t slice, int64_t tiles)
      : args_(args) {
    const bool same_panel = end < blocks;
    const int64_t left = same_panel ? blocks - end : blocks;
    bytes_ = (left < slice ? left : slice) * quant_bytes;
    for (int m = 0; m < args.num_panels; ++m) {
      from_[m] = same_panel ? args.panels[m] + end * quant_bytes : args.next_panels[m];
    }
    portion_ = (bytes_ / 64 + tiles - 1) / tiles * 64;
  }
  void read_some() {
    const int64_t stop = at_ + portion_ < bytes_ ? at_ + portion_ : bytes_;
    for (; at_ < stop; at_ += 64) {
      for (int m = 0; m < args_.num_panels; ++m) {
        _mm_prefetch(reinterpret_cast<const char*>(from_[m] + at_), _MM_HINT_T1);
      }
    }
  }

 private:
  const MultiplyArgs& args_;
  const std::byte* from_[kMaxPanels];
  int64_t bytes_, portion_, at_ = 0;
};

/// One pass of all tokens over blocks [begin, end) of one, two or four panels.
template <typename Block>
void multiply_slice(const MultiplyArgs& args, const std::byte* const* quants,
                    const std::byte* const* scales, int64_t begin, int64_t end, SliceAhead& ahead) {
  const RowForm& x = *args.x;
  const int64_t blocks = x.cols / 32;
  for (int64_t t = 0; t < x.tokens; t += x.width) {
    const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
    float* const sums = args.sums + t * args.sums_stride;
    const int64_t place = t * blocks;
    if (x.tokens > width) ahead.read_some();
    if (args.num_panels == 2) {
      int_tile_of_width<Block, 2, 1, 2, 3, 4, 5, 6>(width, args, quants, scales, begin, end, place,
                                                    sums);
    } else if constexpr (Block::kManyTiles) {
      int_tile_of_width<Block, 1, 1, 2, 3, 4, 5, 6>(width, args, quants, scales, begin, end, place,
                                                    sums);
    } else if (args.num_panels == 1) {
      int_tile_of_width<Block, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(
          width, args, quants, scales, begin, end, place, sums);
    } else {
      int_tile_of_width<Block, 4, 1, 2>(width, args, quants, scales, begin, end, place, sums);
    }
  }
}

/// All tokens times the panels of `args`. Many tokens: blocks are cut so that the panels' slice
/// stays in the first-level cache while the tiles of tokens pass over it.
template <typename Block>
void multiply_int8(const MultiplyArgs& all_args) {
  MultiplyArgs args = all_args;
  if (args.num_panels == 3) {
    multiply_int8<Block>(without_first(args, 1));
    args.num_panels = 1;
  }
  const RowForm& x = *args.x;
  const int64_t blocks = x.cols / 32;
  const int64_t tiles = (x.tokens + x.width - 1) / x.width;
  constexpr int64_t kSlice = 16;  // blocks: 8 KiB a panel as bytes
  const int64_t slice = tiles == 1 ? blocks : kSlice;
  for (int64_t begin = 0; begin < blocks; begin += slice) {
    const int64_t end = begin + slice < blocks ? begin + slice : blocks;
    const std::byte* quants[kMaxPanels];
    const std::byte* scales[kMaxPanels];
    for (int m = 0; m < args.num_panels; ++m) {
      quants[m] = args.panels[m] + begin * Block::kQuantBytes;
      scales[m] = args.panels[m] + blocks * Block::kQuantBytes + begin * 32;
    }
    SliceAhead ahead(args, Block::kQuantBytes, end, blocks, slice, tiles);
    if constexpr (Block::kIsNibbles) {
      if (tiles > 2 && args.num_panels <= 2) {
        alignas(64) std::byte unpacked[2][kSlice * 512];
        for (int m = 0; m < args.num_panels; ++m) {
          for (int64_t b = 0; b < end - begin; ++b) {
            unpack_nibbles(quants[m] + b * Block::kQuantBytes, unpacked[m] + b * 512);
          }
          quants[m] = unpacked[m];
        }
        multiply_slice<Unpacked<Block>>(args, quants, scales, begin, end, ahead);
        continue;
      }
    }
    multiply_slice<Block>(args, quants, scales, begin, end, ahead);
  }
}

}  // namespace
}  // namespace quern::cpu
