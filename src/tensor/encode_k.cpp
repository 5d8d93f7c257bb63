#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/formats/q4_k.h"
#include "tensor/formats/q5_k.h"
#include "tensor/formats/q6_k.h"
#include "tensor/grid_fit.h"

// The encoders of the formats whose sub-blocks have scales in steps of the block's own scale. First
// each sub-block is fitted by itself; the widest of them gives the block's step; then each takes
// those whole numbers of steps, of the nearest few, that leave the least error with the step as it
// is stored.

namespace quern {

namespace {

/// The step of a block's scales as a half. Below the normal halves precision runs out: there it is
/// rounded away from zero, or the widest scale would need more steps than there are.
uint16_t step_to_half(float step) {
  const uint16_t half = float_to_half(step);
  const bool subnormal = (half & 0x7C00) == 0;
  const bool smaller = std::abs(half_to_float(half)) < std::abs(step);
  return static_cast<uint16_t>(half + (subnormal && smaller ? 1 : 0));
}

/// What Q4_K and Q5_K have in common: all but where the bits of a level go.
struct PairBlock {
  uint16_t d, dmin;
  SixBitPairs pairs;
  uint8_t levels[256];
};

PairBlock encode_pairs(std::span<const float, 256> x, float high) {
  constexpr int kSub = 32, kSubs = 8;
  GridFit fits[kSubs];
  float widest = 0.0f, deepest = 0.0f;
  for (size_t j = 0; j < kSubs; ++j) {
    fits[j] = fit_with_minimum(FitValues<kSub>(&x[j * kSub]), high);
    widest = std::max(widest, fits[j].scale);
    deepest = std::max(deepest, fits[j].minimum);
  }

  PairBlock block{};
  block.d = step_to_half(widest / 63);
  block.dmin = step_to_half(deepest / 63);
  const float d = half_to_float(block.d), dmin = half_to_float(block.dmin);
  for (size_t j = 0; j < kSubs; ++j) {
    const FitValues<kSub> values(&x[j * kSub]);
    const float scale = nearest_level(fits[j].scale * reciprocal(d), 0, 63);
    const float minimum = nearest_level(fits[j].minimum * reciprocal(dmin), 0, 63);
    double least = std::numeric_limits<double>::infinity();
    float best_scale = 0, best_minimum = 0;
    for (float s = std::max(scale - 1, 0.0f); s <= std::min(scale + 1, 63.0f); ++s) {
      for (float m = std::max(minimum - 1, 0.0f); m <= std::min(minimum + 1, 63.0f); ++m) {
        const double error = grid_error(values, d * s, dmin * m, 0, high);
        if (error < least) least = error, best_scale = s, best_minimum = m;
      }
    }
    block.pairs.set(static_cast<int>(j), static_cast<int>(best_scale),
                    static_cast<int>(best_minimum));
    const float inverse = reciprocal(d * best_scale);
    for (size_t i = j * kSub; i < (j + 1) * kSub; ++i) {
      const float level = nearest_level((x[i] + dmin * best_minimum) * inverse, 0, high);
      block.levels[i] = static_cast<uint8_t>(level);
    }
  }
  return block;
}

}  // namespace

Q4_K Q4_K::encode(std::span<const float, kBlockValues> x) {
  const PairBlock pairs = encode_pairs(x, 15);
  Q4_K block{.d = pairs.d, .dmin = pairs.dmin, .pairs = pairs.pairs, .nibbles = {}};
  for (int i = 0; i < kBlockValues; ++i) {
    block.nibbles[i / 64 * 32 + i % 32] |=
        static_cast<uint8_t>(pairs.levels[i] << (i / 32 % 2 * 4));
  }
  return block;
}

Q5_K Q5_K::encode(std::span<const float, kBlockValues> x) {
  const PairBlock pairs = encode_pairs(x, 31);
  Q5_K block{.d = pairs.d, .dmin = pairs.dmin, .pairs = pairs.pairs, .high = {}, .nibbles = {}};
  for (int i = 0; i < kBlockValues; ++i) {
    const int level = pairs.levels[i];
    block.nibbles[i / 64 * 32 + i % 32] |= static_cast<uint8_t>((level & 0x0F) << (i / 32 % 2 * 4));
    block.high[i % 32] |= static_cast<uint8_t>((level >> 4) << (i / 32));
  }
  return block;
}

Q6_K Q6_K::encode(std::span<const float, kBlockValues> x) {
  constexpr int kSub = 16, kSubs = 16;
  float scales[kSubs];
  float widest = 0.0f;
  for (size_t j = 0; j < kSubs; ++j) {
    scales[j] = fit_through_zero(FitValues<kSub>(&x[j * kSub]), -32, 31).scale;
    if (std::abs(scales[j]) > std::abs(widest)) widest = scales[j];
  }

  Q6_K block{};
  block.d = step_to_half(widest / -128);
  const float d = half_to_float(block.d);
  for (size_t j = 0; j < kSubs; ++j) {
    const FitValues<kSub> values(&x[j * kSub]);
    const float scale = nearest_level(scales[j] * reciprocal(d), -128, 127);
    double least = std::numeric_limits<double>::infinity();
    float best = 0;
    for (float s = std::max(scale - 1, -128.0f); s <= std::min(scale + 1, 127.0f); ++s) {
      const double error = grid_error(values, d * s, 0, -32, 31);
      if (error < least) least = error, best = s;
    }
    block.scales[j] = static_cast<int8_t>(best);
    const float inverse = reciprocal(d * best);
    for (size_t i = j * kSub; i < (j + 1) * kSub; ++i) {
      const size_t half = i / 128, at = i % 128;
      const int level = static_cast<int>(nearest_level(x[i] * inverse, -32, 31)) + 32;
      block.low[half * 64 + at % 64] |= static_cast<uint8_t>((level & 0x0F) << (at / 64 * 4));
      block.high[half * 32 + at % 32] |= static_cast<uint8_t>((level >> 4) << (at / 32 * 2));
    }
  }
  return block;
}

}  // namespace quern
