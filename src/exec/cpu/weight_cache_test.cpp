#include "exec/cpu/weight_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <thread>

#include "base/cat.h"
#include "base/file.h"

namespace quern::cpu {
namespace {

constexpr int64_t kBytes = 3 * static_cast<int64_t>(WeightCache::kChunk) - 8192;

/// What is kept, if it is found.
std::optional<Arena> find(const WeightCache& cache, ThreadPool& pool) {
  Arena arena = Arena::reserve(kBytes, "test").value();
  if (!cache.find(arena, pool)) return std::nullopt;
  return arena;
}

Arena some_arena(uint64_t seed = 1) {
  Arena arena = Arena::reserve(kBytes, "test").value();
  std::mt19937_64 random(seed);
  for (int64_t i = 0; i < kBytes; i += 8) *arena.as<uint64_t>(i) = random();
  return arena;
}

bool equal(const Arena& a, const Arena& b) {
  return std::memcmp(a.at(0), b.at(0), static_cast<size_t>(kBytes)) == 0;
}

class WeightCacheTest : public testing::Test {
 protected:
  WeightCacheTest() { std::filesystem::remove_all(folder_); }
  ~WeightCacheTest() override { std::filesystem::remove_all(folder_); }

  size_t files() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      count += entry.is_regular_file() ? 1 : 0;
    }
    return count;
  }
  void overwrite(uint64_t place, char byte) const {
    std::fstream file(cache_.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(place));
    file.put(byte);
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / cat("quern_weight_cache_test_", ::getpid());
  ThreadPool pool_{2};
  WeightCache cache_{folder_, 0x1234, kBytes};
};

TEST_F(WeightCacheTest, WhatIsKeptIsFoundByItsKeyAlone) {
  EXPECT_FALSE(find(cache_, pool_).has_value());
  const Arena arena = some_arena();
  cache_.store(arena, pool_);
  const auto found = find(cache_, pool_);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(equal(arena, *found));
  EXPECT_FALSE(find(WeightCache(folder_, 0x1235, kBytes), pool_).has_value());
  EXPECT_EQ(files(), 1u);
}

TEST_F(WeightCacheTest, ADamagedFileIsAsGoodAsNoneAndIsReplaced) {
  const Arena arena = some_arena();
  const auto before = static_cast<uint64_t>(WeightCache::header_bytes(kBytes));
  const uint64_t whole = before + static_cast<uint64_t>(kBytes);
  for (const uint64_t place : {uint64_t{0}, uint64_t{8}, uint64_t{16}, uint64_t{24}, uint64_t{48},
                               before, before + WeightCache::kChunk + 5, whole - 1}) {
    cache_.store(arena, pool_);
    ASSERT_TRUE(find(cache_, pool_).has_value());
    std::ifstream file(cache_.path(), std::ios::binary);
    file.seekg(static_cast<std::streamoff>(place));
    overwrite(place, static_cast<char>(file.get() ^ 1));
    EXPECT_FALSE(find(cache_, pool_).has_value()) << place;
  }
  for (const uint64_t size : {uint64_t{0}, uint64_t{7}, uint64_t{100}, before, whole - 4096}) {
    cache_.store(arena, pool_);
    std::filesystem::resize_file(cache_.path(), size);
    EXPECT_FALSE(find(cache_, pool_).has_value()) << size;
  }
  cache_.store(arena, pool_);
  std::filesystem::resize_file(cache_.path(), whole + 4096);
  EXPECT_FALSE(find(cache_, pool_).has_value());
  cache_.store(arena, pool_);
  EXPECT_TRUE(find(cache_, pool_).has_value());
}

TEST_F(WeightCacheTest, AFileOfAnotherKeyInItsPlaceIsNotTaken) {
  const WeightCache other(folder_, 0x9999, kBytes);
  other.store(some_arena(2), pool_);
  std::filesystem::rename(other.path(), cache_.path());
  EXPECT_FALSE(find(cache_, pool_).has_value());
}

TEST_F(WeightCacheTest, WhatAProcessThatDiedLeftBehindGoes) {
  cache_.store(some_arena(), pool_);
  // No process has the largest number there can be.
  const auto left = folder_ / "00000000deadbeef.weights.tmp.2147483647";
  const auto alive = folder_ / cat("00000000deadbeef.weights.tmp.", ::getppid());
  std::ofstream(left) << "half";
  std::ofstream(alive) << "half";
  cache_.store(some_arena(), pool_);
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(alive));
  EXPECT_TRUE(find(cache_, pool_).has_value());
}

TEST_F(WeightCacheTest, AFolderThatCannotBeIsAWarning) {
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ / "file") << "x";
  const WeightCache cache(folder_ / "file" / "below", 1, kBytes);
  testing::internal::CaptureStderr();
  cache.store(some_arena(), pool_);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("below"), std::string::npos);
  EXPECT_FALSE(find(cache, pool_).has_value());
}

TEST_F(WeightCacheTest, ManyMayKeepAndFindAtOnce) {
  const Arena arena = some_arena();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      ThreadPool own(1);
      const WeightCache cache(folder_, 0x1234, kBytes);
      for (int i = 0; i < 4; ++i) {
        if (t == 0) cache.store(arena, own);
        const auto found = find(cache, own);
        EXPECT_TRUE(!found || equal(arena, *found));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(find(cache_, pool_).has_value());
}

}  // namespace
}  // namespace quern::cpu
