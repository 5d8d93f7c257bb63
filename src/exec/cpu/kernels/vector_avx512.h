// Sixteen lanes in one 512-bit register. Only for the kernels_avx512*.cpp files: like all of
// kernels/ it lives in an unnamed namespace, so that no function compiled for one instruction set
// can be merged by the linker with its namesake compiled for another. For the same reason nothing
// here may call an inline function of another header, the standard library's included.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace quern::cpu {
namespace {

struct F {
  __m512 v;

  // What a panel's scales are (panels.h).
  static F from_halves(const std::byte* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static F from_unsigned(const std::byte* p) {
    return {_mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }
  static F from_signed(const std::byte* p) {
    return {_mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }
};
struct I {
  __m512i v;

  static I load(const std::byte* p) { return {_mm512_loadu_si512(p)}; }
  static I all(int byte) { return {_mm512_set1_epi8(static_cast<char>(byte))}; }
};
using M = __mmask16;

/// Bytes of a panel's line: of the sixteen rows. One product of integers takes a whole register.
struct Bytes {
  __m512i v;

  static Bytes load(const std::byte* p) { return {_mm512_loadu_si512(p)}; }
  static Bytes all(int byte) { return {_mm512_set1_epi8(static_cast<char>(byte))}; }
};
inline Bytes operator&(Bytes a, Bytes b) { return {_mm512_and_si512(a.v, b.v)}; }
inline Bytes operator|(Bytes a, Bytes b) { return {_mm512_or_si512(a.v, b.v)}; }
inline Bytes operator^(Bytes a, Bytes b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline Bytes operator-(Bytes a, Bytes b) { return {_mm512_sub_epi8(a.v, b.v)}; }
/// Of pairs of bytes: bits cross from one to the other.
template <int kBits>
inline Bytes shift_left(Bytes x) {
  return {_mm512_slli_epi16(x.v, kBits)};
}
template <int kBits>
inline Bytes shift_right(Bytes x) {
  return {_mm512_srli_epi16(x.v, kBits)};
}
inline void store(std::byte* p, Bytes x) { _mm512_storeu_si512(p, x.v); }

inline M first_lanes(int64_t n) { return static_cast<M>((1u << n) - 1u); }  // n in [0, 16]

inline F all(float x) { return {_mm512_set1_ps(x)}; }
inline I all_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline F load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline F load_first(const float* p, int64_t n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
inline void store(float* p, F x) { _mm512_storeu_ps(p, x.v); }
inline void store_first(float* p, F x, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), x.v); }

inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
/// a * b + c, rounded once.
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// c - a * b, rounded once.
inline F fnma(F a, F b, F c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
/// The second operand where either is NaN.
inline F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F round(F x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

inline I operator+(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I operator-(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline I operator&(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
inline I operator|(I a, I b) { return {_mm512_or_si512(a.v, b.v)}; }
inline I max(I a, I b) { return {_mm512_max_epi32(a.v, b.v)}; }
inline I min(I a, I b) { return {_mm512_min_epi32(a.v, b.v)}; }
template <int kBits>
inline I shift_left(I x) {
  return {_mm512_slli_epi32(x.v, kBits)};
}
template <int kBits>
inline I shift_right(I x) {  // logical
  return {_mm512_srli_epi32(x.v, kBits)};
}
template <int kBits>
inline I shift_right_signed(I x) {
  return {_mm512_srai_epi32(x.v, kBits)};
}
inline I truncate_to_int(F x) { return {_mm512_cvttps_epi32(x.v)}; }
inline I round_to_int(F x) { return {_mm512_cvtps_epi32(x.v)}; }
inline F to_float(I x) { return {_mm512_cvtepi32_ps(x.v)}; }
inline F as_float(I x) { return {_mm512_castsi512_ps(x.v)}; }
inline I as_int(F x) { return {_mm512_castps_si512(x.v)}; }
inline I load_int(const void* p) { return {_mm512_loadu_si512(p)}; }

inline M less(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline M equal(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
inline M greater(I a, I b) { return _mm512_cmpgt_epi32_mask(a.v, b.v); }
inline M unordered(F a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q); }
inline M both(M a, M b) { return static_cast<M>(a & b); }
inline bool any(M m) { return m != 0; }
inline uint32_t bits(M m) { return m; }
/// a where the mask is set, b elsewhere.
inline F select(M m, F a, F b) { return {_mm512_mask_blend_ps(m, b.v, a.v)}; }
inline I select(M m, I a, I b) { return {_mm512_mask_blend_epi32(m, b.v, a.v)}; }

/// The two halves as eight lanes each: where every level continues alike.
inline __m256 low_half(F x) { return _mm512_castps512_ps256(x.v); }
inline __m256 high_half(F x) { return _mm512_extractf32x8_ps(x.v, 1); }

inline F load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline F load_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
}
// A value of fp8_e4m3 is 256 times the half that has its sign, and its exponent and mantissa where
// the half has the lower four bits of the one and the upper three of the other. The code of NaN,
// all ones, is alone in carrying into bit 14 when one is added to it: with that bit the exponent
// is all ones as well, and the half is a NaN.
inline __m512i fp8_to_halves(__m512i words) {  // of sign-extended bytes
  const __m512i placed = _mm512_and_si512(_mm512_slli_epi16(words, 7),
                                          _mm512_set1_epi16(static_cast<int16_t>(0xBF80)));
  const __m512i carried = _mm512_add_epi16(placed, _mm512_set1_epi16(0x80));
  constexpr int kOrOfAnd = 0xF8;  // a | (b & c)
  return _mm512_ternarylogic_epi64(placed, carried, _mm512_set1_epi16(0x4000), kOrOfAnd);
}
/// In units of kFp8Unit.
inline F load_fp8_units(const std::byte* p) {
  const __m256i words = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return {_mm512_cvtph_ps(_mm512_castsi512_si256(fp8_to_halves(_mm512_castsi256_si512(words))))};
}
inline void load_fp8_units(const std::byte* p, F& low, F& high) {  // 32 values
  const __m512i halves =
      fp8_to_halves(_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
  low = {_mm512_cvtph_ps(_mm512_castsi512_si256(halves))};
  high = {_mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1))};
}
inline void store_f16(uint16_t* p, F x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/// The low 16 bits of each lane.
inline void store_low_halves(uint16_t* p, I x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x.v));
}
/// The low 8 bits of each lane.
inline void store_low_bytes(int8_t* p, I x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v));
}
inline I widen_bytes(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline I widen_signed_bytes(const std::byte* p) {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}

constexpr int kFloatRegisters = 32;

}  // namespace
}  // namespace quern::cpu
