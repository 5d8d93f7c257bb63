// A step allocates nothing after start. Counted by replacing operator new in this test binary.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

#include "engine/engine.h"
#include "engine/simulation/hash_executor.h"

namespace {

std::atomic<bool> counting = false;
std::atomic<int64_t> num_allocations = 0;

void* take(size_t size) {
  if (counting.load(std::memory_order_relaxed)) ++num_allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

// A sanitizer has an allocator of its own, which these must not stand in for.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define QUERN_FOREIGN_ALLOCATOR
#endif
#endif
#ifndef QUERN_FOREIGN_ALLOCATOR
void* operator new(size_t size) { return take(size); }
void* operator new[](size_t size) { return take(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace quern {
namespace {

class Ignore final : public EventSink {
 public:
  void on_token(const TokenEvent&) override { ++tokens; }
  void on_finished(RequestResult) override { ++finished; }
  int64_t tokens = 0;
  int64_t finished = 0;
};

/// So that what the pacer learns, and with it the run, is always the same.
class SteadyPace final : public Clock {
 public:
  int64_t now_ns() const override { return now += 1'000; }
  mutable int64_t now = 0;
};

TEST(Engine, StepAllocatesNothing) {
#ifdef QUERN_FOREIGN_ALLOCATOR
  (void)take;
  GTEST_SKIP() << "allocations cannot be counted under a sanitizer";
#endif
  constexpr int64_t kVocab = 100;
  const std::vector<KvGroupSize> groups = {{.num_blocks = 30}, {.num_blocks = 20, .window = 40}};
  HashExecutor executor({.vocab_size = kVocab,
                         .groups = groups,
                         .max_num_seqs = 6,
                         .max_batched_tokens = 48,
                         .max_wanted_rows = 6});
  Ignore sink;
  SteadyPace clock;
  auto engine = std::move(Engine::make(executor,
                                       {.vocab_size = kVocab,
                                        .max_model_len = 400,
                                        .max_num_seqs = 6,
                                        .max_num_batched_tokens = 48,
                                        .max_wanted_rows = 6,
                                        .kv_groups = groups,
                                        .max_step_stretch = 1.4,
                                        .max_tenants = 3,
                                        .max_salt_share = 0.4},
                                       sink, clock))
                    .value();
  for (int32_t i = 0; i < 20; ++i) {
    Request request;
    for (int32_t t = 0; t < 20 + 11 * i; ++t) request.prompt.push_back((i + t) % kVocab);
    request.max_tokens = 60;
    request.priority = i % 4;
    request.tenant = static_cast<uint32_t>(i % 3);
    request.cache_salt = i % 2 == 0 ? "" : "somebody";
    request.logprobs = 5;
    request.prompt_logprobs = i % 5 == 4 ? std::optional(2) : std::nullopt;
    request.logits_hash = true;
    request.sampling = {.temperature = static_cast<float>(i % 3),
                        .top_k = i % 2 == 0 ? 20 : 0,
                        .top_p = 0.9f,
                        .min_p = 0.01f,
                        .typical_p = 0.9f,
                        .repetition_penalty = 1.1f,
                        .presence_penalty = 0.1f,
                        .frequency_penalty = 0.1f};
    ASSERT_TRUE(engine->submit(std::move(request)));
  }
  // From the very first step on: admission, prefill, decoding, preemption, eviction, the end.
  counting = true;
  for (int64_t step = 0; engine->step(); ++step) {
    if (step == 100) engine->reset_prefix_cache();
  }
  counting = false;
  EXPECT_EQ(sink.finished, 20);
  EXPECT_GT(engine->scheduler().stats().preemptions, 0);
  EXPECT_GT(engine->pool().stats().evictions, 0);
  EXPECT_EQ(executor.violation(), std::nullopt);
  EXPECT_EQ(num_allocations.load(), 0);
}

}  // namespace
}  // namespace quern
