#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <vector>

namespace quern {
namespace {

TEST(ThreadPool, EveryChunkIsDoneExactlyOnce) {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (const int64_t chunks : {0, 1, 2, 7, 1000}) {
      std::vector<int> times(static_cast<size_t>(chunks), 0);
      pool.parallel_for(chunks, [&](int64_t chunk, int worker) {
        ASSERT_GE(worker, 0);
        ASSERT_LT(worker, threads);
        ++times[static_cast<size_t>(chunk)];
      });
      for (const int count : times) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, WhatAChunkWroteIsSeenAfterTheLoopAndByTheNextOne) {
  ThreadPool pool(3);
  std::vector<int64_t> values(257, 0);
  for (int64_t round = 1; round <= 3000; ++round) {
    const auto count = static_cast<int64_t>(values.size()) - round % 250;
    pool.parallel_for(count, [&](int64_t i, int) { ++values[static_cast<size_t>(i)]; });
  }
  EXPECT_EQ(values[0], 3000);
  EXPECT_LT(values[256], values[0]);
  EXPECT_GT(values[256], 0);
}

TEST(ThreadPool, SleepingWorkersWakeForTheNextLoop) {
  ThreadPool pool(2);
  // Both threads must take part, or the loop would never end: each waits for the other.
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> arrived{0};
    pool.parallel_for(2, [&](int64_t, int) {
      arrived.fetch_add(1);
      while (arrived.load() < 2) std::this_thread::yield();
    });
    EXPECT_EQ(arrived.load(), 2);
    // Longer than the workers spin, so that some of them sleep by now.
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(300);
    while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
  }
}

TEST(ThreadPool, AWorkerThatNeverComesDelaysNobody) {
  // Many more threads than cores: most are not running when a short loop starts and ends.
  ThreadPool pool(8 * num_usable_cpus());
  int64_t sum = 0;
  for (int round = 0; round < 500; ++round) {
    std::atomic<int64_t> part{0};
    pool.parallel_for(4, [&](int64_t i, int) { part.fetch_add(i); });
    sum += part.load();
  }
  EXPECT_EQ(sum, 500 * 6);
}

TEST(ThreadPool, PoolsComeAndGoWithoutWork) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(3);
}

}  // namespace
}  // namespace quern
