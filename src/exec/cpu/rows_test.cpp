// Functions, norms, epilogues and choices of every level against plain loops in double precision,
// and level against level bit by bit.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "base/cat.h"
#include "exec/cpu/kernels_testing.h"
#include "program/steps/activate.h"
#include "program/steps/norm.h"

namespace quern::cpu {
namespace {

class RowsOfEveryLevel : public EveryLevel {};
INSTANTIATE_TEST_SUITE_P(Isa, RowsOfEveryLevel, testing::ValuesIn(available_isas()), level_name);

struct Function {
  const char* name;
  int number;
  double (*exact)(double);
  double relative, absolute;  // error allowed
};
double exact_gelu(double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }
double exact_gelu_tanh(double x) {
  return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double exact_silu(double x) { return x / (1 + std::exp(-x)); }
const Function kFunctions[] = {
    {"exp", 0, std::exp, 1.2e-7, 3e-38},  // 2 ulp are 1.2e-7 to 2.4e-7
    {"tanh", 1, std::tanh, 2.5e-7, 0},
    {"gelu", 2, exact_gelu, 4e-7, 1e-7},
    {"gelu_tanh", 3, exact_gelu_tanh, 4e-7, 1e-7},
    {"silu", 4, exact_silu, 3e-7, 1e-7},
};

TEST_P(RowsOfEveryLevel, FunctionsAreAccurate) {
  std::vector<float> x;
  for (int i = -88000; i <= 88000; ++i) x.push_back(static_cast<float>(i) * 1e-3f);
  for (float v = 1e-30f; v < 1.0f; v *= 1.7f) x.push_back(v), x.push_back(-v);
  std::vector<float> y(x.size());
  for (const Function& f : kFunctions) {
    kernels().apply(f.number, y.data(), x.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = f.exact(x[i]);
      ASSERT_NEAR(y[i], want, f.relative * std::abs(want) + f.absolute) << f.name << " of " << x[i];
    }
  }
}

TEST_P(RowsOfEveryLevel, ExpOfExtremesIsRight) {
  const std::vector<float> x = {-INFINITY, -1e30f,   -104.0f, -88.0f, 88.72283f, 88.73f,
                                1e30f,     INFINITY, NAN,     0.0f,   -0.0f};
  std::vector<float> y(x.size());
  kernels().apply(0, y.data(), x.data(), static_cast<int64_t>(x.size()));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(y[static_cast<size_t>(i)], 0.0f);
  EXPECT_TRUE(std::isfinite(y[4]));
  for (int i = 5; i < 8; ++i) EXPECT_EQ(y[static_cast<size_t>(i)], INFINITY);
  EXPECT_TRUE(std::isnan(y[8]));
  EXPECT_EQ(y[9], 1.0f);
  EXPECT_EQ(y[10], 1.0f);
}

TEST_P(RowsOfEveryLevel, NormsMatchThePlainForm) {
  for (const int64_t width : {1, 7, 16, 64, 100, 576, 2048}) {
    const auto n = static_cast<size_t>(width);
    const std::vector<float> x = random_values(n, 1, 3.0f), weight = random_values(n, 2),
                             bias = random_values(n, 3);
    std::vector<float> want(n), got(n);
    const Matrix<float> out{want.data(), 1, width, width};
    const Matrix<const float> in{x.data(), 1, width, width};
    NormArgs args{.eps = 1e-5f, .weight_offset = 1.0f, .weight = weight.data(), .width = width};
    kernels().norm(args, got.data(), x.data());
    rms_norm(out, in, weight, 1.0f, 1e-5f);
    for (size_t i = 0; i < n; ++i) ASSERT_NEAR(got[i], want[i], 2e-6 * std::abs(want[i]) + 1e-6);

    args = {.is_layer_norm = true,
            .eps = 1e-5f,
            .weight = weight.data(),
            .bias = bias.data(),
            .width = width};
    kernels().norm(args, got.data(), x.data());
    layer_norm(out, in, weight, bias, 1e-5f);
    for (size_t i = 0; i < n; ++i) ASSERT_NEAR(got[i], want[i], 1e-5);
  }
}

TEST_P(RowsOfEveryLevel, FinishAppliesBiasAndEpilogueToTheRowsThatExist) {
  const int64_t tokens = 3;
  constexpr int kWidth = 48, kOutWidth = 52;  // three panels
  const std::vector<float> sums = random_values(kWidth * 3, 1),
                           other = random_values(kWidth * 3, 2), bias = random_values(kWidth, 3),
                           other_bias = random_values(kWidth, 4),
                           add = random_values(kWidth * 3, 5);
  using Op = FinishArgs::Op;
  for (const int rows : {48, 41, 32, 16, 1, 9}) {
    for (const Op op : {Op::kStore, Op::kAdd, Op::kActivate, Op::kActivateGated, Op::kSoftCap}) {
      std::vector<float> out(kOutWidth * 3, 99.0f);
      FinishArgs args;
      args.op = op;
      args.function = FinishArgs::Function::kGeluTanh;
      args.softcap = 2.0f;
      args.tokens = tokens;
      args.rows = rows;
      args.sums = sums.data();
      args.other_sums = other.data();
      args.sums_stride = kWidth;
      args.bias = bias.data();
      args.other_bias = other_bias.data();
      args.add = add.data();
      args.add_stride = kWidth;
      args.out = out.data();
      args.out_stride = kOutWidth;
      kernels().finish(args);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int r = 0; r < kOutWidth; ++r) {
          const float got = out[static_cast<size_t>(t * kOutWidth + r)];
          if (r >= rows) {
            ASSERT_EQ(got, 99.0f);
            continue;
          }
          const auto i = static_cast<size_t>(t * kWidth + r), j = static_cast<size_t>(r);
          const float y = sums[i] + bias[j];
          float want = y;
          if (op == Op::kAdd) want = add[i] + y;
          if (op == Op::kActivate) want = activate(Activation::kGeluTanh, y);
          if (op == Op::kActivateGated) {
            want = activate(Activation::kGeluTanh, y) * (other[i] + other_bias[j]);
          }
          if (op == Op::kSoftCap) want = 2.0f * std::tanh(y / 2.0f);
          ASSERT_NEAR(got, want, 1e-6 + 1e-6 * std::abs(want));
        }
      }
    }
  }
}

TEST_P(RowsOfEveryLevel, ArgMaxTakesTheFirstOfEqualsAndNeverNan) {
  for (const int64_t n : {1, 5, 16, 17, 100, 1000}) {
    std::vector<float> x = random_values(static_cast<size_t>(n), 11);
    const auto want = std::max_element(x.begin(), x.end()) - x.begin();
    EXPECT_EQ(kernels().arg_max(x.data(), n), want);
    for (float& v : x) v = 1.5f;
    EXPECT_EQ(kernels().arg_max(x.data(), n), 0);
    if (n > 1) {
      x[0] = NAN;
      EXPECT_EQ(kernels().arg_max(x.data(), n), 1);
    }
    std::fill(x.begin(), x.end(), NAN);
    EXPECT_EQ(kernels().arg_max(x.data(), n), 0);
    std::fill(x.begin(), x.end(), -INFINITY);
    EXPECT_EQ(kernels().arg_max(x.data(), n), 0);
    x[static_cast<size_t>(n - 1)] = -3.0f;
    EXPECT_EQ(kernels().arg_max(x.data(), n), n - 1);
    EXPECT_EQ(kernels().next_above(x.data(), -4.0f, 0, n), n - 1);
    EXPECT_EQ(kernels().next_above(x.data(), -3.0f, 0, n), n);
  }
}

TEST(Levels, GiveTheSameBitsOfRows) {
  const KernelTable& first = kernel_table(Isa::kAvx2);
  for (const Isa isa : available_isas()) {
    const KernelTable& other = kernel_table(isa);
    const std::string name(isa_name(isa));
    for (const int64_t n : {7, 64, 100, 2048}) {
      const auto count = static_cast<size_t>(n);
      const std::vector<float> x = random_values(count, 21, 4.0f),
                               weight = random_values(count, 22);
      std::vector<float> a(count), b(count);
      for (const Function& f : kFunctions) {
        first.apply(f.number, a.data(), x.data(), n);
        other.apply(f.number, b.data(), x.data(), n);
        expect_same_bits(a, b, cat(name, " ", f.name));
      }
      for (const bool layer : {false, true}) {
        const NormArgs args{.is_layer_norm = layer,
                            .eps = 1e-6f,
                            .weight = weight.data(),
                            .bias = nullptr,
                            .width = n};
        first.norm(args, a.data(), x.data());
        other.norm(args, b.data(), x.data());
        expect_same_bits(a, b, name + " norm");
      }
      const std::vector<float> cos = random_values(count / 2, 23),
                               sin = random_values(count / 2, 24);
      a = b = x;
      first.rotate(a.data(), cos.data(), sin.data(), n / 2);
      other.rotate(b.data(), cos.data(), sin.data(), n / 2);
      expect_same_bits(a, b, name + " rotate");
    }
  }
}

}  // namespace
}  // namespace quern::cpu
