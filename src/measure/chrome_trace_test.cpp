#include "measure/chrome_trace.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace quern {
namespace {

TEST(ChromeTrace, HoldsSpansCountersAndRequests) {
  const Trace::Event events[] = {
      {.name = "step", .begin_ns = 1'000'000, .end_ns = 1'500'250, .value = 3},
      {.name = "running",
       .begin_ns = 1'600'000,
       .end_ns = 1'600'000,
       .value = 2,
       .is_counter = true}};
  const TracedRequest requests[] = {{.id = 7,
                                     .submitted_ns = 900'000,
                                     .scheduled_ns = 1'000'000,
                                     .first_token_ns = 1'500'000,
                                     .finished_ns = 2'000'000,
                                     .prompt_tokens = 5,
                                     .generated_tokens = 4},
                                    {.id = 8, .submitted_ns = 950'000, .finished_ns = 960'000}};
  const auto object = parse_json(chrome_trace(events, requests, 9), "trace");
  ASSERT_TRUE(object) << object.error().message;
  EXPECT_EQ((*object)["metadata"]["dropped_events"], 9);
  const Json& all = (*object)["traceEvents"];
  EXPECT_EQ(all[1]["name"], "step");
  EXPECT_EQ(all[1]["ph"], "X");
  EXPECT_DOUBLE_EQ(all[1]["ts"].get<double>(), 100.0);
  EXPECT_DOUBLE_EQ(all[1]["dur"].get<double>(), 500.25);
  EXPECT_EQ(all[2]["ph"], "C");
  EXPECT_EQ(all[2]["args"]["value"], 2);
  // Four spans of the first request, one of the second, each with its begin and its end.
  int begins = 0, ends = 0;
  for (const Json& event : all) {
    begins += event["ph"] == "b";
    ends += event["ph"] == "e";
  }
  EXPECT_EQ(begins, 5);
  EXPECT_EQ(ends, 5);
}

TEST(ChromeTrace, OfNothingIsStillATrace) {
  EXPECT_TRUE(parse_json(chrome_trace({}, {}, 0), "trace"));
}

}  // namespace
}  // namespace quern
