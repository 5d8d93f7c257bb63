#include "engine/kv_pool.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace quern {
namespace {

constexpr int64_t kBlock = kKvBlockTokens;

/// Tokens start, start + 1, ..
std::vector<int32_t> counting(int64_t count, int32_t start = 0) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), start);
  return tokens;
}

KvPool pool_of(std::vector<KvGroupSize> groups) {
  return KvPool({.groups = std::move(groups), .max_sequences = 4, .max_model_len = 512});
}

/// Opens a slot for the tokens, takes its blocks and computes all of them.
PrefixMatch run(KvPool& pool, int32_t slot, const std::vector<int32_t>& tokens,
                std::string_view salt = {}) {
  const auto count = static_cast<int64_t>(tokens.size());
  const PrefixMatch match = pool.open(slot, tokens, salt, count - 1);
  EXPECT_TRUE(pool.reserve(slot, count, count));
  pool.commit(slot, tokens, count);
  EXPECT_EQ(pool.check(), std::nullopt);
  return match;
}

TEST(KvPool, PrefixOfARunningSequenceIsSharedAndOutlivesIt) {
  KvPool pool = pool_of({{.num_blocks = 8}});
  run(pool, 0, counting(kBlock + 5));
  EXPECT_EQ(run(pool, 1, counting(kBlock + 9)).tokens, kBlock);
  EXPECT_EQ(pool.table(0, 0)[0], pool.table(1, 0)[0]);
  EXPECT_NE(pool.table(0, 0)[1], pool.table(1, 0)[1]);
  EXPECT_EQ(pool.num_free(0), 5);
  EXPECT_EQ(pool.stats().shared_with_owner, 1);

  pool.close(0);
  pool.close(1);
  EXPECT_EQ(pool.num_cached(0), 1);  // the full block stays findable, the half full ones do not
  EXPECT_EQ(pool.num_free(0), 7);
  EXPECT_EQ(run(pool, 2, counting(kBlock + 1)).tokens, kBlock);
}

TEST(KvPool, HitLeavesTheLastTokenToCompute) {
  KvPool pool = pool_of({{.num_blocks = 8}});
  run(pool, 0, counting(2 * kBlock));
  EXPECT_EQ(run(pool, 1, counting(2 * kBlock)).tokens, kBlock);
}

TEST(KvPool, BlockIsFoundOnlyOnceItIsFullAndComputed) {
  KvPool pool = pool_of({{.num_blocks = 8}});
  const std::vector<int32_t> tokens = counting(kBlock + 1);
  pool.open(0, tokens, {}, kBlock);
  ASSERT_TRUE(pool.reserve(0, kBlock + 1, kBlock + 1));
  pool.commit(0, tokens, kBlock - 1);
  EXPECT_EQ(pool.open(1, tokens, {}, kBlock).tokens, 0);
  pool.close(1);
  pool.commit(0, tokens, kBlock);
  EXPECT_EQ(pool.open(1, tokens, {}, kBlock).tokens, kBlock);
}

TEST(KvPool, EqualBlockAfterAnotherBeginningIsAnotherBlock) {
  KvPool pool = pool_of({{.num_blocks = 8}});
  run(pool, 0, counting(2 * kBlock + 1));
  std::vector<int32_t> other = counting(2 * kBlock + 1);
  other[0] = 9'999;
  const PrefixMatch match = run(pool, 1, other);
  EXPECT_EQ(match.tokens, 0);
  EXPECT_EQ(match.reason, MissReason::kDiverged);
  EXPECT_EQ(match.diverged_at, 0);
}

TEST(KvPool, SaltsShareNothingAndOneIsNotThePrefixOfAnother) {
  KvPool pool = pool_of({{.num_blocks = 16}});
  const std::vector<int32_t> tokens = counting(kBlock + 1);
  run(pool, 0, tokens, "tenant");
  const PrefixMatch match = run(pool, 1, tokens, "tenant2");
  EXPECT_EQ(match.tokens, 0);
  EXPECT_EQ(match.reason, MissReason::kOtherSalt);
  EXPECT_EQ(run(pool, 2, tokens).tokens, 0);
  EXPECT_EQ(run(pool, 3, tokens, "tenant").tokens, kBlock);
}

TEST(KvPool, LongSaltsAreComparedToTheirLastByte) {
  KvPool pool = pool_of({{.num_blocks = 16}});
  const std::string salt(KvPool::kMaxSaltBytes, 'x');
  const std::vector<int32_t> tokens = counting(kBlock + 1);
  run(pool, 0, tokens, salt);
  EXPECT_EQ(run(pool, 1, tokens, salt.substr(1)).tokens, 0);
  EXPECT_EQ(run(pool, 2, tokens, salt).tokens, kBlock);
}

TEST(KvPool, OldestUnusedPrefixIsEvictedFromItsEnd) {
  KvPool pool = pool_of({{.num_blocks = 4}});
  run(pool, 0, counting(2 * kBlock + 1));
  pool.close(0);
  run(pool, 0, counting(kBlock + 1, 5'000));
  pool.close(0);
  EXPECT_EQ(pool.num_cached(0), 3);
  run(pool, 0, counting(kBlock + 1, 7'000));  // one free block, and the end of the oldest prefix
  pool.close(0);
  EXPECT_EQ(pool.stats().evictions, 1);

  const PrefixMatch match = pool.open(0, counting(2 * kBlock + 1), {}, 2 * kBlock);
  EXPECT_EQ(match.tokens, kBlock);
  EXPECT_EQ(match.reason, MissReason::kEvicted);
}

TEST(KvPool, HeldBlocksAreNeverEvicted) {
  KvPool pool = pool_of({{.num_blocks = 2}});
  run(pool, 0, counting(2 * kBlock));
  pool.open(1, counting(5, 100), {}, 4);
  EXPECT_FALSE(pool.reserve(1, 5, 5));
  EXPECT_TRUE(pool.table(1, 0).empty());
  pool.close(0);
  EXPECT_TRUE(pool.reserve(1, 5, 5));
  EXPECT_EQ(pool.check(), std::nullopt);
}

TEST(KvPool, ReservationIsAllOrNothingOverTheGroups) {
  KvPool pool = pool_of({{.num_blocks = 8}, {.num_blocks = 1, .window = 16}});
  pool.open(0, counting(2 * kBlock), {}, 0);
  EXPECT_FALSE(pool.reserve(0, kBlock + 1, 2 * kBlock));
  EXPECT_EQ(pool.num_free(0), 8);
  EXPECT_EQ(pool.reservable_end(0, 2 * kBlock), kBlock);
  EXPECT_TRUE(pool.reserve(0, kBlock, 2 * kBlock));
  EXPECT_EQ(pool.num_free(0), 6);
}

TEST(KvPool, WindowGivesUpABlockWhenNoLaterTokenLooksAtIt) {
  KvPool pool = pool_of({{.num_blocks = 8, .window = 8}});
  const std::vector<int32_t> tokens = counting(3 * kBlock);
  pool.open(0, tokens, {}, 0);
  ASSERT_TRUE(pool.reserve(0, 2 * kBlock, 2 * kBlock));
  // The next token, at position 38, looks at 31 .. 38: still one token of the first block.
  pool.commit(0, tokens, kBlock + 6);
  EXPECT_NE(pool.table(0, 0)[0], kNoBlock);
  pool.commit(0, tokens, kBlock + 7);
  EXPECT_EQ(pool.table(0, 0)[0], kNoBlock);
  EXPECT_EQ(pool.num_cached(0), 1);
  EXPECT_EQ(pool.stats().window_frees, 1);
  EXPECT_EQ(pool.check(), std::nullopt);
}

TEST(KvPool, PrefixHitNeedsOnlyTheWindowOfAWindowGroup) {
  KvPool pool = pool_of({{.num_blocks = 16}, {.num_blocks = 8, .window = kBlock}});
  const std::vector<int32_t> tokens = counting(4 * kBlock + 1);
  run(pool, 0, tokens);
  EXPECT_EQ(run(pool, 1, tokens).tokens, 4 * kBlock);
  EXPECT_EQ(pool.table(1, 1)[2], kNoBlock);
  EXPECT_EQ(pool.table(1, 1)[3], pool.table(0, 1)[3]);
  EXPECT_EQ(pool.table(1, 0)[0], pool.table(0, 0)[0]);
}

TEST(KvPool, PrefixIsShorterWhereAWindowGroupHasLostItsBlocks) {
  KvPool pool = pool_of({{.num_blocks = 16}, {.num_blocks = 5, .window = kBlock}});
  const std::vector<int32_t> tokens = counting(4 * kBlock + 1);
  run(pool, 0, tokens);
  pool.close(0);
  run(pool, 1, counting(4 * kBlock + 1, 5'000));  // takes all five window blocks
  const PrefixMatch match = pool.open(2, tokens, {}, 4 * kBlock);
  EXPECT_EQ(match.tokens, 0);
  EXPECT_EQ(match.reason, MissReason::kEvicted);
  EXPECT_EQ(pool.check(), std::nullopt);
}

TEST(KvPool, TwoWhoComputeTheSameKeepOneCopy) {
  KvPool pool = pool_of({{.num_blocks = 8}});
  const std::vector<int32_t> tokens = counting(kBlock + 1);
  for (int32_t slot : {0, 1}) {
    pool.open(slot, tokens, {}, kBlock);
    ASSERT_TRUE(pool.reserve(slot, kBlock + 1, kBlock + 1));
  }
  EXPECT_EQ(pool.num_free(0), 4);
  pool.commit(0, tokens, kBlock + 1);
  pool.commit(1, tokens, kBlock + 1);
  EXPECT_EQ(pool.table(0, 0)[0], pool.table(1, 0)[0]);
  EXPECT_EQ(pool.num_free(0), 5);
  EXPECT_EQ(pool.stats().merged, 1);
  EXPECT_EQ(pool.check(), std::nullopt);
}

TEST(KvPool, MissSaysWhereThePromptDiverges) {
  KvPool pool = pool_of({{.num_blocks = 8}});
  run(pool, 0, counting(3 * kBlock));
  std::vector<int32_t> other = counting(3 * kBlock);
  other[static_cast<size_t>(kBlock + 7)] = 9'999;
  const PrefixMatch match = run(pool, 1, other);
  EXPECT_EQ(match.tokens, kBlock);
  EXPECT_EQ(match.reason, MissReason::kDiverged);
  EXPECT_EQ(match.diverged_at, kBlock + 7);

  EXPECT_EQ(run(pool, 2, counting(kBlock + 9)).reason, MissReason::kBlockBoundary);
  EXPECT_EQ(run(pool, 3, counting(kBlock + 1)).reason, MissReason::kNone);
}

TEST(KvPool, WithoutCachingNothingIsFoundAndNothingKept) {
  KvPool pool({.groups = {{.num_blocks = 8}},
               .max_sequences = 4,
               .max_model_len = 512,
               .prefix_caching = false});
  run(pool, 0, counting(2 * kBlock));
  EXPECT_EQ(run(pool, 1, counting(2 * kBlock)).reason, MissReason::kOff);
  pool.close(0);
  pool.close(1);
  EXPECT_EQ(pool.num_free(0), 8);
}

TEST(KvPool, WorstCaseOfAWindowIsNeverExceeded) {
  for (const int64_t window : {1, 2, 31, 32, 33, 34, 64, 100}) {
    for (const int64_t chunk : {1, 7, 32, 65}) {
      KvPool pool = pool_of({{.num_blocks = 64, .window = window}});
      const std::vector<int32_t> tokens = counting(400);
      pool.open(0, tokens, {}, 0);
      int64_t most = 0;
      for (int64_t at = 0; at < 400;) {
        const int64_t end = std::min<int64_t>(400, at + chunk);
        ASSERT_TRUE(pool.reserve(0, end, end));
        int64_t held = 0;
        for (const int32_t block : pool.table(0, 0)) held += block != kNoBlock ? 1 : 0;
        most = std::max(most, held);
        pool.commit(0, tokens, at = end);
      }
      EXPECT_LE(most, worst_case_blocks(window, 400, chunk)) << window << " " << chunk;
    }
  }
}

TEST(KvPool, StaysSoundThroughRandomUse) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const auto draw = [&](uint32_t below) { return static_cast<int64_t>(random() % below); };
    KvPool pool = pool_of(
        {{.num_blocks = 6 + draw(12)}, {.num_blocks = 6 + draw(6), .window = 1 + draw(80)}});
    std::vector<std::vector<int32_t>> running(4);
    for (int step = 0; step < 60; ++step) {
      const auto slot = static_cast<int32_t>(draw(4));
      std::vector<int32_t>& tokens = running[static_cast<size_t>(slot)];
      if (!tokens.empty()) {
        pool.close(slot);
        tokens.clear();
      } else {
        tokens = counting(1 + draw(160));
        if (draw(2) == 0)
          tokens[static_cast<size_t>(draw(static_cast<uint32_t>(tokens.size())))] += 1'000;
        const auto count = static_cast<int64_t>(tokens.size());
        const PrefixMatch match = pool.open(slot, tokens, draw(3) == 0 ? "s" : "", count - 1);
        ASSERT_LT(match.tokens, count);
        for (int64_t g = 0; g < pool.num_groups(); ++g) {
          const auto table = pool.table(slot, g);
          ASSERT_EQ(static_cast<int64_t>(table.size()) * kBlock, match.tokens);
        }
        if (pool.reserve(slot, count, count)) {
          for (int64_t p = match.tokens; p < count; ++p) {
            for (int64_t g = 0; g < pool.num_groups(); ++g) {
              ASSERT_TRUE(pool.is_private(slot, g, p));
            }
          }
          pool.commit(slot, tokens, count);
        } else {
          pool.close(slot);
          tokens.clear();
        }
      }
      ASSERT_EQ(pool.check(), std::nullopt);
    }
  }
}

TEST(KvPool, SaltKeepsToItsShareOfTheCacheAndLosesItsOwnOldest) {
  KvPool pool({.groups = {{.num_blocks = 12}},
               .max_sequences = 2,
               .max_model_len = 128,
               .max_salt_share = 0.5});
  const auto answer = [&](int32_t start, std::string_view salt) {
    std::vector<int32_t> tokens(96);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = start + static_cast<int32_t>(i);
    pool.open(0, tokens, salt, 95);
    EXPECT_TRUE(pool.reserve(0, 96, 96));
    pool.commit(0, tokens, 96);
    pool.close(0);
    EXPECT_EQ(pool.check(), std::nullopt);
  };
  const auto found = [&](int32_t start, std::string_view salt) {
    std::vector<int32_t> tokens(97);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = start + static_cast<int32_t>(i);
    const int64_t cached = pool.open(1, tokens, salt, 96).tokens;
    pool.close(1);
    return cached;
  };
  answer(0, "modest");
  for (int32_t i = 1; i <= 3; ++i) answer(1'000 * i, "greedy");
  EXPECT_EQ(pool.num_cached(0), 3 + 6);
  EXPECT_EQ(found(0, "modest"), 96);
  EXPECT_EQ(found(3'000, "greedy"), 96);
  EXPECT_EQ(found(1'000, "greedy"), 0);
  answer(4'000, "");
  EXPECT_EQ(pool.num_cached(0), 12);
  EXPECT_EQ(found(0, "modest"), 96);
  EXPECT_EQ(pool.check(), std::nullopt);
}

TEST(KvPool, NothingIsFoundAfterPrefixesAreForgottenAndHoldersKeepTheirs) {
  KvPool pool({.groups = {{.num_blocks = 8}, {.num_blocks = 8, .window = 40}},
               .max_sequences = 3,
               .max_model_len = 128});
  std::vector<int32_t> tokens(100);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i % 17);
  const std::span<const int32_t> first(tokens);
  pool.open(0, first, "", 99);
  ASSERT_TRUE(pool.reserve(0, 64, 64));
  pool.commit(0, first, 64);
  pool.open(1, first, "", 99);
  EXPECT_EQ(pool.table(1, 0).size(), 2u);
  pool.open(2, first, "other", 99);
  ASSERT_TRUE(pool.reserve(2, 32, 32));
  pool.commit(2, first, 32);
  pool.close(2);
  EXPECT_GT(pool.num_cached(0), 0);
  const std::vector<int32_t> before(pool.table(0, 0).begin(), pool.table(0, 0).end());

  pool.forget_prefixes();
  EXPECT_EQ(pool.check(), std::nullopt);
  EXPECT_EQ(pool.num_cached(0), 0);
  EXPECT_EQ(pool.num_findable(0), 0);
  EXPECT_TRUE(std::ranges::equal(pool.table(0, 0), before));
  EXPECT_EQ(pool.open(2, first, "", 99).tokens, 0);
  EXPECT_EQ(pool.check(), std::nullopt);

  // The one who goes on leaves nothing behind, the one who has come since does.
  ASSERT_TRUE(pool.reserve(0, 96, 96));
  pool.commit(0, first, 96);
  pool.close(0);
  pool.close(1);
  EXPECT_EQ(pool.num_cached(0), 0);
  ASSERT_TRUE(pool.reserve(2, 64, 64));
  pool.commit(2, first, 64);
  pool.close(2);
  EXPECT_EQ(pool.num_cached(0), 2);
  EXPECT_EQ(pool.open(0, first, "", 99).tokens, 64);
  EXPECT_EQ(pool.check(), std::nullopt);
}

}  // namespace
}  // namespace quern
