#include "measure/metrics_text.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

constexpr std::string_view kPage =
    "# HELP a_total What.\n# TYPE a_total counter\n"
    "a_total{model=\"m\"} 3\na_total{model=\"n\"} 4\na_total_more 100\n"
    "t_seconds_bucket{le=\"0.1\"} 10\nt_seconds_bucket{le=\"0.2\"} 30\n"
    "t_seconds_bucket{le=\"+Inf\"} 40\nt_seconds_sum 5\nnonsense\nbad NaN\n";

TEST(MetricsText, SumsOverLabels) {
  const MetricsText page(kPage);
  EXPECT_EQ(page.value("a_total"), 7);
  EXPECT_EQ(page.value("a_total_more"), 100);
  EXPECT_EQ(page.value("a"), std::nullopt);
  EXPECT_EQ(page.value("bad"), std::nullopt);
}

TEST(MetricsText, QuantilesLieWithinTheirBucket) {
  const MetricsText page(kPage), nothing("");
  EXPECT_DOUBLE_EQ(*page.quantile("t_seconds", 0.25, nothing), 0.1);
  EXPECT_DOUBLE_EQ(*page.quantile("t_seconds", 0.5, nothing), 0.15);
  EXPECT_DOUBLE_EQ(*page.quantile("t_seconds", 0.99, nothing), 0.2);
  EXPECT_EQ(page.quantile("t_seconds", 0.5, page), std::nullopt);
  EXPECT_EQ(page.quantile("none", 0.5, nothing), std::nullopt);
}

}  // namespace
}  // namespace quern
