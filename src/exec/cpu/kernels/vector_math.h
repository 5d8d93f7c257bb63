// Functions of sixteen lanes, written once over the vector type of the level, so that all levels
// give the same bits: same operations, same lanes, same order.
#pragma once

#include <cstdint>

#include "exec/cpu/kernels/vector.h"

namespace quern::cpu {
namespace {

constexpr float kInfinity = __builtin_inff();

/// ((x0 + x8) + (x4 + x12)) + ... : halves are added until one lane is left.
inline float sum_lanes(F x) {
  const __m256 eight = _mm256_add_ps(low_half(x), high_half(x));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline float max_lanes(F x) {
  const __m256 eight = _mm256_max_ps(low_half(x), high_half(x));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/// The largest of 16 non-negative values, a NaN above all: compared as integers.
inline float max_magnitude_lanes(F x) {
  const __m256i eight =
      _mm256_max_epi32(_mm256_castps_si256(low_half(x)), _mm256_castps_si256(high_half(x)));
  const __m128i four =
      _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  const __m128i one = _mm_max_epi32(two, _mm_shuffle_epi32(two, 0xB1));
  return _mm_cvtss_f32(_mm_castsi128_ps(one));
}

inline int32_t sum_int_lanes(I x) {
  const __m256i eight = _mm256_add_epi32(_mm256_castps_si256(low_half(as_float(x))),
                                         _mm256_castps_si256(high_half(as_float(x))));
  const __m128i four =
      _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}

inline F abs(F x) { return as_float(as_int(x) & all_int(0x7FFFFFFF)); }
inline F negate(F x) { return all(-0.0f) - x; }

/// exp(x) within 1 ulp where the result is above 2.3e-38, 0 below (so that softmax never meets a
/// subnormal), +inf above 88.72; NaN stays NaN.
/// x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 p(r), p fitted for relative error.
inline F exp(F x) {
  const F n = round(x * all(1.44269504f));
  F r = fnma(n, all(0.693359375f), x);  // nine bits: n times this is exact
  r = fnma(n, all(-2.12194440e-4f), r);
  F p = all(1.390129211358726e-3f);
  p = fma(p, r, all(8.363170549273491e-3f));
  p = fma(p, r, all(4.166685417294502e-2f));
  p = fma(p, r, all(0.16666577756404877f));
  p = fma(p, r, all(0.5f));
  p = fma(p, r * r, r) + all(1.0f);
  // 2^(n-1) is a normal number for every n that is let through; the last doubling is exact or
  // overflows rightly.
  const F half_power = as_float(shift_left<23>(round_to_int(n) + all_int(126)));
  F y = p * half_power;
  y = y + y;
  y = select(less(x, all(-86.6f)), all(0.0f), y);
  return select(less(all(88.7228394f), x), all(kInfinity), y);
}

/// 1 / (1 + exp(-x))
inline F sigmoid(F x) { return all(1.0f) / (all(1.0f) + exp(negate(x))); }

/// x / (1 + exp(-x))
inline F silu(F x) { return x / (all(1.0f) + exp(negate(x))); }

/// Below 0.625 a polynomial in x^2, fitted for relative error; above by exp.
inline F tanh(F x) {
  const F u = x * x;
  F p = all(-6.096942350268364e-3f);
  p = fma(p, u, all(2.0997358486056328e-2f));
  p = fma(p, u, all(-5.385095253586769e-2f));
  p = fma(p, u, all(0.13332770764827728f));
  p = fma(p, u, all(-0.333333283662796f));
  const F small = fma(p * u, x, x);
  const F size = abs(x);
  const F large = all(1.0f) - all(2.0f) / (exp(size + size) + all(1.0f));
  const I sign = as_int(x) & all_int(INT32_MIN);
  return select(less(size, all(0.625f)), small, as_float(as_int(large) | sign));
}

/// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
inline F gelu_tanh(F x) {
  const F cubic = all(0.044715f) * x * x * x;
  const F u = all(0.79788456080286536f) * (x + cubic);
  return x * sigmoid(u + u);
}

/// x Phi(x) = x erfc(-x / sqrt 2) / 2, with erfc(z) = exp(-z^2) t q(t), t = 1 / (1 + 0.35 z) for
/// z >= 0, q fitted for relative error (7e-9 on [0, 10]).
inline F gelu(F x) {
  const F z = abs(x) * all(0.70710678118654752f);
  const F t = all(1.0f) / fma(all(0.35f), z, all(1.0f));
  F q = all(3.840149939060211e-2f);
  q = fma(q, t, all(-0.158930703997612f));
  q = fma(q, t, all(0.18146692216396332f));
  q = fma(q, t, all(-2.7713246643543243e-2f));
  q = fma(q, t, all(8.702506870031357e-2f));
  q = fma(q, t, all(0.14603880047798157f));
  q = fma(q, t, all(0.15118736028671265f));
  q = fma(q, t, all(0.18790215253829956f));
  q = fma(q, t, all(0.19713838398456573f));
  q = fma(q, t, all(0.19748377799987793f));
  const F tail = all(0.5f) * exp(negate(z * z)) * (t * q);  // Phi(-|x|)
  const F phi = select(less(x, all(0.0f)), tail, all(1.0f) - tail);
  return x * phi;
}

/// softcap * tanh(x / softcap)
inline F soft_cap(F x, float cap) { return all(cap) * tanh(x / all(cap)); }

/// Rounded to nearest even, too large becomes the largest half: a key or value must not turn into
/// an infinity that poisons every later token. NaN stays NaN.
inline void store_f16_saturated(uint16_t* p, F x) {
  store_f16(p, max(all(-65504.0f), min(all(65504.0f), x)));
}

inline uint16_t to_half(float x) {
  return static_cast<uint16_t>(
      _mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT), 0));
}

constexpr float kFp8Unit = 256.0f;
inline F load_fp8(const std::byte* p) { return load_fp8_units(p) * all(kFp8Unit); }

/// As the format's own encode (tensor/formats/fp8_e4m3.h).
inline void store_fp8(std::byte* p, F x) {
  const I u = as_int(x);
  const I magnitude = u & all_int(0x7FFFFFFF);
  const I odd = shift_right<20>(magnitude) & all_int(1);
  const I rounded = shift_right<20>(magnitude + all_int(0x7FFFF) + odd) - all_int(120 << 3);
  const F shifted = as_float(magnitude) + all(0x1p14f);
  const I subnormal = as_int(shifted) - as_int(all(0x1p14f));
  I code = select(greater(all_int(121 << 23), magnitude), subnormal, min(rounded, all_int(0x7E)));
  code = select(unordered(x), all_int(0x7F), code);
  store_low_bytes(reinterpret_cast<int8_t*>(p), code | (shift_right<24>(u) & all_int(0x80)));
}

inline I to_bf16_bits(F x) {
  const I u = as_int(x);
  const I odd = shift_right<16>(u) & all_int(1);
  const I rounded = shift_right<16>(u + all_int(0x7FFF) + odd);
  const I quiet = shift_right<16>(u) | all_int(0x40);
  return select(unordered(x), quiet, rounded);
}
inline void store_bf16(uint16_t* p, F x) { store_low_halves(p, to_bf16_bits(x)); }

}  // namespace
}  // namespace quern::cpu
