#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace quern {
namespace {

TEST(Half, EveryHalfSurvivesTheWayToFloatAndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), bits);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f), 0x3C00);      // a tie goes to even
  EXPECT_EQ(float_to_half(1.0f + 3 * 0x1p-11f), 0x3C02);  // and up to even
  EXPECT_EQ(float_to_half(0x1p-25f), 0x0000);             // half of the least subnormal
  EXPECT_EQ(float_to_half(std::nextafter(0x1p-25f, 1.0f)), 0x0001);
  EXPECT_EQ(float_to_half(65519.0f), 0x7BFF);
  EXPECT_EQ(float_to_half(65520.0f), 0x7C00);
  EXPECT_EQ(float_to_bf16(1.0f + 0x1p-8f), 0x3F80);
}

TEST(DType, NamesAliasesAndTypeNumbersLeadToTheSameFormat) {
  EXPECT_EQ(DType::from_name("bfloat16"), DType::of<BF16>());
  EXPECT_EQ(DType::from_name("q4_1"), DType::from_gguf_type(3));
  EXPECT_EQ(DType::from_safetensors_name("F16"), DType::of<F16>());
  EXPECT_EQ(DType::from_safetensors_name(""), std::nullopt);
  EXPECT_EQ(DType::from_name("q9_9"), std::nullopt);
  EXPECT_EQ(DType::of<Q4_0>().row_bytes(64), 36);
}

// Largest error of a round trip, as a share of the largest value in the block.
TEST(DType, RoundTripErrorStaysWithinTheFormatsStep) {
  const std::pair<DType, float> cases[] = {
      {DType::of<F32>(), 0.0f},       {DType::of<F16>(), 0.0005f},
      {DType::of<BF16>(), 0.004f},    {DType::of<Q8_0>(), 0.5f / 127 + 0.0005f},
      {DType::of<Q4_0>(), 1.01f / 8}, {DType::of<Q4_1>(), 1.01f / 15}};
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(64), back(64);
  for (const auto& [dtype, bound] : cases) {
    for (int round = 0; round < 200; ++round) {
      for (float& value : x) value = normal(random);
      std::vector<std::byte> packed(static_cast<size_t>(dtype.row_bytes(64)));
      dtype.encode_row(x, packed.data());
      dtype.decode_row(packed.data(), back);
      for (size_t begin = 0; begin < 64; begin += 32) {
        float amax = 0;
        for (size_t i = begin; i < begin + 32; ++i) amax = std::max(amax, std::abs(x[i]));
        for (size_t i = begin; i < begin + 32; ++i) {
          ASSERT_LE(std::abs(back[i] - x[i]), bound * amax) << dtype.name();
        }
      }
    }
  }
}

TEST(DType, EncodingZerosAndNotANumberIsDefined) {
  for (const DType dtype : DType::all()) {
    std::vector<float> x(32, 0.0f);
    std::vector<std::byte> packed(static_cast<size_t>(dtype.row_bytes(32)));
    dtype.encode_row(x, packed.data());
    std::vector<float> back(32, 1.0f);
    dtype.decode_row(packed.data(), back);
    EXPECT_EQ(back, x) << dtype.name();
  }
}

}  // namespace
}  // namespace quern
