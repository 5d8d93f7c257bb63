#include "engine/simulation/history.h"

#include <gtest/gtest.h>

#include "engine/simulation/planted_search.h"

namespace quern {
namespace {

// Under a sanitizer fewer histories show the same.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kHistories = 500;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr uint64_t kHistories = 500;
#else
constexpr uint64_t kHistories = 2'000;
#endif
#else
constexpr uint64_t kHistories = 2'000;
#endif

TEST(Simulation, EveryHistoryKeepsTheInvariantsAndRareThingsHappen) {
  RareEvents events;
  for (uint64_t seed = 1; seed <= kHistories; ++seed) {
    const HistoryOutcome outcome = run_history(seed);
    ASSERT_EQ(outcome.violation, std::nullopt) << "quern_simulate --histories 1 --seed " << seed;
    events.add(outcome.events);
  }
  for (const auto& [name, count] : events.named()) EXPECT_GT(count, 0) << name;
}

TEST(Simulation, SeedReproducesItsTrace) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const HistoryOutcome first = run_history(seed), second = run_history(seed);
    EXPECT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed;
    EXPECT_EQ(first.steps, second.steps);
  }
  EXPECT_NE(run_history(1).trace_hash, run_history(2).trace_hash);
}

TEST(Simulation, FindsEveryPlantedBug) {
  for (const NamedBug& one : planted_bugs()) {
    const PlantedSearch search = search_planted(one.bug, 1, 2'000);
    EXPECT_TRUE(search.found) << one.name << " was not found in " << search.histories;
    EXPECT_FALSE(search.how.empty()) << one.name;
  }
}

TEST(Simulation, SearchWithoutAPlantedBugFindsNothing) {
  const PlantedSearch search = search_planted(PlantedBug::kNone, 1, 50);
  EXPECT_FALSE(search.found) << search.how;
  EXPECT_EQ(search.histories, 50);
}

}  // namespace
}  // namespace quern
