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
#include "exec/cpu/kernels/rows.h"

namespace quern::cpu {
namespace {

/// Fewer tokens than this are multiplied by vectors: tiles have to unpack weights first.
constexpr int64_t kAmxTokens = 7;
constexpr int64_t kAmxWidth = 16;
constexpr int64_t kAmxBlockBytes = 512;  // 8 groups x 16 rows x 4 steps, as signed bytes
/// Blocks unpacked at a time: with two panels 16 KiB, which stay in the first-level cache beside
/// the tokens' 8 KiB while all tokens pass over them.
constexpr int64_t kAmxSlice = 16;
constexpr int64_t kAmxPanels = 2;

// Tile registers: 0 sums, 2 tokens, 4 weights; 1 and 3 sums and tokens of a narrower last tile.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

inline void configure_tiles(int64_t width, int64_t last_width) {  // 1 to 16 each
  TileConfig config;
  const auto set = [&](int tile, int64_t rows, int64_t row_bytes) {
    config.rows[tile] = static_cast<uint8_t>(rows);
    config.row_bytes[tile] = static_cast<uint16_t>(row_bytes);
  };
  set(0, width, 64);
  set(1, last_width, 64);
  set(2, width, 32);
  set(3, last_width, 32);
  set(4, 8, 64);
  asm volatile("ldtilecfg %0" : : "m"(config));
}
inline void release_tiles() { asm volatile("tilerelease"); }

/// products[token][row] of one block: `x` [W][32 bytes], `w` [8][64 bytes]. `is_last`: with the
/// registers of the last tile.
template <int W>
inline __attribute__((always_inline)) void multiply_block(int32_t (*products)[kPanelRows],
                                                          const int8_t* x, const int8_t* w,
                                                          bool is_last) {
  struct X {
    int8_t bytes[W * 32];
  };
  struct Weights {
    int8_t bytes[kAmxBlockBytes];
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

/// The signed bytes of one block of a panel, groups in order.
inline void unpack_block(const Q8_0Block&, const std::byte* p, int8_t* out) {
  const __m512i top = _mm512_set1_epi8(static_cast<char>(0x80));
  for (int g = 0; g < 8; ++g) {
    _mm512_store_si512(out + g * 64, _mm512_xor_si512(_mm512_load_si512(p + g * 64), top));
  }
}
template <int kOffset>
inline void unpack_signed_nibbles(const std::byte* p, int8_t* out) {
  const __m512i mask = _mm512_set1_epi8(0x0F), offset = _mm512_set1_epi8(kOffset);
  for (int g = 0; g < 4; ++g) {
    const __m512i both_nibbles = _mm512_load_si512(p + g * 64);
    const __m512i low = _mm512_and_si512(both_nibbles, mask);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both_nibbles, 4), mask);
    _mm512_store_si512(out + g * 64, _mm512_sub_epi8(low, offset));
    _mm512_store_si512(out + (g + 4) * 64, _mm512_sub_epi8(high, offset));
  }
}
inline void unpack_block(const Q4_0Block&, const std::byte* p, int8_t* out) {
  unpack_signed_nibbles<8>(p, out);
}
inline void unpack_block(const Q4_1Block&, const std::byte* p, int8_t* out) {
  unpack_signed_nibbles<0>(p, out);
}

/// sums[n] (+)= one panel over blocks [begin, end) for W tokens whose form begins at `place`.
template <typename Block, int W>
void amx_tile(const MultiplyArgs& args, const std::byte* panel, const int8_t* unpacked,
              int64_t begin, int64_t end, int64_t place, bool is_last, SliceAhead& ahead,
              float* sums) {
  const int64_t blocks = args.x->cols / 32;
  const int8_t* q = args.x->q + (place + begin * W) * 32;
  const float* x_scale = args.x->scale + place + begin * W;
  const float* scaled_sum = args.x->scaled_sum + place + begin * W;
  const std::byte* scales = panel + blocks * Block::kQuantBytes + begin * 32;
  alignas(64) int32_t products[2][W][kPanelRows];

  __m512 acc[W];
  QUERN_UNROLL
  for (int n = 0; n < W; ++n) {
    acc[n] = begin == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + n * args.sums_stride);
  }
  // The product of the next block is under way while this one is scaled.
  multiply_block<W>(products[begin & 1], q, unpacked, is_last);
  for (int64_t b = begin; b < end; ++b) {
    q += W * 32;
    unpacked += kAmxBlockBytes;
    ahead.read_some();
    if (b + 1 < end) multiply_block<W>(products[(b + 1) & 1], q, unpacked, is_last);
    const int32_t(*product)[kPanelRows] = products[b & 1];
    const __m512 w_scale =
        _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scales)));
    QUERN_UNROLL
    for (int n = 0; n < W; ++n) {
      acc[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(product[n])),
                               _mm512_mul_ps(w_scale, _mm512_set1_ps(x_scale[n])), acc[n]);
    }
    if constexpr (Block::kHasMinimum) {
      const __m512 minimum = _mm512_cvtph_ps(
          _mm256_load_si256(reinterpret_cast<const __m256i*>(scales + blocks * 32)));
      QUERN_UNROLL
      for (int n = 0; n < W; ++n) {
        acc[n] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(scaled_sum[n]), acc[n]);
      }
    }
    scales += 32;
    x_scale += W;
    scaled_sum += W;
  }
  QUERN_UNROLL
  for (int n = 0; n < W; ++n) _mm512_storeu_ps(sums + n * args.sums_stride, acc[n]);
}

template <typename Block, int... W>
inline void amx_tile_of_width(int64_t width, const MultiplyArgs& args, const std::byte* panel,
                              const int8_t* unpacked, int64_t begin, int64_t end, int64_t place,
                              bool is_last, SliceAhead& ahead, float* sums) {
  using Tile = void (*)(const MultiplyArgs&, const std::byte*, const int8_t*, int64_t, int64_t,
                        int64_t, bool, SliceAhead&, float*);
  static constexpr Tile kTiles[] = {amx_tile<Block, W>...};
  kTiles[width - 1](args, panel, unpacked, begin, end, place, is_last, ahead, sums);
}

TileShape amx_shape(int64_t tokens) {
  if (tokens < kAmxTokens) return int8_shape(tokens);
  const int64_t tiles = (tokens + kAmxWidth - 1) / kAmxWidth;
  return {static_cast<int>((tokens + tiles - 1) / tiles), kAmxPanels};
}

template <typename Block>
void multiply_amx(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  if (x.tokens < kAmxTokens) return multiply_int8<Block>(args);
  const int64_t blocks = x.cols / 32;
  const int64_t tiles = (x.tokens + x.width - 1) / x.width;
  const int64_t rest = x.tokens % x.width;
  alignas(64) int8_t unpacked[kAmxPanels][kAmxSlice * kAmxBlockBytes];
  configure_tiles(x.width, rest == 0 ? x.width : rest);
  for (int64_t begin = 0; begin < blocks; begin += kAmxSlice) {
    const int64_t end = begin + kAmxSlice < blocks ? begin + kAmxSlice : blocks;
    for (int m = 0; m < args.num_panels; ++m) {
      for (int64_t b = begin; b < end; ++b) {
        const std::byte* p = args.panels[m] + b * Block::kQuantBytes;
        unpack_block(Block(), p, unpacked[m] + (b - begin) * kAmxBlockBytes);
      }
    }
    SliceAhead ahead(args, Block::kQuantBytes, end, blocks, kAmxSlice,
                     tiles * args.num_panels * kAmxSlice);
    for (int64_t t = 0; t < x.tokens; t += x.width) {
      const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
      for (int m = 0; m < args.num_panels; ++m) {
        float* const sums = args.sums + t * args.sums_stride + m * kPanelRows;
        amx_tile_of_width<Block, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16>(
            width, args, args.panels[m], unpacked[m], begin, end, t * blocks, width != x.width,
            ahead, sums);
      }
    }
  }
  release_tiles();
}

}  // namespace
}  // namespace quern::cpu
