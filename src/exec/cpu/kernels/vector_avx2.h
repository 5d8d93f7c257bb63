// Sixteen lanes in two 256-bit registers, with the very same meaning lane by lane as
// vector_avx512.h. See there for why everything is in an unnamed namespace.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace quern::cpu {
namespace {

/// Eight rows of a panel's scales (panels.h).
struct HalfF {
  __m256 v;

  static HalfF from_halves(const std::byte* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static HalfF from_unsigned(const std::byte* p) {
    return {_mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
  }
  static HalfF from_signed(const std::byte* p) {
    return {_mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
  }
};
inline HalfF operator*(HalfF x, HalfF y) { return {_mm256_mul_ps(x.v, y.v)}; }

/// Bytes of a panel's line: of eight rows.
struct Bytes {
  __m256i v;

  static Bytes load(const std::byte* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static Bytes all(int byte) { return {_mm256_set1_epi8(static_cast<char>(byte))}; }
};
inline Bytes operator&(Bytes x, Bytes y) { return {_mm256_and_si256(x.v, y.v)}; }
inline Bytes operator|(Bytes x, Bytes y) { return {_mm256_or_si256(x.v, y.v)}; }
/// Of pairs of bytes: bits cross from one to the other.
template <int kBits>
inline Bytes shift_left(Bytes x) {
  return {_mm256_slli_epi16(x.v, kBits)};
}
template <int kBits>
inline Bytes shift_right(Bytes x) {
  return {_mm256_srli_epi16(x.v, kBits)};
}

struct F {
  __m256 a, b;

  static F from_halves(const std::byte* p) {
    return {HalfF::from_halves(p).v, HalfF::from_halves(p + 16).v};
  }
  static F from_unsigned(const std::byte* p) {
    return {HalfF::from_unsigned(p).v, HalfF::from_unsigned(p + 8).v};
  }
  static F from_signed(const std::byte* p) {
    return {HalfF::from_signed(p).v, HalfF::from_signed(p + 8).v};
  }
};
struct I {
  __m256i a, b;

  static I load(const std::byte* p) { return {Bytes::load(p).v, Bytes::load(p + 32).v}; }
  static I all(int byte) { return {Bytes::all(byte).v, Bytes::all(byte).v}; }
};
struct M {
  __m256i a, b;  // all ones where set
};

inline M first_lanes(int64_t n) {  // n in [0, 16]
  const __m256i count = _mm256_set1_epi32(static_cast<int32_t>(n));
  return {_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
          _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}

inline F all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline I all_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline F load_first(const float* p, int64_t n) {
  const M m = first_lanes(n);
  return {_mm256_maskload_ps(p, m.a), _mm256_maskload_ps(p + 8, m.b)};
}
inline void store(float* p, F x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline void store_first(float* p, F x, int64_t n) {
  const M m = first_lanes(n);
  _mm256_maskstore_ps(p, m.a, x.a);
  _mm256_maskstore_ps(p + 8, m.b, x.b);
}

inline F operator+(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline F operator-(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F operator*(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F operator/(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F fma(F x, F y, F z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline F fnma(F x, F y, F z) {
  return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
inline F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F round(F x) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.a, kMode), _mm256_round_ps(x.b, kMode)};
}

inline I operator+(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline I operator-(I x, I y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
inline I operator&(I x, I y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline I operator|(I x, I y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline I max(I x, I y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
inline I min(I x, I y) { return {_mm256_min_epi32(x.a, y.a), _mm256_min_epi32(x.b, y.b)}; }
template <int kBits>
inline I shift_left(I x) {
  return {_mm256_slli_epi32(x.a, kBits), _mm256_slli_epi32(x.b, kBits)};
}
template <int kBits>
inline I shift_right(I x) {
  return {_mm256_srli_epi32(x.a, kBits), _mm256_srli_epi32(x.b, kBits)};
}
template <int kBits>
inline I shift_right_signed(I x) {
  return {_mm256_srai_epi32(x.a, kBits), _mm256_srai_epi32(x.b, kBits)};
}
inline I truncate_to_int(F x) { return {_mm256_cvttps_epi32(x.a), _mm256_cvttps_epi32(x.b)}; }
inline I round_to_int(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline F to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline F as_float(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline I as_int(F x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline I load_int(const void* p) {
  const __m256i* halves = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}

inline M less(F x, F y) {
  return {_mm256_castps_si256(_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_castps_si256(_mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
inline M equal(F x, F y) {
  return {_mm256_castps_si256(_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ)),
          _mm256_castps_si256(_mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ))};
}
inline M greater(I x, I y) { return {_mm256_cmpgt_epi32(x.a, y.a), _mm256_cmpgt_epi32(x.b, y.b)}; }
inline M unordered(F x) {
  return {_mm256_castps_si256(_mm256_cmp_ps(x.a, x.a, _CMP_UNORD_Q)),
          _mm256_castps_si256(_mm256_cmp_ps(x.b, x.b, _CMP_UNORD_Q))};
}
inline M both(M x, M y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline uint32_t bits(M m) {
  const auto low = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m.a)));
  const auto high = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m.b)));
  return low | high << 8;
}
inline bool any(M m) { return bits(m) != 0; }
inline F select(M m, F x, F y) {
  return {_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(m.a)),
          _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(m.b))};
}
inline I select(M m, I x, I y) {
  return {_mm256_blendv_epi8(y.a, x.a, m.a), _mm256_blendv_epi8(y.b, x.b, m.b)};
}

inline __m256 low_half(F x) { return x.a; }
inline __m256 high_half(F x) { return x.b; }

inline F load_f16(const uint16_t* p) {
  const __m128i* halves = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
inline F load_bf16(const uint16_t* p) {
  const __m128i* halves = reinterpret_cast<const __m128i*>(p);
  const auto widen = [](__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  };
  return {widen(_mm_loadu_si128(halves)), widen(_mm_loadu_si128(halves + 1))};
}
/// As in vector_avx512.h.
inline __m256i fp8_to_halves(__m256i words) {
  const __m256i placed = _mm256_and_si256(_mm256_slli_epi16(words, 7),
                                          _mm256_set1_epi16(static_cast<int16_t>(0xBF80)));
  const __m256i carried = _mm256_add_epi16(placed, _mm256_set1_epi16(0x80));
  return _mm256_or_si256(placed, _mm256_and_si256(carried, _mm256_set1_epi16(0x4000)));
}
inline F load_fp8_units(const std::byte* p) {
  const __m256i halves =
      fp8_to_halves(_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}
inline void load_fp8_units(const std::byte* p, F& low, F& high) {
  low = load_fp8_units(p);
  high = load_fp8_units(p + 16);
}
inline void store_f16(uint16_t* p, F x) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  __m128i* halves = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(halves, _mm256_cvtps_ph(x.a, kMode));
  _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(x.b, kMode));
}
inline __m256i low_halves(I x) {
  const __m256i mask = _mm256_set1_epi32(0xFFFF);
  // packus works within 128-bit halves: a0 b0 a1 b1, put in order by the permutation.
  const __m256i packed =
      _mm256_packus_epi32(_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask));
  return _mm256_permute4x64_epi64(packed, 0xD8);
}
inline void store_low_halves(uint16_t* p, I x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), low_halves(x));
}
inline void store_low_bytes(int8_t* p, I x) {
  const __m256i halves = _mm256_and_si256(low_halves(x), _mm256_set1_epi16(0xFF));
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(p),
      _mm_packus_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1)));
}
inline I widen_bytes(const uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
inline I widen_signed_bytes(const std::byte* p) {
  const auto widen = [](const std::byte* from) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  };
  return {widen(p), widen(p + 8)};
}

constexpr int kFloatRegisters = 16;

}  // namespace
}  // namespace quern::cpu
