#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <thread>

#include "base/hash.h"
#include "engine/logprobs.h"
#include "engine/simulation/hash_executor.h"

namespace quern {
namespace {

constexpr int64_t kVocab = 64;

class VirtualClock final : public Clock {
 public:
  int64_t now_ns() const override { return now; }
  int64_t now = 1'000;
};

class Answers final : public EventSink {
 public:
  void on_prompt_progress(const PromptProgress& progress) override {
    EXPECT_FALSE(streamed.contains(progress.id));
    progresses.push_back(progress);
  }
  void on_token(const TokenEvent& event) override {
    EXPECT_FALSE(finished.contains(event.id));
    std::vector<int32_t>& tokens = streamed[event.id];
    EXPECT_EQ(event.index, static_cast<int64_t>(tokens.size()));
    tokens.push_back(event.token_id);
    if (on_each) on_each(event);
  }
  void on_finished(RequestResult result) override {
    EXPECT_FALSE(finished.contains(result.id));
    order.push_back(result.id);
    finished[result.id] = std::move(result);
  }

  std::map<RequestId, std::vector<int32_t>> streamed;
  std::map<RequestId, RequestResult> finished;
  std::vector<RequestId> order;
  std::vector<PromptProgress> progresses;
  std::function<void(const TokenEvent&)> on_each;
};

/// What the model of HashExecutor says greedily.
std::vector<int32_t> greedy(const std::vector<int32_t>& prompt, int64_t count) {
  uint64_t prefix = HashExecutor::kEmptyPrefix;
  for (const int32_t token : prompt) prefix = HashExecutor::extend(prefix, token);
  std::vector<int32_t> answer;
  std::vector<float> logits(kVocab);
  for (int64_t i = 0; i < count; ++i) {
    HashExecutor::fill_logits(prefix, logits);
    const auto best = std::ranges::max_element(logits);
    answer.push_back(static_cast<int32_t>(best - logits.begin()));
    prefix = HashExecutor::extend(prefix, answer.back());
  }
  return answer;
}

std::vector<int32_t> prompt_of(int64_t length, int32_t start = 0) {
  std::vector<int32_t> prompt(static_cast<size_t>(length));
  for (size_t i = 0; i < prompt.size(); ++i) {
    prompt[i] = static_cast<int32_t>((static_cast<size_t>(start) + i * 7) % kVocab);
  }
  return prompt;
}

Request greedy_request(std::vector<int32_t> prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  return request;
}

/// An engine over a hash executor, with what a test needs to look at.
struct Bench {
  explicit Bench(EngineOptions wanted = {}) {
    if (wanted.kv_groups.empty()) wanted.kv_groups = {{.num_blocks = 64}};
    wanted.vocab_size = kVocab;
    if (wanted.max_model_len == 0) wanted.max_model_len = 256;
    executor = std::make_unique<HashExecutor>(
        HashExecutorOptions{.vocab_size = kVocab,
                            .groups = wanted.kv_groups,
                            .max_num_seqs = wanted.max_num_seqs,
                            .max_batched_tokens = wanted.max_num_batched_tokens,
                            .max_wanted_rows = wanted.max_wanted_rows});
    engine = std::move(Engine::make(*executor, std::move(wanted), answers, clock)).value();
  }
  ~Bench() {
    EXPECT_EQ(executor->violation(), std::nullopt);
    EXPECT_EQ(engine->pool().check(), std::nullopt);
  }
  RequestId submit(Request request) { return engine->submit(std::move(request)).value(); }
  void step() {
    clock.now += 1'000'000;
    engine->step();
    EXPECT_EQ(engine->scheduler().check(), std::nullopt);
    EXPECT_EQ(engine->pool().check(), std::nullopt);
  }
  void run() {
    for (int i = 0; i < 10'000 && !engine->idle(); ++i) step();
    EXPECT_TRUE(engine->idle());
  }

  VirtualClock clock;
  Answers answers;
  std::unique_ptr<HashExecutor> executor;
  std::unique_ptr<Engine> engine;
};

TEST(Engine, AnswersAsTheModelDoes) {
  Bench bench;
  const RequestId id = bench.submit(greedy_request(prompt_of(40), 20));
  bench.run();
  const RequestResult& result = bench.answers.finished.at(id);
  EXPECT_EQ(result.token_ids, greedy(prompt_of(40), 20));
  EXPECT_EQ(result.token_ids, bench.answers.streamed[id]);
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(result.prompt_tokens, 40);
  EXPECT_EQ(result.cached_tokens, 0);
}

TEST(Engine, AnswerIsTheSameInAnyCompanyAndChunk) {
  for (const int64_t chunk : {1, 7, 64, 512}) {
    for (const bool is_static : {false, true}) {
      Bench bench({.max_num_seqs = 5,
                   .max_num_batched_tokens = chunk,
                   .kv_groups = {{.num_blocks = 40}, {.num_blocks = 20, .window = 20}},
                   .static_scheduling = is_static});
      std::map<RequestId, std::vector<int32_t>> wanted;
      for (int32_t i = 0; i < 12; ++i) {
        const std::vector<int32_t> prompt = prompt_of(1 + 13 * i, i % 3);
        wanted[bench.submit(greedy_request(prompt, 5 + i))] = greedy(prompt, 5 + i);
      }
      bench.run();
      for (const auto& [id, tokens] : wanted) {
        EXPECT_EQ(bench.answers.finished.at(id).token_ids, tokens);
      }
    }
  }
}

TEST(Engine, PreemptedRequestsAnswerTheSame) {
  Bench bench({.max_num_seqs = 4, .kv_groups = {{.num_blocks = 8}}});
  std::map<RequestId, std::vector<int32_t>> wanted;
  for (int32_t i = 0; i < 4; ++i) {
    wanted[bench.submit(greedy_request(prompt_of(30, i), 90))] = greedy(prompt_of(30, i), 90);
  }
  bench.run();
  EXPECT_GT(bench.engine->scheduler().stats().preemptions, 0);
  for (const auto& [id, tokens] : wanted) {
    EXPECT_EQ(bench.answers.finished.at(id).token_ids, tokens);
  }
  // First come, first served: whoever came first was never taken off.
  EXPECT_EQ(bench.answers.order.front(), wanted.begin()->first);
  EXPECT_EQ(bench.answers.finished.at(wanted.begin()->first).num_preemptions, 0);
}

TEST(Engine, MoreUrgentPriorityIsAdmittedFirstAndTakesNobodyOff) {
  Bench bench({.max_num_seqs = 1});
  const RequestId runs = bench.submit(greedy_request(prompt_of(10), 8));
  bench.step();
  std::vector<RequestId> wanted = {runs};
  std::map<int32_t, std::vector<RequestId>> by_priority;
  for (const int32_t priority : {5, 0, 5, -7, 0}) {
    Request request = greedy_request(prompt_of(10, 3), 2);
    request.priority = priority;
    by_priority[priority].push_back(bench.submit(std::move(request)));
  }
  for (const auto& [priority, ids] : by_priority)
    wanted.insert(wanted.end(), ids.begin(), ids.end());
  bench.run();
  EXPECT_EQ(bench.answers.order, wanted);
}

TEST(Engine, LastComeOfTheLeastUrgentIsTakenOffFirst) {
  Bench bench({.max_num_seqs = 4, .kv_groups = {{.num_blocks = 8}}});
  std::vector<RequestId> ids;
  for (int32_t i = 0; i < 4; ++i) {
    Request request = greedy_request(prompt_of(30, i), 90);
    request.priority = i == 1 || i == 2 ? 1 : 0;
    ids.push_back(bench.submit(std::move(request)));
  }
  bench.run();
  const auto preemptions = [&](size_t i) {
    return bench.answers.finished.at(ids[i]).num_preemptions;
  };
  EXPECT_EQ(preemptions(0), 0);
  EXPECT_EQ(preemptions(3), 0);
  EXPECT_GT(preemptions(2), 0);
  EXPECT_GE(preemptions(2), preemptions(1));
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(bench.answers.finished.at(ids[static_cast<size_t>(i)]).token_ids,
              greedy(prompt_of(30, i), 90));
  }
}

TEST(Engine, FloodOfOneTenantDelaysAnotherByWhatRunsNow) {
  Bench bench({.max_num_seqs = 2});
  for (int32_t i = 0; i < 100; ++i) bench.submit(greedy_request(prompt_of(10, i), 10));
  for (int i = 0; i < 15; ++i) bench.step();
  const size_t before = bench.answers.order.size();
  Request request = greedy_request(prompt_of(10), 10);
  request.tenant = 1;
  const RequestId id = bench.submit(std::move(request));
  bench.run();
  const auto place = std::ranges::find(bench.answers.order, id) - bench.answers.order.begin();
  EXPECT_LE(place, static_cast<int64_t>(before) + 4);
}

TEST(Engine, TenantsThatWaitReceiveTheSameWhateverTheyAskFor) {
  // One asks for long answers, one for short ones; both have always something waiting.
  Bench bench({.max_num_seqs = 2, .max_tenants = 2});
  for (int32_t i = 0; i < 60; ++i) {
    Request request = greedy_request(prompt_of(10, i), i % 2 == 0 ? 40 : 4);
    request.tenant = static_cast<uint32_t>(i % 2);
    bench.submit(std::move(request));
  }
  const WaitingLine& line = bench.engine->scheduler().waiting();
  bench.step();
  while (!line.of(0).empty() && !line.of(1).empty()) {
    bench.step();
    EXPECT_LE(std::abs(line.tenant(0).service() - line.tenant(1).service()), 2 * (10 + 2 * 40));
  }
  EXPECT_GT(line.tenant(0).service(), 500);
  bench.run();
}

TEST(Engine, TenantThatStayedAwaySavesNothingUp) {
  Bench bench({.max_num_seqs = 1, .max_tenants = 2});
  for (int32_t i = 0; i < 20; ++i) bench.submit(greedy_request(prompt_of(10, i), 10));
  for (int i = 0; i < 100; ++i) bench.step();
  std::vector<RequestId> late;
  for (int32_t i = 0; i < 5; ++i) {
    Request request = greedy_request(prompt_of(10, i), 10);
    request.tenant = 1;
    late.push_back(bench.submit(std::move(request)));
  }
  const size_t before = bench.answers.order.size();
  bench.run();
  // They take turns: it does not get all five at once for having had nothing.
  const auto place = std::ranges::find(bench.answers.order, late[4]) - bench.answers.order.begin();
  EXPECT_GE(place, static_cast<int64_t>(before) + 8);
  EXPECT_LE(place, static_cast<int64_t>(before) + 12);
}

TEST(Engine, SecondRequestWithThePrefixSkipsItWhileTheFirstRuns) {
  Bench bench;
  const RequestId first = bench.submit(greedy_request(prompt_of(70), 30));
  bench.step();
  const RequestId second = bench.submit(greedy_request(prompt_of(70), 30));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(first).cached_tokens, 0);
  EXPECT_EQ(bench.answers.finished.at(second).cached_tokens, 64);
  EXPECT_EQ(bench.answers.finished.at(second).miss, MissReason::kBlockBoundary);
  EXPECT_EQ(bench.answers.finished.at(second).token_ids, greedy(prompt_of(70), 30));
  EXPECT_GT(bench.engine->pool().stats().shared_with_owner, 0);
}

TEST(Engine, BurstWithOnePrefixComputesItOnce) {
  Bench bench({.max_num_seqs = 8});
  for (int32_t i = 0; i < 8; ++i) {
    std::vector<int32_t> prompt = prompt_of(70);
    prompt.back() = i;
    bench.submit(greedy_request(std::move(prompt), 4));
  }
  bench.run();
  for (const auto& [id, result] : bench.answers.finished) {
    EXPECT_EQ(result.cached_tokens, id == 1 ? 0 : 64) << id;
  }
  EXPECT_EQ(bench.engine->scheduler().stats().prefix_waits, 1);
}

TEST(Engine, NextTurnOfAConversationFindsTheAnswerInTheCache) {
  Bench bench;
  std::vector<int32_t> turn = prompt_of(40);
  const RequestId first = bench.submit(greedy_request(turn, 40));
  bench.run();
  const std::vector<int32_t>& answer = bench.answers.finished.at(first).token_ids;
  turn.insert(turn.end(), answer.begin(), answer.end());
  turn.push_back(3);
  const RequestId second = bench.submit(greedy_request(turn, 5));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(second).cached_tokens, 64);
}

TEST(Engine, ResetPrefixCacheForgetsWhatWasComputedAndWakesAnIdleEngine) {
  Bench bench;
  bench.submit(greedy_request(prompt_of(70), 2));
  bench.run();
  std::thread other([&] { bench.engine->reset_prefix_cache(); });
  bench.engine->wait_for_work(INT64_C(3'600'000'000'000));
  other.join();
  EXPECT_FALSE(bench.engine->step());
  EXPECT_EQ(bench.engine->snapshot().stats.prefix_cache_resets, 1);
  EXPECT_EQ(bench.engine->snapshot().kv_groups.at(0).cached, 0);
  const RequestId id = bench.submit(greedy_request(prompt_of(70), 2));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(id).cached_tokens, 0);
  const RequestId again = bench.submit(greedy_request(prompt_of(70), 2));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(again).cached_tokens, 64);
}

TEST(Engine, WithoutAKvCacheEachTokenComputesItsPrefix) {
  Bench bench({.max_num_seqs = 2,
               .kv_groups = {{.num_blocks = 16}, {.num_blocks = 16, .window = 8}},
               .no_kv_cache = true});
  const RequestId first = bench.submit(greedy_request(prompt_of(10), 5));
  const RequestId second = bench.submit(greedy_request(prompt_of(100, 1), 3));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(first).token_ids, greedy(prompt_of(10), 5));
  EXPECT_EQ(bench.answers.finished.at(second).token_ids, greedy(prompt_of(100, 1), 3));
  EXPECT_EQ(bench.engine->stats().computed_tokens, 10 + 11 + 12 + 13 + 14 + 100 + 101 + 102);
}

TEST(Engine, PromptTokensOfAStepKeepToTheBudgetAndDecodingOnesComeOnTop) {
  Bench bench({.max_num_batched_tokens = 16});
  bench.submit(greedy_request(prompt_of(10), 50));
  bench.step();
  bench.submit(greedy_request(prompt_of(100, 1), 5));
  bench.step();
  EXPECT_EQ(bench.engine->scheduler().plan().num_tokens(), 17);
  bench.run();
}

TEST(Engine, StopsAtAnEndTokenAndCountsIt) {
  const std::vector<int32_t> answer = greedy(prompt_of(20), 10);
  Bench bench({.eos_token_ids = {answer[4]}});
  const RequestId ends = bench.submit(greedy_request(prompt_of(20), 10));
  Request ignores = greedy_request(prompt_of(20), 10);
  ignores.ignore_eos = true;
  const RequestId goes_on = bench.submit(std::move(ignores));
  bench.run();
  const auto first = std::ranges::find(answer, answer[4]);
  const RequestResult& result = bench.answers.finished.at(ends);
  EXPECT_EQ(result.token_ids, std::vector<int32_t>(answer.begin(), first + 1));
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(result.stop_reason));
  EXPECT_EQ(bench.answers.finished.at(goes_on).token_ids, answer);
}

TEST(Engine, StopIdIsTheStopReason) {
  const std::vector<int32_t> answer = greedy(prompt_of(20), 10);
  Bench bench;
  Request request = greedy_request(prompt_of(20), 10);
  request.stop_token_ids = {answer[3]};
  const RequestId id = bench.submit(std::move(request));
  bench.run();
  EXPECT_EQ(std::get<int32_t>(bench.answers.finished.at(id).stop_reason), answer[3]);
}

TEST(Engine, MinTokensBansEndTokensUntilThen) {
  const std::vector<int32_t> answer = greedy(prompt_of(20), 10);
  Bench bench({.eos_token_ids = {answer[0]}});
  Request request = greedy_request(prompt_of(20), 10);
  request.min_tokens = 4;
  const RequestId id = bench.submit(std::move(request));
  bench.run();
  const std::vector<int32_t>& tokens = bench.answers.finished.at(id).token_ids;
  ASSERT_GE(tokens.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_NE(tokens[i], answer[0]);
}

class StopAfter final : public TokenWatcher {
 public:
  explicit StopAfter(int64_t count) : count_(count) {}
  std::optional<std::string> on_token(int32_t, int64_t num_generated) override {
    if (num_generated < count_) return std::nullopt;
    return "enough";
  }

 private:
  int64_t count_;
};

TEST(Engine, WatcherEndsAnAnswerOnItsToken) {
  Bench bench;
  Request request = greedy_request(prompt_of(20), 10);
  request.watcher = std::make_shared<StopAfter>(3);
  const RequestId id = bench.submit(std::move(request));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(id).token_ids, greedy(prompt_of(20), 3));
  EXPECT_EQ(std::get<std::string>(bench.answers.finished.at(id).stop_reason), "enough");
}

TEST(Engine, GenerationEndsWithTheContext) {
  Bench bench({.max_model_len = 50});
  const RequestId near = bench.submit(greedy_request(prompt_of(45), 100));
  const RequestId full = bench.submit(greedy_request(prompt_of(50), 100));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(near).token_ids.size(), 5u);
  EXPECT_EQ(bench.answers.finished.at(near).finish_reason, FinishReason::kLength);
  EXPECT_TRUE(bench.answers.finished.at(full).token_ids.empty());
  EXPECT_EQ(bench.answers.finished.at(full).finish_reason, FinishReason::kLength);
}

TEST(Engine, RefusesWhatItCannotAnswerAndSaysWhy) {
  Bench bench({.max_model_len = 50});
  const auto code_of = [&](Request request) {
    const auto result = bench.engine->submit(std::move(request));
    return result ? ErrorCode::kInternal : result.error().code;
  };
  EXPECT_EQ(code_of(greedy_request({}, 5)), ErrorCode::kBadInput);
  EXPECT_EQ(code_of(greedy_request({1, 2, 64}, 5)), ErrorCode::kBadInput);
  EXPECT_EQ(code_of(greedy_request({1, -2, 3}, 5)), ErrorCode::kBadInput);
  EXPECT_EQ(code_of(greedy_request(prompt_of(51), 5)), ErrorCode::kDoesNotFit);
  const Error error = bench.engine->submit(greedy_request(prompt_of(51), 5)).error();
  EXPECT_NE(error.message.find("51"), std::string::npos);
  EXPECT_NE(error.message.find("50"), std::string::npos);
  Request request = greedy_request({1}, 5);
  request.min_tokens = 6;
  EXPECT_EQ(code_of(request), ErrorCode::kBadInput);
  request = greedy_request({1}, 5);
  request.logprobs = 21;
  EXPECT_EQ(code_of(request), ErrorCode::kBadInput);
  request = greedy_request({1}, 5);
  request.priority = -1001;
  EXPECT_EQ(code_of(request), ErrorCode::kBadInput);
  request = greedy_request({1}, 5);
  request.tenant = 64;
  EXPECT_EQ(code_of(request), ErrorCode::kBadInput);
  request = greedy_request({1}, 5);
  request.stop_token_ids = {64};
  EXPECT_EQ(code_of(request), ErrorCode::kBadInput);
  request = greedy_request({1}, 5);
  request.sampling.logit_bias = {{-1, 1.0f}};
  EXPECT_EQ(code_of(request), ErrorCode::kBadInput);
  request = greedy_request({1}, 5);
  request.sampling.top_p = std::nanf("");
  EXPECT_EQ(code_of(request), ErrorCode::kBadInput);
  EXPECT_TRUE(bench.engine->idle());
}

TEST(Engine, FullQueueIsARefusalNotAWait) {
  Bench bench({.max_live_requests = 2});
  bench.submit(greedy_request({1}, 5));
  bench.submit(greedy_request({1}, 5));
  const auto refused = bench.engine->submit(greedy_request({1}, 5));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOverloaded);
  bench.run();
  EXPECT_TRUE(bench.engine->submit(greedy_request({1}, 5)));
  bench.run();
}

TEST(Engine, TokensOfAllLiveRequestsAreBounded) {
  Bench bench({.max_live_tokens = 100});
  const auto code_of = [&](Request request) {
    const auto result = bench.engine->submit(std::move(request));
    return result ? ErrorCode::kInternal : result.error().code;
  };
  const RequestId first = bench.submit(greedy_request(prompt_of(40), 20));
  EXPECT_EQ(code_of(greedy_request(prompt_of(21), 20)), ErrorCode::kOverloaded);
  EXPECT_EQ(code_of(greedy_request(prompt_of(20), 20)), ErrorCode::kInternal);
  EXPECT_EQ(bench.engine->load().tokens(), 100);
  EXPECT_EQ(code_of(greedy_request({1}, 1)), ErrorCode::kOverloaded);
  bench.engine->cancel(first);
  bench.step();
  EXPECT_EQ(bench.engine->load().tokens(), 40);
  EXPECT_EQ(code_of(greedy_request(prompt_of(61), 40)), ErrorCode::kDoesNotFit);  // not even alone
  bench.run();
  EXPECT_EQ(bench.engine->load().tokens(), 0);
}

TEST(LiveLoad, IsNeverExceededAndComesBackToNothing) {
  LiveLoad load(6, 100);
  std::atomic<int64_t> taken_tokens = 0, num_taken = 0, num_refused = 0;
  const auto client = [&](int64_t who) {
    for (int64_t i = 0; i < 20'000; ++i) {
      const int64_t tokens = (who * 7 + i * 13) % 40;
      if (load.take(tokens) != LiveLoad::Outcome::kTaken) {
        num_refused.fetch_add(1);
        continue;
      }
      num_taken.fetch_add(1);
      EXPECT_LE(taken_tokens.fetch_add(tokens) + tokens, 100);
      EXPECT_LE(load.requests(), 6);
      taken_tokens.fetch_sub(tokens);
      load.give_back(tokens);
    }
  };
  std::vector<std::thread> threads;
  for (int64_t who = 0; who < 8; ++who) threads.emplace_back(client, who);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(num_taken.load(), 0);
  EXPECT_EQ(load.requests(), 0);
  EXPECT_EQ(load.tokens(), 0);
}

TEST(Engine, RefusesAPoolThatDoesNotHoldOneSequence) {
  HashExecutor executor({.vocab_size = kVocab});
  Answers answers;
  const auto engine = Engine::make(
      executor, {.vocab_size = kVocab, .max_model_len = 65, .kv_groups = {{.num_blocks = 2}}},
      answers);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::kDoesNotFit);
}

TEST(Engine, CancelWorksInEveryStateAndAnyNumberOfTimes) {
  Bench bench({.max_num_seqs = 2, .max_num_batched_tokens = 16});
  const RequestId decoding = bench.submit(greedy_request(prompt_of(10), 100));
  const RequestId prefilling = bench.submit(greedy_request(prompt_of(100), 100));
  const RequestId waiting = bench.submit(greedy_request(prompt_of(10, 5), 100));
  Request later = greedy_request(prompt_of(10), 100);
  later.not_before_ns = INT64_MAX;
  const RequestId pending = bench.submit(std::move(later));
  bench.step();
  bench.step();
  for (int twice = 0; twice < 2; ++twice) {
    for (const RequestId id : {decoding, prefilling, waiting, pending}) bench.engine->cancel(id);
  }
  bench.engine->cancel(12'345);
  bench.step();
  EXPECT_TRUE(bench.engine->idle());
  EXPECT_EQ(bench.answers.order.size(), 4u);
  for (const auto& [id, result] : bench.answers.finished) {
    EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  }
  const EngineStats& stats = bench.engine->stats();
  EXPECT_EQ(stats.cancelled_pending, 1);
  EXPECT_EQ(stats.cancelled_waiting, 1);
  EXPECT_EQ(stats.cancelled_prefilling, 1);
  EXPECT_EQ(stats.cancelled_decoding, 1);
  EXPECT_EQ(bench.engine->pool().num_available(0), 64);
}

TEST(Engine, ResultsThatComeAfterACancellationAreDropped) {
  Bench bench;
  const RequestId id = bench.submit(greedy_request(prompt_of(10), 100));
  const RequestId other = bench.submit(greedy_request(prompt_of(10, 1), 3));
  ASSERT_TRUE(bench.engine->launch());
  bench.engine->cancel(id);
  bench.engine->complete();
  EXPECT_TRUE(bench.answers.finished.at(id).token_ids.empty());
  EXPECT_EQ(bench.engine->stats().dropped_ranges, 1);
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(other).token_ids, greedy(prompt_of(10, 1), 3));
}

TEST(Engine, CancellingFromTheSinkIsSafe) {
  Bench bench;
  bench.answers.on_each = [&](const TokenEvent& event) {
    if (event.index == 2) bench.engine->cancel(event.id);
  };
  const RequestId id = bench.submit(greedy_request(prompt_of(10), 100));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(id).token_ids.size(), 3u);
}

TEST(Engine, TimesARequestByItsClock) {
  Bench bench({.max_num_seqs = 1});
  bench.submit(greedy_request(prompt_of(10), 4));
  Request later = greedy_request(prompt_of(10), 3);
  later.not_before_ns = bench.clock.now + 2'000'000;
  const RequestId id = bench.submit(std::move(later));
  bench.run();
  const RequestTiming& timing = bench.answers.finished.at(id).timing;
  EXPECT_EQ(timing.queue_ms(), 3.0);  // due after 2 steps, free after 4, scheduled by the fifth
  EXPECT_EQ(timing.ttft_ms(), 3.0);
  EXPECT_EQ(timing.tpot_ms(3), 1.0);
  EXPECT_EQ(timing.total_ms(), 5.0);
  EXPECT_EQ(timing.tpot_ms(1), std::nullopt);
}

/// Each look takes a while, a different one each time.
class RestlessClock final : public Clock {
 public:
  int64_t now_ns() const override {
    const int64_t looks = num_looks.fetch_add(1);
    return now.fetch_add(1'001 + looks * looks % 997);
  }
  mutable std::atomic<int64_t> now = 1'000;
  mutable std::atomic<int64_t> num_looks = 0;
};

TEST(Engine, AccountOfARequestSumsToItsTimeToTheNanosecond) {
  const std::vector<KvGroupSize> groups = {{.num_blocks = 8}};
  HashExecutor executor({.vocab_size = kVocab,
                         .groups = groups,
                         .max_num_seqs = 4,
                         .max_batched_tokens = 16,
                         .max_wanted_rows = 4});
  Answers answers;
  RestlessClock clock;
  auto engine = std::move(Engine::make(executor,
                                       {.vocab_size = kVocab,
                                        .max_model_len = 256,
                                        .max_num_seqs = 4,
                                        .max_num_batched_tokens = 16,
                                        .max_wanted_rows = 4,
                                        .kv_groups = groups},
                                       answers, clock))
                    .value();
  std::vector<RequestId> ids;
  for (int32_t i = 0; i < 8; ++i) {
    Request request = greedy_request(prompt_of(i == 1 ? 40 : 30, i), 90);
    if (i % 2 == 0) request.sampling.temperature = 1;
    if (i == 5) request.max_tokens = 0, request.prompt_logprobs = 1;
    if (i == 6) request.not_before_ns = 5'000'000;
    if (i == 7) request.not_before_ns = INT64_MAX;
    ids.push_back(engine->submit(std::move(request)).value());
  }
  for (int step = 0; !engine->idle(); ++step) {
    engine->step();
    if (step == 100) engine->cancel(ids[1]);
    if (step == 110) engine->cancel(ids[7]);
  }
  EXPECT_GT(engine->scheduler().stats().preemptions, 0);
  ASSERT_EQ(answers.finished.size(), 8u);
  RequestTiming all;
  for (const auto& [id, result] : answers.finished) {
    const RequestTiming& timing = result.timing;
    EXPECT_EQ(timing.accounted_ns(), timing.finished_ns - timing.submitted_ns) << id;
    for (const auto part :
         {&RequestTiming::queue_ns, &RequestTiming::cache_lookup_ns, &RequestTiming::prefill_own_ns,
          &RequestTiming::others_ns, &RequestTiming::decode_ns, &RequestTiming::sampling_ns}) {
      EXPECT_GE(timing.*part, 0) << id;
      all.*part += timing.*part;
    }
    const bool samples = id % 2 == 1 && result.token_ids.size() > 1;
    EXPECT_EQ(timing.sampling_ns > 0, samples) << id;
  }
  EXPECT_GT(all.queue_ns, 0);
  EXPECT_GT(all.cache_lookup_ns, 0);
  EXPECT_GT(all.prefill_own_ns, 0);
  EXPECT_GT(all.others_ns, 0);
  EXPECT_GT(all.decode_ns, 0);
}

TEST(Engine, PrefillAccountsForItsShareOfTheStepByTokens) {
  Bench bench({.max_num_batched_tokens = 30});
  bench.submit(greedy_request(prompt_of(30), 4));
  bench.step();
  const RequestId id = bench.submit(greedy_request(prompt_of(29, 3), 2));
  bench.clock.now += 5'000'000;
  ASSERT_TRUE(bench.engine->launch());  // 29 tokens beside one that decodes
  bench.clock.now += 30'000'000;
  bench.engine->complete();
  bench.run();
  const RequestTiming& timing = bench.answers.finished.at(id).timing;
  EXPECT_EQ(timing.queue_ns, 5'000'000);
  EXPECT_EQ(timing.prefill_own_ns, 29'000'000);
  EXPECT_EQ(timing.others_ns, 1'000'000);
  EXPECT_EQ(timing.decode_ns, 1'000'000);
}

TEST(Engine, SnapshotSaysWhatTheLastStepLeft) {
  Bench bench({.max_num_seqs = 2, .max_num_batched_tokens = 16});
  const EngineSnapshot before = bench.engine->snapshot();
  EXPECT_EQ(before.last_step_end_ns, -1);
  EXPECT_EQ(before.kv_groups.at(0).total, 64);
  const RequestId first = bench.submit(greedy_request(prompt_of(10), 20));
  Request request = greedy_request(prompt_of(40, 3), 5);
  request.tag = 77;
  request.tenant = 3;
  bench.submit(std::move(request));
  bench.submit(greedy_request(prompt_of(10, 5), 5));
  Request later = greedy_request(prompt_of(10, 5), 5);
  later.not_before_ns = INT64_MAX;
  const RequestId pending = bench.submit(std::move(later));
  bench.step();
  const EngineSnapshot seen = bench.engine->snapshot();
  EXPECT_EQ(seen.live_requests, 4);
  EXPECT_EQ(seen.reserved_tokens, 30 + 45 + 15 + 15);
  EXPECT_EQ(seen.num_pending, 1);
  EXPECT_EQ(seen.num_waiting, 1);
  EXPECT_EQ(seen.num_running, 2);
  EXPECT_EQ(seen.num_decoding, 1);
  EXPECT_EQ(seen.kv_groups.at(0).held(), 1 + 2);
  EXPECT_EQ(seen.last_step_tokens, 16);
  EXPECT_EQ(seen.last_step_prompt_tokens, 16);
  EXPECT_EQ(seen.last_step_sequences, 2);
  EXPECT_EQ(seen.last_step_end_ns, bench.clock.now);
  EXPECT_EQ(seen.last_progress_ns, bench.clock.now);
  EXPECT_EQ(seen.stats.steps, 1);
  const std::vector<SequenceView> views = bench.engine->sequences();
  ASSERT_EQ(views.size(), 2u);
  EXPECT_EQ(views[0].id, first);
  EXPECT_TRUE(views[0].is_decoding);
  EXPECT_EQ(views[0].generated_tokens, 1);
  EXPECT_EQ(views[1].tag, 77u);
  EXPECT_EQ(views[1].tenant, 3u);
  EXPECT_FALSE(views[1].is_decoding);
  EXPECT_EQ(views[1].computed_tokens, 6);
  EXPECT_EQ(views[1].prompt_tokens, 40);

  bench.engine->cancel(pending);
  bench.run();
  const int64_t last_step = bench.clock.now;
  bench.clock.now += 7;
  EXPECT_FALSE(bench.engine->step());
  const EngineSnapshot after = bench.engine->snapshot();
  EXPECT_EQ(after.num_running, 0);
  EXPECT_EQ(after.last_step_end_ns, last_step);
  EXPECT_EQ(after.last_progress_ns, last_step + 7);
  EXPECT_TRUE(bench.engine->sequences().empty());
}

TEST(Engine, LogprobsAreOfTheRawRowAndTheHashIsOfItsBytes) {
  Bench bench;
  Request request = greedy_request(prompt_of(33), 4);
  request.logprobs = 3;
  request.logits_hash = true;
  request.sampling.logit_bias = {{7, 50.0f}};
  const RequestId id = bench.submit(std::move(request));
  bench.run();
  const RequestResult& result = bench.answers.finished.at(id);
  EXPECT_EQ(result.token_ids, (std::vector<int32_t>{7, 7, 7, 7}));
  uint64_t prefix = HashExecutor::kEmptyPrefix;
  for (const int32_t token : prompt_of(33)) prefix = HashExecutor::extend(prefix, token);
  std::vector<float> logits(kVocab);
  for (size_t i = 0; i < 4; ++i) {
    HashExecutor::fill_logits(prefix, logits);
    EXPECT_EQ(result.logits_hashes[i], xxh64(std::as_bytes(std::span(logits))));
    EXPECT_EQ(result.logprobs.tokens[i].logprob, LogSoftmax(logits).logprob(logits[7]));
    const auto best = std::ranges::max_element(logits);
    EXPECT_EQ(result.logprobs.top(i)[0].token_id, best - logits.begin());
    prefix = HashExecutor::extend(prefix, 7);
  }
}

class Rows final : public PromptRowSink {
 public:
  void on_row(int64_t position, std::span<const float> logits) override {
    positions.push_back(position);
    hashes.push_back(xxh64(std::as_bytes(logits)));
  }
  std::vector<int64_t> positions;
  std::vector<uint64_t> hashes;
};

TEST(Engine, PromptRowsComeInOrderWithinTheRowLimit) {
  Bench bench({.max_num_seqs = 3, .max_wanted_rows = 5});
  auto rows = std::make_shared<Rows>();
  Request request = greedy_request(prompt_of(60), 0);
  request.prompt_rows = rows;
  request.prompt_logprobs = 2;
  const RequestId scored = bench.submit(request);
  const RequestId other = bench.submit(greedy_request(prompt_of(60), 20));
  bench.run();
  const RequestResult& result = bench.answers.finished.at(scored);
  EXPECT_TRUE(result.token_ids.empty());
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  ASSERT_EQ(result.prompt_logprobs.tokens.size(), 59u);
  ASSERT_EQ(rows->positions.size(), 59u);
  uint64_t prefix = HashExecutor::kEmptyPrefix;
  std::vector<float> logits(kVocab);
  for (size_t i = 0; i < 59; ++i) {
    prefix = HashExecutor::extend(prefix, prompt_of(60)[i]);
    HashExecutor::fill_logits(prefix, logits);
    EXPECT_EQ(rows->positions[i], static_cast<int64_t>(i));
    EXPECT_EQ(rows->hashes[i], xxh64(std::as_bytes(std::span(logits))));
    EXPECT_EQ(result.prompt_logprobs.tokens[i].token_id, prompt_of(60)[i + 1]);
  }
  EXPECT_EQ(bench.answers.finished.at(other).token_ids, greedy(prompt_of(60), 20));
}

TEST(Engine, PromptLogprobsComputeThePromptAlthoughItIsCached) {
  Bench bench;
  bench.submit(greedy_request(prompt_of(70), 2));
  bench.run();
  Request request = greedy_request(prompt_of(70), 2);
  request.prompt_logprobs = 0;
  const RequestId id = bench.submit(std::move(request));
  bench.run();
  EXPECT_EQ(bench.answers.finished.at(id).prompt_logprobs.tokens.size(), 69u);
  EXPECT_EQ(bench.answers.finished.at(id).cached_tokens, 0);
  EXPECT_EQ(bench.answers.finished.at(id).miss, MissReason::kNotCacheable);
}

TEST(Engine, SampledAnswerDependsOnSeedAndNotOnCompany) {
  const auto answer_of = [](uint64_t seed, int companions) {
    Bench bench({.max_num_seqs = 4});
    for (int i = 0; i < companions; ++i) bench.submit(greedy_request(prompt_of(50, i), 20));
    Request request = greedy_request(prompt_of(20), 30);
    request.sampling.temperature = 1;
    request.sampling.seed = seed;
    const RequestId id = bench.submit(std::move(request));
    bench.run();
    return bench.answers.finished.at(id).token_ids;
  };
  EXPECT_EQ(answer_of(1, 0), answer_of(1, 9));
  EXPECT_NE(answer_of(1, 0), answer_of(2, 0));
}

TEST(Engine, StaticSchedulingAdmitsOnlyIntoAnEmptyBatch) {
  Bench bench({.max_num_seqs = 2, .max_num_batched_tokens = 16, .static_scheduling = true});
  bench.submit(greedy_request(prompt_of(16), 2));
  const RequestId longer = bench.submit(greedy_request(prompt_of(16), 12));
  const RequestId third = bench.submit(greedy_request(prompt_of(16), 2));
  bench.run();
  EXPECT_GT(bench.answers.finished.at(third).timing.scheduled_ns,
            bench.answers.finished.at(longer).timing.last_token_ns);
}

TEST(Engine, AnswersRequestsFromManyThreads) {
  HashExecutor executor({.vocab_size = kVocab,
                         .groups = {{.num_blocks = 64}},
                         .max_num_seqs = 8,
                         .max_batched_tokens = 64,
                         .max_wanted_rows = 8});
  Answers answers;
  auto engine = std::move(Engine::make(executor,
                                       {.vocab_size = kVocab,
                                        .max_model_len = 256,
                                        .max_num_seqs = 8,
                                        .max_num_batched_tokens = 64,
                                        .max_wanted_rows = 8,
                                        .kv_groups = {{.num_blocks = 64}}},
                                       answers))
                    .value();
  constexpr int kEach = 100;
  std::atomic<int> submitting = 2;
  const auto client = [&](int32_t who) {
    for (int i = 0; i < kEach; ++i) {
      Request request = greedy_request(prompt_of(5 + i % 60, who), 1 + i % 9);
      request.tenant = static_cast<uint32_t>(who);
      request.priority = i % 3;
      const RequestId id = engine->submit(std::move(request)).value();
      if (i % 3 == 0) engine->cancel(id);
    }
    submitting.fetch_sub(1);
  };
  std::thread first(client, 1), second(client, 2);
  std::thread watcher([&] {
    for (int look = 1; submitting.load() > 0; ++look) {
      if (look % 20 == 0) engine->reset_prefix_cache();
      const EngineSnapshot seen = engine->snapshot();
      EXPECT_LE(seen.num_running, 8);
      for (const SequenceView& view : engine->sequences()) EXPECT_GE(view.prompt_tokens, 5);
      std::this_thread::yield();
    }
  });
  while (submitting.load() > 0 || !engine->idle()) {
    if (!engine->step()) engine->wait_for_work(1'000'000);
  }
  first.join();
  second.join();
  watcher.join();
  EXPECT_EQ(answers.finished.size(), 2u * kEach);
  EXPECT_EQ(engine->load().tokens(), 0);
  for (const auto& [id, result] : answers.finished) {
    const RequestTiming& timing = result.timing;
    EXPECT_EQ(timing.accounted_ns(), timing.finished_ns - timing.submitted_ns);
  }
  EXPECT_EQ(executor.violation(), std::nullopt);
}

TEST(Engine, WhereAllFitAtTheirLargestAllBeginAtOnce) {
  EngineOptions options;
  options.max_model_len = 32;
  options.max_num_seqs = 8;
  options.max_wanted_rows = 8;
  options.kv_groups = {{.num_blocks = 8}};
  Bench bench(options);
  for (int i = 0; i < 8; ++i) bench.submit(greedy_request(prompt_of(2, i), 9));
  bench.run();
  for (const auto& [id, result] : bench.answers.finished) {
    EXPECT_EQ(result.timing.first_token_ns,
              bench.answers.finished.begin()->second.timing.first_token_ns);
  }
}

TEST(Engine, TellsHowFarAPromptIsToWhoWantsToKnow) {
  EngineOptions options;
  options.max_num_batched_tokens = 32;
  options.prefix_caching = true;
  Bench bench(options);
  Request request = greedy_request(prompt_of(100), 4);
  bench.submit(request);
  bench.run();
  EXPECT_TRUE(bench.answers.progresses.empty());

  request.prompt = prompt_of(100);
  request.prompt.resize(170, 1);
  request.wants_progress = true;
  bench.submit(request);
  bench.run();
  const auto& told = bench.answers.progresses;
  ASSERT_GE(told.size(), 3u);
  const RequestResult& result = bench.answers.finished.rbegin()->second;
  EXPECT_GT(result.cached_tokens, 0);
  EXPECT_EQ(told.front().processed_tokens, result.cached_tokens);
  EXPECT_EQ(told.back().processed_tokens, 170);
  EXPECT_LE(told.back().time_ns, result.timing.first_token_ns);
  for (size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].prompt_tokens, 170);
    EXPECT_EQ(told[i].cached_tokens, result.cached_tokens);
    EXPECT_EQ(told[i].scheduled_ns, result.timing.scheduled_ns);
    EXPECT_TRUE(i == 0 || told[i].processed_tokens > told[i - 1].processed_tokens);
  }
}

TEST(Engine, AnAnswerEndsWhenItHasTakenTooLong) {
  Bench bench;
  Request request = greedy_request(prompt_of(8), 100);
  request.max_predict_ns = 5'000'000;  // a step takes one
  const RequestId id = bench.submit(request);
  bench.run();
  const RequestResult& result = bench.answers.finished.at(id);
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(result.token_ids, greedy(prompt_of(8), 6));
}

}  // namespace
}  // namespace quern
