#include "measure/load/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "measure/statistics.h"

namespace quern {
namespace {

constexpr int64_t kCount = 20'000;
constexpr uint64_t kSeed = 11;

std::vector<double> gaps_s(const std::vector<int64_t>& times) {
  std::vector<double> gaps;
  int64_t before = 0;
  for (const int64_t at : times) {
    gaps.push_back(static_cast<double>(at - before) * 1e-9);
    before = at;
  }
  return gaps;
}

TEST(Arrivals, GapsHaveTheMeanOfTheRateAndTheSpreadOfTheBurstiness) {
  for (const double burstiness : {0.25, 0.5, 1.0, 2.0, 16.0}) {
    const auto times = arrival_times(kCount, {.rate = 50, .burstiness = burstiness}, kSeed);
    const std::vector<double> gaps = gaps_s(times);
    EXPECT_TRUE(std::ranges::is_sorted(times));
    EXPECT_NEAR(mean(gaps), 1.0 / 50, 1e-9) << burstiness;
    // A gamma distribution's coefficient of variation is 1 / sqrt(shape).
    const double expected = 1 / std::sqrt(burstiness);
    EXPECT_NEAR(standard_deviation(gaps) / mean(gaps), expected, 0.04 * expected) << burstiness;
  }
}

TEST(Arrivals, PoissonGapsAreExponential) {
  const std::vector<double> gaps = gaps_s(arrival_times(kCount, {.rate = 1}, kSeed));
  for (const double p : {0.1, 0.5, 0.9, 0.99}) {
    EXPECT_NEAR(percentile(gaps, p), -std::log(1 - p), 0.05 * -std::log(1 - p) + 0.005) << p;
  }
}

TEST(Arrivals, ConstantGapsAreEqualAndNoRateIsAllAtOnce) {
  const auto even = arrival_times(4, {.rate = 10, .is_constant = true}, kSeed);
  EXPECT_EQ(even, (std::vector<int64_t>{100'000'000, 200'000'000, 300'000'000, 400'000'000}));
  EXPECT_EQ(arrival_times(3, {}, kSeed), (std::vector<int64_t>{0, 0, 0}));
  EXPECT_TRUE(arrival_times(0, {.rate = 1}, kSeed).empty());
}

TEST(Arrivals, ARampGoesFromTheFirstRateToTheLast) {
  // Equal gaps: each is 1 / the rate of its request.
  const auto linear = gaps_s(arrival_times(
      4, {.rate = 1, .is_constant = true, .ramp = Ramp::kLinear, .end_rate = 4}, kSeed));
  const auto exponential = gaps_s(arrival_times(
      4, {.rate = 1, .is_constant = true, .ramp = Ramp::kExponential, .end_rate = 8}, kSeed));
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(linear[i], 1.0 / static_cast<double>(i + 1), 1e-8) << i;
    EXPECT_NEAR(exponential[i], 1.0 / static_cast<double>(1 << i), 1e-8) << i;
  }
}

TEST(Arrivals, ARampsChanceIsThatOfItsRateWhereverItHasCome) {
  for (const Ramp ramp : {Ramp::kLinear, Ramp::kExponential}) {
    const Arrivals arrivals{.rate = 10, .burstiness = 0.5, .ramp = ramp, .end_rate = 1000};
    const auto times = arrival_times(kCount, arrivals, kSeed);
    EXPECT_TRUE(std::ranges::is_sorted(times));
    const double whole_s = static_cast<double>(times.back()) * 1e-9;
    EXPECT_NEAR(static_cast<double>(kCount) / whole_s, mean_rate(arrivals),
                0.01 * mean_rate(arrivals));
    const std::vector<double> gaps = gaps_s(times);
    constexpr size_t kPart = kCount / 20;
    for (const size_t begin : {kPart, 10 * kPart, 18 * kPart}) {
      const std::span part(gaps.data() + begin, kPart);
      const double done = (static_cast<double>(begin) + kPart / 2.0) / kCount;
      const double rate = ramp == Ramp::kLinear ? 10 + 990 * done : 10 * std::pow(100, done);
      EXPECT_NEAR(mean(part), 1 / rate, 0.2 / rate) << begin;
    }
  }
}

TEST(Arrivals, TheSeedDecides) {
  const Arrivals arrivals{.rate = 3, .burstiness = 0.5};
  EXPECT_EQ(arrival_times(100, arrivals, 1), arrival_times(100, arrivals, 1));
  EXPECT_NE(arrival_times(100, arrivals, 1), arrival_times(100, arrivals, 2));
}

}  // namespace
}  // namespace quern
