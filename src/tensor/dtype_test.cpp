#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string_view>

#include "base/hash.h"
#include "tensor/formats/q4_k.h"
#include "tensor/formats/q5_0.h"
#include "tensor/formats/q5_k.h"
#include "tensor/formats/q6_k.h"

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

TEST(Fp8, DecodesEveryCodeToTheRecordedBits) {
  std::vector<float> values;
  for (int code = 0; code < 256; ++code) {
    values.push_back(FP8_E4M3{static_cast<uint8_t>(code)}.decode(0));
  }
  EXPECT_EQ(values[1], 0x1p-9f);
  EXPECT_EQ(values[0x38], 1.0f);
  EXPECT_EQ(values[0xFE], -448.0f);
  EXPECT_TRUE(std::isnan(values[0x7F]));
  EXPECT_EQ(xxh64(std::as_bytes(std::span(values))), 0xD161F27E21D89878u);  // PyTorch's float32
}

uint8_t fp8(float value) { return FP8_E4M3::encode(std::span<const float, 1>(&value, 1)).bits; }

TEST(Fp8, EncodesEveryBf16ToTheRecordedCode) {
  // PyTorch's codes of all bf16 patterns in ascending order, clamped to +-448 first.
  std::vector<uint8_t> codes;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    codes.push_back(fp8(bf16_to_float(static_cast<uint16_t>(bits))));
  }
  EXPECT_EQ(xxh64(std::as_bytes(std::span(codes))), 0x6CDFE5A9F240C253u);
}

TEST(Fp8, RoundsToNearestEvenAndSaturates) {
  for (int code = 0; code < 0x7E; ++code) {
    const float low = FP8_E4M3{static_cast<uint8_t>(code)}.decode(0);
    const float high = FP8_E4M3{static_cast<uint8_t>(code + 1)}.decode(0);
    const float middle = (low + high) / 2;  // exact
    EXPECT_EQ(fp8(low), code);
    EXPECT_EQ(fp8(-low), code | 0x80);
    EXPECT_EQ(fp8(middle), code + code % 2);
    EXPECT_EQ(fp8(std::nextafter(middle, 0.0f)), code);
    EXPECT_EQ(fp8(std::nextafter(middle, 1e3f)), code + 1);
    EXPECT_EQ(fp8(-std::nextafter(middle, 1e3f)), (code + 1) | 0x80);
  }
  for (const float large :
       {449.0f, 464.0f, 480.0f, 1e30f, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(fp8(large), 0x7E);
    EXPECT_EQ(fp8(-large), 0xFE);
  }
  EXPECT_EQ(fp8(std::numeric_limits<float>::quiet_NaN()), 0x7F);
  EXPECT_EQ(fp8(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(DType, NamesAliasesAndTypeNumbersLeadToTheSameFormat) {
  EXPECT_EQ(DType::from_name("bfloat16"), DType::of<BF16>());
  EXPECT_EQ(DType::from_name("q4_1"), DType::from_gguf_type(3));
  EXPECT_EQ(DType::from_safetensors_name("F16"), DType::of<F16>());
  EXPECT_EQ(DType::from_safetensors_name("F8_E4M3"), DType::of<FP8_E4M3>());
  EXPECT_EQ(DType::from_name("fp8"), DType::of<FP8_E4M3>());
  // GGUF has no such type, so that no number of a file leads to it.
  EXPECT_EQ(DType::from_gguf_type(static_cast<uint32_t>(DType::of<FP8_E4M3>().gguf_type())),
            std::nullopt);
  EXPECT_EQ(DType::from_safetensors_name(""), std::nullopt);
  EXPECT_EQ(DType::from_name("q9_9"), std::nullopt);
  EXPECT_EQ(DType::of<Q4_0>().row_bytes(64), 36);
}

// Largest error of a round trip, as a share of the largest value in the block.
TEST(DType, RoundTripErrorStaysWithinTheFormatsStep) {
  const std::pair<DType, float> cases[] = {{DType::of<F32>(), 0.0f},
                                           {DType::of<F16>(), 0.0005f},
                                           {DType::of<BF16>(), 0.004f},
                                           {DType::of<FP8_E4M3>(), 0.0626f},
                                           {DType::of<Q8_0>(), 0.5f / 127 + 0.0005f},
                                           {DType::of<Q4_0>(), 1.01f / 8},
                                           {DType::of<Q4_1>(), 1.01f / 15}};
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

TEST(W8A8, ARowIsRoundedToNearestEvenAgainstOneScale) {
  const DType dtype = DType::of<W8A8>();
  EXPECT_TRUE(dtype.scales_rows());
  EXPECT_FALSE(dtype.is_float());
  EXPECT_EQ(dtype.row_bytes(100), 104);
  EXPECT_TRUE(dtype.fits_row(131072));
  EXPECT_FALSE(dtype.fits_row(131073));
  // A scale of two: odd values lie between two levels.
  const std::vector<float> x = {254.0f, 1.0f, 3.0f, -5.0f, 0.0f, -254.0f, 7.1f};
  std::vector<std::byte> row(static_cast<size_t>(dtype.row_bytes(7)));
  dtype.encode_row(x, row.data());
  std::vector<float> back(7);
  dtype.decode_row(row.data(), back);
  EXPECT_EQ(back, (std::vector<float>{254.0f, 0.0f, 4.0f, -4.0f, 0.0f, -254.0f, 8.0f}));
  // Nothing finite becomes something else, nor does anything undefined happen.
  const float huge = 1e38f, tiny = 1e-44f;
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float odd : {huge, -huge, tiny, infinity, nan}) {
    dtype.encode_row(std::vector<float>{odd, 0.0f, 1.0f, 0.5f, 0.0f, 0.0f, -1.0f}, row.data());
    dtype.decode_row(row.data(), back);
    if (std::abs(odd) <= huge) {
      EXPECT_NEAR(back[0], odd, std::abs(odd) / 254 + 0.005f);
      EXPECT_EQ(back[1], 0.0f);
    }
  }
}

TEST(DType, ZerosStayZeros) {
  for (const DType dtype : DType::all()) {
    const size_t values = static_cast<size_t>(dtype.block_values());
    std::vector<float> x(values, 0.0f);
    std::vector<std::byte> packed(static_cast<size_t>(dtype.row_bytes(dtype.block_values())));
    dtype.encode_row(x, packed.data());
    std::vector<float> back(values, 1.0f);
    dtype.decode_row(packed.data(), back);
    EXPECT_EQ(back, x) << dtype.name();
  }
}

/// One block of random bytes and what ggml's Python package decodes it to: its first two values and
/// XXH64 over all as little-endian float32. kGaussianError: the error that ggml's own encoder
/// leaves in Gaussian values, root mean square, as a share of their deviation.
template <typename Format>
struct Recorded;
template <>
struct Recorded<Q5_0> {
  static constexpr std::string_view kBlock = "4c22402210fae920677a0dcc8aacd07f7c640c97decb";
  static constexpr float kFirst[] = {-0x1.60ap-4f, -0x1.93p-3f};
  static constexpr uint64_t kHash = 0x964A666D6381463C;
  static constexpr double kGaussianError = 0.0432;
};
template <>
struct Recorded<Q4_K> {
  static constexpr std::string_view kBlock =
      "4c22c3a9b02958078df1497cdf7bde255437c866d33c9fed358a398c371507127643f18a94dd382159d022c1"
      "4ca7c5f2b1f3bcfa5cc3339f90244bde5655765e3b394f25db74ea82d58a98716313b0a9132f9afe77a37a46"
      "ff5910db28e051237eec05597ef6bcc9d764643f51c09cabc2a78075bf7c2b8302b7f7f099a315d19eded3d6"
      "6232908c37e375fb00281dfb";
  static constexpr float kFirst[] = {0x1.7927p+1f, 0x1.2deb8p+2f};
  static constexpr uint64_t kHash = 0x46B859D7920DC3A9;
  static constexpr double kGaussianError = 0.0714;
};
template <>
struct Recorded<Q5_K> {
  static constexpr std::string_view kBlock =
      "4c22c3a968bb5a342a1af14ee745c18d1ba3e8d200d4ce7bdb05d8fb8c38705a427fa6ed32ca72970aef84b8"
      "96b33c3cf5638e97b3275dcd883ffee2579209de5118a3f7d064f620514a5ac7131c92773db789afb9f7f246"
      "4307bb03d3274715d90601f92e9b5ce58e7aad4d131e116e91f5ac3dd718cf256d6c85dbb67961ac966a9f13"
      "fa6dc43331215090ea2fc4e641c1f7fe370797375ffc899c2c95770805fcaf2c1c986533717a2771c2ee8258";
  static constexpr float kFirst[] = {0x1.87158p+3f, 0x1.67998p+3f};
  static constexpr uint64_t kHash = 0x8E2787BD5463C298;
  static constexpr double kGaussianError = 0.0361;
};
template <>
struct Recorded<Q6_K> {
  static constexpr std::string_view kBlock =
      "995d1cba8a5d0a78ee99c956876bf8e7732717a09d4186b2e233f4be04b8dd562cf02ce4ae105204b18c8a4e"
      "a334ea281ae30601ea6b16ffc288fe164bf2af758370d4d1f0fde7b071124bdbdfb9fe0d77c0487fe284b708"
      "55e0043107418cd8b1d7bb124d6e7f965eb428050b9a074f43c6c9ee69983f51e5bd1e4fb140d816298a52c6"
      "3113342c5905b97f6f464b06407aa505d5e2d0d60e5b010276a55f7738675e6dcc5e902004bc1aa57b483fbd"
      "ac2829fcc94d1632a10f59ec2801da0f1a042a24a339309910d506de486150e54c22";
  static constexpr float kFirst[] = {-0x1.1e82p+1f, 0x1.0a0bp+2f};
  static constexpr uint64_t kHash = 0x3D91203C2D0CC2A5;
  static constexpr double kGaussianError = 0.0177;
};

template <typename Format>
class BlockFormat : public testing::Test {
 protected:
  static constexpr size_t kValues = Format::kBlockValues;
  using Values = std::vector<float>;

  static Values decode(const Format& block) {
    Values values(kValues);
    for (size_t i = 0; i < kValues; ++i) values[i] = block.decode(static_cast<int>(i));
    return values;
  }
  static Values round_trip(const Values& x) {
    return decode(Format::encode(std::span<const float, kValues>(x)));
  }
};
using BlockFormats = testing::Types<Q5_0, Q4_K, Q5_K, Q6_K>;
TYPED_TEST_SUITE(BlockFormat, BlockFormats);

TYPED_TEST(BlockFormat, DecodesRandomBytesToTheRecordedBits) {
  const std::string_view hex = Recorded<TypeParam>::kBlock;
  ASSERT_EQ(hex.size(), 2 * sizeof(TypeParam));
  uint8_t bytes[sizeof(TypeParam)];
  for (size_t i = 0; i < sizeof(bytes); ++i) {
    const auto digit = [&](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    bytes[i] = static_cast<uint8_t>(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
  }
  TypeParam block;
  std::memcpy(&block, bytes, sizeof(block));
  const std::vector<float> values = this->decode(block);
  EXPECT_EQ(values[0], Recorded<TypeParam>::kFirst[0]);
  EXPECT_EQ(values[1], Recorded<TypeParam>::kFirst[1]);
  EXPECT_EQ(xxh64(std::as_bytes(std::span(values))), Recorded<TypeParam>::kHash);
}

TYPED_TEST(BlockFormat, LeavesNoMoreErrorThanTheFieldsEncoder) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(this->kValues);
  double errors = 0, squares = 0;
  for (size_t done = 0; done < 64 * 1024; done += x.size()) {
    for (float& value : x) value = normal(random);
    const std::vector<float> back = this->round_trip(x);
    for (size_t i = 0; i < x.size(); ++i) {
      errors += static_cast<double>((back[i] - x[i]) * (back[i] - x[i]));
      squares += static_cast<double>(x[i] * x[i]);
    }
  }
  EXPECT_LE(std::sqrt(errors / squares), Recorded<TypeParam>::kGaussianError);
}

TYPED_TEST(BlockFormat, ZerosAndValuesOfOneSizeComeBack) {
  for (const float value : {0.0f, 1.0f, -1.0f, 0.37f, 1e-3f, -250.0f}) {
    const std::vector<float> x(this->kValues, value);
    for (const float back : this->round_trip(x)) {
      ASSERT_NEAR(back, value, 0.01f * std::abs(value)) << value;
    }
  }
}

TYPED_TEST(BlockFormat, NumbersThatAreNotFiniteAreEncodedWithoutUndefinedConversions) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float odd : {nan, -nan, infinity, -infinity, 3e38f, -3e38f, 1e-44f}) {
    for (const size_t at : {size_t{0}, size_t{17}}) {
      std::vector<float> x(this->kValues, 0.25f);
      x[at] = odd;
      EXPECT_EQ(this->round_trip(x).size(), x.size());  // the sanitizers look at the rest
      std::fill(x.begin(), x.end(), odd);
      EXPECT_EQ(this->round_trip(x).size(), x.size());
    }
  }
}

TEST(SixBitPairs, HoldEveryPairInEveryPlace) {
  std::mt19937 random(5);
  for (int round = 0; round < 1000; ++round) {
    SixBitPairs pairs{};
    int scales[8], minima[8];
    for (int j = 0; j < 8; ++j) {
      scales[j] = static_cast<int>(random() % 64);
      minima[j] = static_cast<int>(random() % 64);
      pairs.set(j, scales[j], minima[j]);
    }
    for (int j = 0; j < 8; ++j) {
      ASSERT_EQ(pairs.scale(j), scales[j]);
      ASSERT_EQ(pairs.minimum(j), minima[j]);
    }
  }
}

}  // namespace
}  // namespace quern
