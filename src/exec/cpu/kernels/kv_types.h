// How keys and values of each stored type are laid out in a block of the cache (kernel_table.h),
// and how they become lanes of fp32. Every type is read as exactly the values that it means, so
// attention has one arithmetic for all of them, and values that were widened before are the same.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/rows.h"

namespace quern::cpu {
namespace {

constexpr int kBlockTokens = 32;
constexpr int64_t kScaleBytes = 2 * kBlockTokens;  // the scales of 32 channels: a half per token

// A type says:
//   kUnit        what lanes are counted in: 1, or a power of two that is joined with the other
//   factor
//                of a product, which is exact as long as no query is beyond 2^120
//   kScaleRows   rows of 32 factors, one per token, that 32 channels need once they are floats
//   kSteps       channels of one line of keys, which holds them for 32 tokens
//   kLineBytes   bytes of such a line
//   kValueBytes  bytes of 32 channels of one token's values
//   keys         the lanes of 32 tokens of channel `step` of a line
//   values       32 channels of one token; scales[32 * row] is its own factor
//   append       one token

template <typename Format>
struct KvOf {
  static constexpr bool kExists = false;
};

/// A type whose values stand by themselves: only how 16 of them are loaded and stored differs.
template <typename Type, int64_t kBytes>
struct PlainKv {
  static constexpr bool kExists = true;
  static constexpr float kUnit = 1.0f;
  static constexpr int kScaleRows = 0, kSteps = 1;
  static constexpr int64_t kLineBytes = kBlockTokens * kBytes, kValueBytes = 32 * kBytes;

  template <int step>
  static void keys(const std::byte* line, const float* /*scales*/, F* out) {
    Type::load32(line, out);
  }
  static void values(const std::byte* p, const float* /*scales*/, F* out) { Type::load32(p, out); }
  static void load32(const std::byte* p, F* out) {
    out[0] = Type::load16(p);
    out[1] = Type::load16(p + 16 * kBytes);
  }

  static void append(std::byte* keys, std::byte* values, int64_t place, const float* k,
                     const float* v, int64_t head_dim) {
    const int64_t dh16 = (head_dim + 15) / 16 * 16;
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const int64_t count = head_dim - d < kLanes ? head_dim - d : kLanes;
      Type::store16(values + (place * dh16 + d) * kBytes, load_some(v + d, count));
      alignas(64) std::byte lanes[kLanes * kBytes];
      Type::store16(lanes, load_some(k + d, count));
      std::byte* const to = keys + (d * kBlockTokens + place) * kBytes;
      for (int64_t i = 0; i < count; ++i) {
        __builtin_memcpy(to + i * kLineBytes, lanes + i * kBytes, kBytes);
      }
    }
  }
};

template <>
struct KvOf<F32> : PlainKv<KvOf<F32>, 4> {
  static F load16(const std::byte* p) { return load(reinterpret_cast<const float*>(p)); }
  static void store16(std::byte* p, F x) { store(reinterpret_cast<float*>(p), x); }
};
template <>
struct KvOf<F16> : PlainKv<KvOf<F16>, 2> {
  static F load16(const std::byte* p) { return load_f16(reinterpret_cast<const uint16_t*>(p)); }
  static void store16(std::byte* p, F x) { store_f16_saturated(reinterpret_cast<uint16_t*>(p), x); }
};
template <>
struct KvOf<BF16> : PlainKv<KvOf<BF16>, 2> {
  static F load16(const std::byte* p) { return load_bf16(reinterpret_cast<const uint16_t*>(p)); }
  static void store16(std::byte* p, F x) { store_bf16(reinterpret_cast<uint16_t*>(p), x); }
};
template <>
struct KvOf<FP8_E4M3> : PlainKv<KvOf<FP8_E4M3>, 1> {
  static constexpr float kUnit = kFp8Unit;
  static F load16(const std::byte* p) { return load_fp8_units(p); }
  static void load32(const std::byte* p, F* out) { load_fp8_units(p, out[0], out[1]); }
  static void store16(std::byte* p, F x) { store_fp8(p, x); }
};

/// 32 channels of one token as 32 integers and the scale that they share, rounded as the format
/// rounds them (tensor/formats). Scales beyond a half's range are saturated.
struct Block32 {
  alignas(64) int8_t q[32];
  uint16_t scale;
};

inline F magnitude(F x) { return as_float(as_int(x) & all_int(0x7FFFFFFF)); }
/// The largest magnitude; NaN is passed over.
inline float max_magnitude(F low, F high) {
  return max_lanes(max(magnitude(low), max(magnitude(high), all(0.0f))));
}
inline F saturated(F x, float bound) { return max(all(-bound), min(all(bound), x)); }

inline void encode_q8_0(Block32& block, const float* x) {
  constexpr float kBound = 127 * 65504.0f;
  const F low = saturated(load(x), kBound), high = saturated(load(x + kLanes), kBound);
  const float d = max_magnitude(low, high) / 127.0f;
  const F inverse = all(d != 0.0f ? 1.0f / d : 0.0f);
  block.scale = to_half(d);
  const auto quantise = [&](F value) {
    // To nearest, ties away from zero: what falls short of a half is added before truncation. NaN
    // becomes -127.
    const F level = min(max(value * inverse, all(-127.0f)), all(127.0f));
    const I sign = as_int(level) & all_int(static_cast<int32_t>(0x80000000u));
    return truncate_to_int(level + as_float(as_int(all(0x1.fffffep-2f)) | sign));
  };
  store_low_bytes(block.q, quantise(low));
  store_low_bytes(block.q + kLanes, quantise(high));
}

inline void encode_q4_0(Block32& block, const float* x) {
  constexpr float kBound = 8 * 65504.0f;
  const F low = saturated(load(x), kBound), high = saturated(load(x + kLanes), kBound);
  const float amax = max_magnitude(low, high);
  // The sign of the first value of that magnitude.
  const uint32_t extremes =
      bits(equal(magnitude(low), all(amax))) | bits(equal(magnitude(high), all(amax))) << kLanes;
  const uint32_t negatives = bits(less(low, all(0.0f))) | bits(less(high, all(0.0f))) << kLanes;
  const bool negative = (extremes & (0 - extremes) & negatives) != 0;
  const float d = (negative ? -amax : amax) / -8.0f;
  const F inverse = all(d != 0.0f ? 1.0f / d : 0.0f);
  block.scale = to_half(d);
  const auto quantise = [&](F value) {  // NaN becomes -8
    const F level = min(max(value * inverse + all(8.5f), all(0.0f)), all(15.0f));
    return truncate_to_int(level) - all_int(8);
  };
  store_low_bytes(block.q, quantise(low));
  store_low_bytes(block.q + kLanes, quantise(high));
}

template <>
struct KvOf<Q8_0> {
  static constexpr bool kExists = true;
  static constexpr float kUnit = 1.0f;
  static constexpr int kScaleRows = 1, kSteps = 1;
  static constexpr int64_t kLineBytes = kBlockTokens, kValueBytes = 32;

  static void read_scales(const std::byte* halves, float* scales) {
    store(scales, F::from_halves(halves));
    store(scales + kLanes, F::from_halves(halves + 2 * kLanes));
  }
  template <int step>
  static void keys(const std::byte* line, const float* scales, F* out) {
    out[0] = F::from_signed(line) * load(scales);
    out[1] = F::from_signed(line + kLanes) * load(scales + kLanes);
  }
  static void values(const std::byte* p, const float* scales, F* out) {
    const F scale = all(scales[0]);
    out[0] = F::from_signed(p) * scale;
    out[1] = F::from_signed(p + kLanes) * scale;
  }

  static void append(std::byte* keys, std::byte* values, int64_t place, const float* k,
                     const float* v, int64_t head_dim) {
    for (int64_t d = 0; d < head_dim; d += 32) {
      Block32 block;
      encode_q8_0(block, k + d);
      std::byte* const lines = keys + d / 32 * (32 * kLineBytes + kScaleBytes);
      for (int i = 0; i < 32; ++i) {
        lines[i * kLineBytes + place] = static_cast<std::byte>(block.q[i]);
      }
      __builtin_memcpy(lines + 32 * kLineBytes + 2 * place, &block.scale, 2);

      encode_q8_0(block, v + d);
      __builtin_memcpy(values + place * head_dim + d, block.q, 32);
      __builtin_memcpy(values + kBlockTokens * head_dim + d / 32 * kScaleBytes + 2 * place,
                       &block.scale, 2);
    }
  }
};

template <>
struct KvOf<Q4_0> {
  static constexpr bool kExists = true;
  static constexpr float kUnit = 1.0f;
  static constexpr int kScaleRows = 2, kSteps = 2;
  static constexpr int64_t kLineBytes = kBlockTokens, kValueBytes = 16;
  /// The lower four bits are left where they are alone in a lane, at the top: 2^28 times too large.
  static constexpr float kLowUnit = 0x1p-28f;

  static void read_scales(const std::byte* halves, float* scales) {
    for (int i = 0; i < 2; ++i) {
      const F factor = F::from_halves(halves + 2 * i * kLanes);
      store(scales + i * kLanes, factor * all(kLowUnit));
      store(scales + kBlockTokens + i * kLanes, factor);
    }
  }
  template <int step>
  static F number(I bytes) {
    return to_float(step == 0 ? shift_left<28>(bytes) : shift_right_signed<4>(bytes));
  }
  template <int step>
  static void keys(const std::byte* line, const float* scales, F* out) {
    const float* const own = scales + step * kBlockTokens;
    out[0] = number<step>(widen_signed_bytes(line)) * load(own);
    out[1] = number<step>(widen_signed_bytes(line + kLanes)) * load(own + kLanes);
  }
  static void values(const std::byte* p, const float* scales, F* out) {
    const I bytes = widen_signed_bytes(p);
    out[0] = number<0>(bytes) * all(scales[0]);
    out[1] = number<1>(bytes) * all(scales[kBlockTokens]);
  }

  static std::byte pair(int8_t low, int8_t high) {
    return static_cast<std::byte>((low & 0x0F) | high << 4);
  }
  static void append(std::byte* keys, std::byte* values, int64_t place, const float* k,
                     const float* v, int64_t head_dim) {
    for (int64_t d = 0; d < head_dim; d += 32) {
      Block32 block;
      encode_q4_0(block, k + d);
      std::byte* const lines = keys + d / 32 * (16 * kLineBytes + kScaleBytes);
      for (int i = 0; i < 16; ++i) {
        lines[i * kLineBytes + place] = pair(block.q[2 * i], block.q[2 * i + 1]);
      }
      __builtin_memcpy(lines + 16 * kLineBytes + 2 * place, &block.scale, 2);

      encode_q4_0(block, v + d);
      std::byte* const row = values + (place * head_dim + d) / 2;
      for (int i = 0; i < 16; ++i) row[i] = pair(block.q[i], block.q[i + 16]);
      __builtin_memcpy(values + kBlockTokens / 2 * head_dim + d / 32 * kScaleBytes + 2 * place,
                       &block.scale, 2);
    }
  }
};

}  // namespace
}  // namespace quern::cpu
