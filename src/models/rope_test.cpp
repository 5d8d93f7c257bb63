#include "models/rope.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

// Expected values: float arithmetic of transformers' modeling_rope_utils.

TEST(MakeRope, PlainFrequenciesFallFromOneToTheInverseOfTheta) {
  const auto rope = make_rope({.rope_theta = 10000.0}, 8);
  ASSERT_TRUE(rope);
  ASSERT_EQ(rope->inverse_frequencies.size(), 4u);
  EXPECT_EQ(rope->inverse_frequencies[0], 1.0f);
  EXPECT_FLOAT_EQ(rope->inverse_frequencies[1], 0.1f);
  EXPECT_FLOAT_EQ(rope->inverse_frequencies[3], 0.001f);
  EXPECT_EQ(rope->attention_scaling, 1.0f);
}

TEST(MakeRope, LinearScalingDividesAll) {
  const auto rope = make_rope(
      {.rope_type = RopeParameters::Type::kLinear, .rope_theta = 10000.0, .factor = 4.0}, 8);
  ASSERT_TRUE(rope);
  EXPECT_EQ(rope->inverse_frequencies[0], 0.25f);
  EXPECT_FLOAT_EQ(rope->inverse_frequencies[1], 0.025f);
}

TEST(MakeRope, Llama3LeavesShortWavesSlowsLongOnesAndBlendsBetween) {
  const auto rope = make_rope({.rope_type = RopeParameters::Type::kLlama3,
                               .rope_theta = 10000.0,
                               .factor = 8.0,
                               .low_freq_factor = 1.0,
                               .high_freq_factor = 4.0,
                               .original_max_position_embeddings = 64},
                              16);
  ASSERT_TRUE(rope);
  const std::vector<float>& f = rope->inverse_frequencies;
  EXPECT_EQ(f[0], 1.0f);                         // wavelength 6.3, below 64 / 4
  EXPECT_NEAR(f[1], 0.24438458681106567, 1e-8);  // 19.9: blended
  EXPECT_NEAR(f[2], 0.013042256236076355, 1e-9);
  EXPECT_FLOAT_EQ(f[3], 0.031622777f / 8.0f);  // 198.7, above 64
}

TEST(MakeRope, DivisorsOfTheFileAreApplied) {
  const auto rope = make_rope({.rope_theta = 10000.0, .frequency_divisors = {1.0f, 32.0f}}, 4);
  ASSERT_TRUE(rope);
  EXPECT_EQ(rope->inverse_frequencies[0], 1.0f);
  EXPECT_FLOAT_EQ(rope->inverse_frequencies[1], 0.01f / 32.0f);
}

TEST(MakeRope, OddHeadsAndWrongCountsOfDivisorsAreRefused) {
  EXPECT_EQ(make_rope({}, 7).error().code, ErrorCode::kBadFile);
  EXPECT_EQ(make_rope({.frequency_divisors = {1.0f}}, 8).error().code, ErrorCode::kBadFile);
}

}  // namespace
}  // namespace quern
