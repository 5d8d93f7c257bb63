// Products with integer panels in 512-bit registers. For each block of 32 steps the products are
// summed exactly in int32, starting from -zero * (sum of x) because the weights are stored
// unsigned, and joined by
//   acc = fma(float(sum), weight scale * activation scale, acc)    for each part that has a scale
//   acc = fma(weight minimum, activation scale * (sum of x), acc)  where there is a minimum
// blocks ascending, one lane per output. So the bits depend neither on the tile nor on the level.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/tiles.h"

namespace quern::cpu {
namespace {

inline __m512i broadcast4(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

/// acc += w . x in groups of four bytes, w unsigned, x signed, |x| <= 127. `Dot` says with which
/// instructions, and whether the sum of 8-bit weights starts from the correction.
#if defined(__AVX512VNNI__)
struct Dot {
  using Weights = __m512i;
  static constexpr bool kStartsFromOffset = true;
  static constexpr int kMostTokens = 14;  // of a tile over one panel: 28 sums, 32 registers
  static Weights q8(__m512i w) { return w; }
  static Weights small(__m512i w) { return w; }
  /// The same four bytes of x in every lane. What broadcasts and multiplies is one instruction, of
  /// which GCC makes two, and tiles of one or two panels are bound by how many instructions go in.
  template <bool kIs8Bit, int kPanels>
  static void add(__m512i& acc, Weights w, const int8_t* x) {
    if constexpr (kPanels <= 2) {
      __asm__("vpdpbusd %2%{1to16%}, %1, %0"
              : "+v"(acc)
              : "v"(w), "m"(*reinterpret_cast<const int8_t(*)[4]>(x)));
    } else {
      acc = _mm512_dpbusd_epi32(acc, w, broadcast4(x));
    }
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
  static constexpr int kMostTokens = 6;
  static Weights q8(__m512i w) {
    const __m512i is = _mm512_xor_si512(w, _mm512_set1_epi8(static_cast<char>(0x80)));
    return {_mm512_abs_epi8(is), _mm512_movepi8_mask(is)};
  }
  static Weights small(__m512i w) { return {w, 0}; }
  static __m512i widen(__m512i acc, __m512i pairs) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  template <bool kIs8Bit, int kPanels>
  static void add(__m512i& acc, Weights w, const int8_t* from) {
    __m512i x = broadcast4(from);
    if (kIs8Bit) x = _mm512_mask_sub_epi8(x, w.negative, _mm512_setzero_si512(), x);
    acc = widen(acc, _mm512_maddubs_epi16(w.magnitude, x));
  }
};
#endif

/// Where a tile reads some blocks of a panel. `scales_from` is what the first block's scales count
/// from.
struct Blocks {
  const std::byte* quants = nullptr;
  const std::byte* scales = nullptr;
  int64_t scales_from = 0;
};

/// Blocks as the panel has them.
template <typename Panel>
struct AsPacked {
  static constexpr int64_t kQuantBytes = Panel::kQuantBytes, kTokenBytes = Panel::kTokenBytes;
  static constexpr bool kIs8Bit = Panel::kBits == 8, kManyTiles = false;
  static constexpr int kZero = Panel::kZero;
  static constexpr int kParts = Panel::kParts;
  static constexpr bool kHasMinimum = Panel::kHasMinimum;

  template <int g>
  static Bytes group(const std::byte* block) {
    return Panel::template group<g, Bytes>(block);
  }
  static const std::byte* scales_of(const std::byte* scales, int64_t b) {
    return Panel::scales_of(scales, b);
  }
  static F scale(const std::byte* scales, int64_t b, int part) {
    return Panel::template scale<F>(scales, b, part, 0);
  }
  static F minimum(const std::byte* scales, int64_t b) {
    return Panel::template minimum<F>(scales, b, 0);
  }
};

/// Blocks that have been unpacked, because more tiles than one will pass over them: quants as
/// bytes with 128 for zero, scales and minima as floats. One form for all formats of its shape.
template <int kPartsPerBlock, bool kWithMinimum>
struct Unpacked {
  static constexpr int64_t kQuantBytes = 512, kTokenBytes = 32;
  static constexpr bool kIs8Bit = true, kManyTiles = true;
  static constexpr int kZero = 128;
  static constexpr int kParts = kPartsPerBlock;
  static constexpr bool kHasMinimum = kWithMinimum;
  static constexpr int64_t kScaleBytes = (kParts + (kHasMinimum ? 1 : 0)) * 64;

  template <int g>
  static Bytes group(const std::byte* block) {
    return Bytes::load(block + g * 64);
  }
  static const std::byte* scales_of(const std::byte* scales, int64_t b) {
    return scales + b * kScaleBytes;
  }
  static F scale(const std::byte* scales, int64_t b, int part) {
    return {_mm512_load_ps(scales_of(scales, b) + part * 64)};
  }
  static F minimum(const std::byte* scales, int64_t b) {
    return {_mm512_load_ps(scales_of(scales, b) + kParts * 64)};
  }
};
template <typename Panel>
using UnpackedOf = Unpacked<Panel::kParts, Panel::kHasMinimum>;

/// Blocks unpacked at a time: two panels as bytes are 16 KiB.
constexpr int64_t kSlice = 16;

/// One panel's slice, unpacked; `kSigned` as signed bytes instead of 128 more.
struct alignas(64) UnpackedSlice {
  std::byte quants[kSlice * 512];
  std::byte scales[kSlice * 128];

  template <typename Panel, bool kSigned>
  void fill(const std::byte* panel, int64_t blocks, int64_t begin, int64_t end) {
    constexpr int kFlip = Panel::kZero ^ (kSigned ? 0 : 128);
    const std::byte* const stored_scales = panel + blocks * Panel::kQuantBytes;
    for (int64_t b = begin; b < end; ++b) {
      for_groups([&](auto group) __attribute__((always_inline)) {
        constexpr int g = decltype(group)::kValue;
        Bytes bytes = Panel::template group<g, Bytes>(panel + b * Panel::kQuantBytes);
        if constexpr (Panel::kBits == 8) {
          if (kFlip != 0) bytes = bytes ^ Bytes::all(kFlip);
        } else {
          bytes = bytes - Bytes::all(kSigned ? Panel::kZero : Panel::kZero - 128);
        }
        store(quants + (b - begin) * 512 + g * 64, bytes);
      });
      using To = UnpackedOf<Panel>;
      std::byte* const to = scales + (b - begin) * To::kScaleBytes;
      for (int part = 0; part < To::kParts; ++part) {
        const F scale = Panel::template scale<F>(stored_scales, b, part, 0);
        _mm512_store_ps(to + part * 64, scale.v);
      }
      if constexpr (To::kHasMinimum) {
        _mm512_store_ps(to + To::kParts * 64, Panel::template minimum<F>(stored_scales, b, 0).v);
      }
    }
  }
};

/// sums[m][n] += the exact products of part `part` of one block, MR panels times NR tokens.
template <typename Source, int MR, int NR, int g>
inline __attribute__((always_inline)) void add_group(__m512i (&sums)[MR][NR],
                                                     const std::byte* const (&p)[MR],
                                                     const int8_t* x) {
  Dot::Weights w[MR];
  QUERN_UNROLL
  for (int m = 0; m < MR; ++m) {
    const Bytes bytes = Source::template group<g>(p[m]);
    w[m] = Source::kIs8Bit ? Dot::q8(bytes.v) : Dot::small(bytes.v);
  }
  QUERN_UNROLL
  for (int n = 0; n < NR; ++n) {
    const int8_t* const four = x + n * Source::kTokenBytes + g * 4;
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) Dot::add<Source::kIs8Bit, MR>(sums[m][n], w[m], four);
  }
}
template <typename Source, int part, int MR, int NR>
inline __attribute__((always_inline)) void add_part(__m512i (&sums)[MR][NR],
                                                    const std::byte* const (&p)[MR],
                                                    const int8_t* x) {
  for_groups([&](auto group) __attribute__((always_inline)) {
    // Groups that share a line of nibbles come together; a part is groups that stand together.
    constexpr int i = decltype(group)::kValue;
    constexpr int g = Source::kParts == 1 ? i / 2 + i % 2 * 4 : i;
    if constexpr (g * Source::kParts / 8 == part) add_group<Source, MR, NR, g>(sums, p, x);
  });
}

/// Bytes read ahead of the block being multiplied by the only tile of a pass: measured best on two
/// CPU families.
constexpr int64_t kAheadBytes = 4096;

/// sums[n][m] (+)= panels over blocks [begin, end).
template <typename Source, int MR, int NR>
void int_tile(const MultiplyArgs& args, const Blocks* panels, int64_t begin, int64_t end,
              int64_t place, SliceAhead* ahead, float* sums) {
  const int64_t blocks = args.x->cols / 32;
  const int8_t* q = args.x->q + (place + begin * NR) * 32;
  const float* x_scale = args.x->scale + place + begin * NR;
  const int32_t* neg_sum = Source::kParts == 1 ? args.x->neg_sum + place + begin * NR
                                               : args.x->neg_half_sum + (place + begin * NR) * 2;
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
  QUERN_UNROLL
  for (int m = 0; m < MR; ++m) p[m] = panels[m].quants;
  // The only tile of a pass streams the weights from memory. Where the panel ends, reading ahead
  // goes on in the panel that comes next.
  constexpr int64_t kAheadBlocks = kAheadBytes / Source::kQuantBytes;
  const int64_t last_ahead = blocks - kAheadBlocks;

  for (int64_t b = begin; b < end; ++b) {
    if constexpr (Source::kManyTiles) {
      ahead->read_some();
    } else {
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) {
        const std::byte* next = b < last_ahead
                                    ? p[m] + kAheadBlocks * Source::kQuantBytes
                                    : args.next_panels[m] + (b - last_ahead) * Source::kQuantBytes;
        QUERN_UNROLL
        for (int64_t line = 0; line < Source::kQuantBytes; line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(next + line), _MM_HINT_T0);
        }
        const std::byte* const scales =
            Source::scales_of(panels[m].scales, panels[m].scales_from + b);
        if (b % 2 == 0) _mm_prefetch(reinterpret_cast<const char*>(scales + 512), _MM_HINT_T0);
      }
    }
    const auto add = [&](auto number) __attribute__((always_inline)) {
      constexpr int part = decltype(number)::kValue;
      __m512i isum[MR][NR];
      QUERN_UNROLL
      for (int n = 0; n < NR; ++n) {
        __m512i start = _mm512_setzero_si512();
        if constexpr (Source::kZero != 0 && (!Source::kIs8Bit || Dot::kStartsFromOffset)) {
          start = _mm512_slli_epi32(_mm512_set1_epi32(neg_sum[part * NR + n]),
                                    __builtin_ctz(Source::kZero));
        }
        QUERN_UNROLL
        for (int m = 0; m < MR; ++m) isum[m][n] = start;
      }
      add_part<Source, part>(isum, p, q);
      __m512 w_scale[MR];
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) {
        w_scale[m] = Source::scale(panels[m].scales, panels[m].scales_from + b, part).v;
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
    };
    add(Number<0>());
    if constexpr (Source::kParts == 2) add(Number<1>());
    if constexpr (Source::kHasMinimum) {
      QUERN_UNROLL
      for (int m = 0; m < MR; ++m) {
        const __m512 minimum = Source::minimum(panels[m].scales, panels[m].scales_from + b).v;
        QUERN_UNROLL
        for (int n = 0; n < NR; ++n) {
          acc[m][n] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(scaled_sum[n]), acc[m][n]);
        }
      }
    }
    QUERN_UNROLL
    for (int m = 0; m < MR; ++m) p[m] += Source::kQuantBytes;
    q += NR * 32;
    x_scale += NR;
    neg_sum += Source::kParts * NR;
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

/// A few tokens pass once over two panels, or one, read as they are packed. More come in tiles of
/// up to 6 over two unpacked panels. Sums and operands fit 32 registers.
inline TileShape int8_shape(int64_t tokens) {
  if (tokens <= 6) return {static_cast<int>(tokens < 1 ? 1 : tokens), 2};
  if (tokens <= Dot::kMostTokens) return {static_cast<int>(tokens), 1};
  const int64_t tiles = (tokens + 5) / 6;
  return {static_cast<int>((tokens + tiles - 1) / tiles), panels_of_call(tokens, 2)};
}

/// The widest tile over MR panels at once.
template <typename Source, int MR>
constexpr int kWidest = MR == 1 && !Source::kManyTiles ? Dot::kMostTokens : 6;

/// All tokens over blocks [begin, end) of MR panels.
template <typename Source, int MR>
void multiply_slice(const MultiplyArgs& args, const Blocks* panels, int64_t begin, int64_t end,
                    SliceAhead* ahead) {
  static constexpr auto kTiles = []<int... I>(std::integer_sequence<int, I...>) {
    return std::array{int_tile<Source, MR, I + 1>...};
  }(std::make_integer_sequence<int, kWidest<Source, MR>>());
  const RowForm& x = *args.x;
  const int64_t blocks = x.cols / 32;
  for (int64_t t = 0; t < x.tokens; t += x.width) {
    const int64_t width = x.tokens - t < x.width ? x.tokens - t : x.width;
    float* const sums = args.sums + t * args.sums_stride;
    kTiles[static_cast<size_t>(width - 1)](args, panels, begin, end, t * blocks, ahead, sums);
  }
}
template <typename Source>
void multiply_slice(const MultiplyArgs& args, const Blocks* panels, int64_t begin, int64_t end,
                    SliceAhead* ahead) {
  if (args.num_panels == 1) return multiply_slice<Source, 1>(args, panels, begin, end, ahead);
  multiply_slice<Source, 2>(args, panels, begin, end, ahead);
}

/// One tile of tokens over one or two panels as they are packed.
template <typename Panel>
void multiply_packed(const MultiplyArgs& args) {
  const int64_t blocks = args.x->cols / 32;
  Blocks panels[2];
  for (int m = 0; m < args.num_panels; ++m) {
    panels[m] = {args.panels[m], args.panels[m] + blocks * Panel::kQuantBytes, 0};
  }
  multiply_slice<AsPacked<Panel>>(args, panels, 0, blocks, nullptr);
}

/// All tokens times the panels of `args`. Many tokens: blocks are cut so that the panels' slice
/// stays in the first-level cache while the tiles of tokens pass over it.
template <typename Panel>
void multiply_int8(const MultiplyArgs& args) {
  const RowForm& x = *args.x;
  const int64_t blocks = x.cols / 32;
  const int64_t tiles = (x.tokens + x.width - 1) / x.width;
  if (tiles == 1) return multiply_packed<Panel>(args);
  const Slicing cut = {.steps = blocks,
                       .slice = kSlice,
                       .step_bytes = Panel::kQuantBytes,
                       .together = 2,
                       .tiles = tiles,
                       .ahead_steps = 1};
  for_slices(args, cut,
             [&](const MultiplyArgs& some, int64_t begin, int64_t end, SliceAhead& ahead) {
               UnpackedSlice unpacked[2];
               Blocks panels[2];
               for (int m = 0; m < some.num_panels; ++m) {
                 unpacked[m].template fill<Panel, false>(some.panels[m], blocks, begin, end);
                 panels[m] = {unpacked[m].quants, unpacked[m].scales, -begin};
               }
               multiply_slice<UnpackedOf<Panel>>(some, panels, begin, end, &ahead);
             });
}

}  // namespace
}  // namespace quern::cpu
