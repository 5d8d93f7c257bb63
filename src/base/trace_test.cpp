#include "base/trace.h"

#include <gtest/gtest.h>

#include <string_view>

namespace quern {
namespace {

class StepClock : public Clock {
 public:
  int64_t now_ns() const override { return ++now_; }

 private:
  mutable int64_t now_ = 0;
};

TEST(Trace, RecordsNothingWhenOff) {
  Trace trace;
  { const TraceSpan span(&trace, "step"); }
  trace.add_counter("tokens", 3);
  { const TraceSpan nobody(nullptr, "step"); }
  EXPECT_TRUE(trace.events().empty());
}

TEST(Trace, KeepsSpansAndCountersInTheOrderOfEnding) {
  const StepClock clock;
  Trace trace(clock);
  trace.start(10);
  {
    const TraceSpan outer(&trace, "outer", 7);
    const TraceSpan inner(&trace, "inner");
  }
  trace.add_counter("tokens", 42);
  trace.stop();
  trace.add_counter("late", 1);

  const auto events = trace.events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(std::string_view(events[0].name), "inner");
  EXPECT_EQ(std::string_view(events[1].name), "outer");
  EXPECT_LT(events[1].begin_ns, events[0].begin_ns);
  EXPECT_GT(events[1].end_ns, events[0].end_ns);
  EXPECT_EQ(events[1].value, 7);
  EXPECT_TRUE(events[2].is_counter);
  EXPECT_EQ(events[2].value, 42);
}

TEST(Trace, CountsWhatFoundNoPlace) {
  Trace trace;
  trace.start(2);
  for (int i = 0; i < 5; ++i) trace.add_counter("c", i);
  EXPECT_EQ(trace.events().size(), 2u);
  EXPECT_EQ(trace.num_dropped(), 3);
  trace.start(2);
  EXPECT_TRUE(trace.events().empty());
  EXPECT_EQ(trace.num_dropped(), 0);
}

}  // namespace
}  // namespace quern
