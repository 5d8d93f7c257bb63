#include "measure/statistics.h"

#include <gtest/gtest.h>

#include <vector>

#include "measure/model_speed.h"
#include "measure/perplexity.h"

namespace quern {
namespace {

TEST(Statistics, AgreeWithHandWorkedFigures) {
  const std::vector<double> values = {4, 1, 3, 2};
  EXPECT_DOUBLE_EQ(median(values), 2.5);
  EXPECT_DOUBLE_EQ(mean(values), 2.5);
  EXPECT_NEAR(standard_deviation(values), 1.2909944487358056, 1e-15);
  EXPECT_DOUBLE_EQ(percentile(values, 0.99), 3.97);
  EXPECT_DOUBLE_EQ(percentile(values, 1.0), 4.0);
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(standard_deviation(std::vector<double>{5}), 0);
}

TEST(Statistics, AnIntervalOfAPercentileIsBetweenRanks) {
  std::vector<double> values;
  for (int i = 1000; i > 0; --i) values.push_back(i);
  EXPECT_EQ(percentile_interval(values, 0.99), std::make_pair(984.0, 997.0));
  values.erase(values.begin(), values.begin() + 700);  // 300 to 1
  EXPECT_EQ(percentile_interval(values, 0.99), std::make_pair(294.0, 300.0));
  EXPECT_EQ(percentile_interval({}, 0.5), std::make_pair(0.0, 0.0));
}

TEST(PerplexityWindows, TheLastShorterOneCountsIfItHasTwoIds) {
  const std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6};
  const auto windows = perplexity_windows(ids, 4, PerplexityMethod::kWindow, std::nullopt);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[0].num_scored(), 3);
  EXPECT_EQ(windows[1].ids, (std::vector<int32_t>{5, 6}));
  EXPECT_EQ(perplexity_windows(std::span(ids).first(5), 4, PerplexityMethod::kWindow, {}).size(),
            1u);
}

TEST(PerplexityWindows, LlamaCppPutsBosFirstScoresTheSecondHalfAndDropsTheRest) {
  std::vector<int32_t> ids(1100);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto windows = perplexity_windows(ids, 512, PerplexityMethod::kLlamaCpp, 9999);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[1].ids[0], 9999);
  EXPECT_EQ(windows[1].ids[1], 513);
  EXPECT_EQ(windows[0].num_scored(), 255);
}

TEST(ModelBench, CasesAreEveryCombinationAndNamedAsLlamaBenchDoes) {
  const auto cases = model_bench_cases({512}, {128, 0}, {0, 2048}, {1, 8});
  ASSERT_EQ(cases.size(), 8u);
  EXPECT_EQ(cases[0].name(), "pp512");
  EXPECT_EQ(cases[1].name(), "tg128");
  EXPECT_EQ(cases[7].name(), "tg128 @ d2048 x8");
  EXPECT_EQ(cases[7].timed_tokens(), 1024);
}

}  // namespace
}  // namespace quern
