#include "models/rope.h"

#include <cmath>
#include <numbers>

#include "base/cat.h"

namespace quern {

namespace {

/// Long wavelengths slow down by `factor`, short ones stay, those between are blended.
float llama3_frequency(float frequency, const RopeParameters& p) {
  const auto context = static_cast<float>(p.original_max_position_embeddings);
  const auto low = static_cast<float>(p.low_freq_factor);
  const auto high = static_cast<float>(p.high_freq_factor);
  const auto factor = static_cast<float>(p.factor);

  const float wavelength = 2.0f * std::numbers::pi_v<float> / frequency;
  if (wavelength < context / high) return frequency;
  if (wavelength > context / low) return frequency / factor;
  const float smooth = (context / wavelength - low) / (high - low);
  return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

Result<Rope> make_rope(const RopeParameters& parameters, int64_t head_dim) {
  if (head_dim % 2 != 0) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat("head_dim is ", head_dim,
                                ", wanted an even number: rotary embedding turns pairs of values"),
                 .what = "head_dim",
                 .found = cat(head_dim),
                 .wanted = "an even number"};
  }
  const auto pairs = static_cast<size_t>(head_dim / 2);
  const std::vector<float>& divisors = parameters.frequency_divisors;
  if (!divisors.empty() && divisors.size() != pairs) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat("rope_freqs.weight has ", divisors.size(), " values, wanted ",
                                pairs, ", one for each pair in a head of ", head_dim),
                 .what = "rope_freqs.weight",
                 .found = cat(divisors.size(), " values"),
                 .wanted = cat(pairs, " values")};
  }

  Rope rope;
  rope.inverse_frequencies.reserve(pairs);
  for (size_t j = 0; j < pairs; ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(head_dim);
    float frequency = 1.0f / std::pow(static_cast<float>(parameters.rope_theta), exponent);
    switch (parameters.rope_type) {
      case RopeParameters::Type::kDefault:
        break;
      case RopeParameters::Type::kLinear:
        frequency /= static_cast<float>(parameters.factor);
        break;
      case RopeParameters::Type::kLlama3:
        frequency = llama3_frequency(frequency, parameters);
        break;
    }
    if (!divisors.empty()) frequency /= divisors[j];
    rope.inverse_frequencies.push_back(frequency);
  }
  return rope;
}

}  // namespace quern
