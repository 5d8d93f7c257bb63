#include "text/seeded_hash.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "base/hash.h"
#include "text/merge_table.h"

namespace quern {
namespace {

TEST(SeededHash, CannotBeKnownBeforeTheProcessRuns) {
  const std::string text = "token";
  EXPECT_EQ(seeded_hash(text), seeded_hash(std::string_view("token")));
  EXPECT_NE(seeded_hash(text), xxh64(std::as_bytes(std::span(text))));
  EXPECT_NE(seeded_hash(text), seeded_hash("tokem"));
  EXPECT_EQ(seeded_hash(uint64_t{7}), seeded_hash(uint64_t{7}));
  EXPECT_NE(seeded_hash(uint64_t{7}), seeded_hash(uint64_t{7} + (uint64_t{1} << 40)));
}

TEST(MergeTable, FindsEveryPairAndNoOther) {
  std::vector<Merge> merges;
  for (int32_t i = 0; i < 5000; ++i) {
    merges.push_back({i % 70, i * 4096, static_cast<uint32_t>(i), i + 1});
  }
  const MergeTable table(merges);
  for (const Merge& merge : merges) {
    EXPECT_EQ(table.find(merge.left, merge.right).rank, merge.rank);
    EXPECT_EQ(table.find(merge.left, merge.right).result, merge.result);
    EXPECT_EQ(table.find(merge.left, merge.right + 1).result, -1);
  }
  EXPECT_EQ(MergeTable().find(0, 0).result, -1);
  EXPECT_EQ(MergeTable(std::vector<Merge>()).find(0, 0).result, -1);
}

}  // namespace
}  // namespace quern
