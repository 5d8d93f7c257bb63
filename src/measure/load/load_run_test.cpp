#include "measure/load/load_run.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>

#include "measure/load/fake_server.h"
#include "measure/load/load_check.h"
#include "measure/load/load_latency.h"
#include "measure/statistics.h"

namespace quern {
namespace {

using Outcome = LoadRecord::Outcome;

constexpr int64_t kMs = 1'000'000;
// Whoever else uses the machine can only make times worse: what must be near is near in one try.
constexpr int kTries = 6;

struct Asked {
  std::string prompt;
  int64_t arrival_ns = 0;
  int64_t cancel_after = 0;
};

std::vector<LoadRequest> requests_of(const std::vector<Asked>& asked, bool stream = true,
                                     bool chat = false) {
  std::vector<LoadRequest> requests;
  for (const Asked& one : asked) {
    Json body = {{"user", cat(requests.size())}, {"stream", stream}};
    if (chat) {
      body["messages"] = Json::array({{{"role", "user"}, {"content", one.prompt}}});
    } else {
      body["prompt"] = one.prompt;
    }
    requests.push_back({.body = dump_json(body),
                        .arrival_ns = one.arrival_ns,
                        .prompt_tokens = 9,
                        .max_tokens = 3,
                        .cancel_after = one.cancel_after});
  }
  return requests;
}

LoadOptions options_for(const FakeServer& server) {
  const auto url = parse_url(server.url());
  EXPECT_TRUE(url);
  return {.url = *url};
}

LoadResult run(const std::vector<LoadRequest>& requests, const LoadOptions& options) {
  auto result = run_load(requests, options);
  EXPECT_TRUE(result) << result.error().message;
  return result ? *std::move(result) : LoadResult();
}

/// How far what the client reports lies from what the server did, in milliseconds: the median over
/// all pieces of all answers.
struct Distance {
  double sends_ms = 0;   // of requests: the client's time of sending, the server's of their coming
  double pieces_ms = 0;  // of what the server sent
};

Distance distance_of(FakeServer& server, const LoadResult& result) {
  std::vector<double> sends, pieces;
  for (const LoadRecord& record : result.records) {
    EXPECT_TRUE(record.completed()) << record.error;
    const FakeTimes times = server.times(cat(record.index));
    sends.push_back(std::abs(static_cast<double>(record.sent_ns - times.head_ns)) * 1e-6);
    EXPECT_EQ(record.event_ns.size(), times.sent_ns.size());
    for (size_t i = 0; i < std::min(record.event_ns.size(), times.sent_ns.size()); ++i) {
      pieces.push_back(std::abs(static_cast<double>(record.event_ns[i] - times.sent_ns[i])) * 1e-6);
    }
  }
  return {median(sends), median(pieces)};
}

/// Streams that are all under way together for most of the time.
void expect_truth(int64_t num_streams, int64_t gap_ms, bool stream, const FakeRoutes& routes = {}) {
  Distance best{.sends_ms = INFINITY, .pieces_ms = INFINITY};
  for (int i = 0; i < kTries && std::max(best.sends_ms, best.pieces_ms) > 1; ++i) {
    FakeServer server({{"", {.first_token_ms = 4 * gap_ms, .gap_ms = gap_ms, .num_tokens = 5}}},
                      routes);
    std::vector<Asked> asked;
    for (int64_t n = 0; n < num_streams; ++n) {
      asked.push_back({.prompt = "x", .arrival_ns = n * 4 * gap_ms * kMs / num_streams});
    }
    LoadOptions options = options_for(server);
    options.stream = stream;
    options.client.verify_certificate = false;
    const LoadResult result = run(requests_of(asked, stream), options);
    ASSERT_EQ(static_cast<int64_t>(result.records.size()), num_streams);
    EXPECT_GE(most_at_once(result), num_streams * 3 / 4);
    const Distance distance = distance_of(server, result);
    if (std::max(distance.sends_ms, distance.pieces_ms) < std::max(best.sends_ms, best.pieces_ms)) {
      best = distance;
    }
  }
  std::printf("%lld streams: sends %.3f ms, pieces %.3f ms from the truth\n",
              static_cast<long long>(num_streams), best.sends_ms, best.pieces_ms);
  EXPECT_LE(best.sends_ms, 1);
  EXPECT_LE(best.pieces_ms, 1);
}

TEST(LoadRun, TimesOfAStreamAreTheTruthWithinAMillisecond) { expect_truth(1, 10, true); }
TEST(LoadRun, TimesOfAHundredStreamsAreTheTruthWithinAMillisecond) { expect_truth(100, 30, true); }
TEST(LoadRun, TimesOfAThousandStreamsAreTheTruthWithinAMillisecond) {
  expect_truth(1000, 250, true);
}
TEST(LoadRun, TimesOfWholeAnswersAreTheTruthWithinAMillisecond) {
  expect_truth(1, 10, false);
  expect_truth(100, 30, false);
}

TEST(LoadRun, TimesOverTlsAreTheTruthWithinAMillisecond) {
  const TestCertificate certificate;
  expect_truth(1, 10, true, certificate.routes());
  expect_truth(20, 30, true, certificate.routes());
}

TEST(LoadRun, ACertificateThatNobodyVouchesForFailsEveryRequest) {
  const TestCertificate certificate;
  FakeServer server({{"", FakeAnswer()}}, certificate.routes());
  const LoadResult result = run(requests_of({{"x"}, {"y"}}), options_for(server));
  ASSERT_EQ(result.records.size(), 2u);
  for (const LoadRecord& record : result.records) {
    EXPECT_EQ(record.outcome, Outcome::kFailed);
    EXPECT_NE(record.error.find("agree on TLS"), std::string::npos) << record.error;
    EXPECT_EQ(record.sent_ns, -1);
  }
  EXPECT_TRUE(server.requests().empty());
}

TEST(LoadRun, EveryRequestEndsInExactlyOneClass) {
  const std::vector<std::tuple<std::string, FakeAnswer, Outcome, std::string>> cases = {
      {"fine", {}, Outcome::kCompleted, ""},
      {"slow head", {.head_ms = 60}, Outcome::kCompleted, ""},
      {"error in stream", {.error_after = 2}, Outcome::kFailed, "out of luck"},
      {"no done", {.says_done = false}, Outcome::kFailed, "[DONE]"},
      {"busy",
       {.status = 503, .body = R"({"error":{"message":"queue full"}})"},
       Outcome::kRefused,
       "status 503: queue full"},
      {"too many", {.status = 429, .body = "slower"}, Outcome::kRefused, "status 429: slower"},
      {"broken", {.status = 500, .body = "bug"}, Outcome::kFailed, "status 500: bug"},
      {"unknown", {.status = 404, .body = ""}, Outcome::kFailed, "status 404"},
      {"cut", {.cut_after = 1}, Outcome::kFailed, "cannot read the answer"},
      {"cut at once", {.cut_after = 0}, Outcome::kFailed, "cannot read the answer"},
      {"left", {.gap_ms = 20, .num_tokens = 1000}, Outcome::kCancelled, ""},
  };
  std::map<std::string, FakeAnswer> scripts;
  std::vector<Asked> asked;
  for (const auto& [name, answer, outcome, error] : cases) {
    scripts[name] = answer;
    asked.push_back({.prompt = name, .cancel_after = name == "left" ? 2 : 0});
  }
  FakeServer server(scripts);
  for (const bool chat : {false, true}) {
    LoadOptions options = options_for(server);
    if (chat) options.path = "/v1/chat/completions";
    const LoadResult result = run(requests_of(asked, true, chat), options);
    ASSERT_EQ(result.records.size(), cases.size());
    for (size_t i = 0; i < cases.size(); ++i) {
      const auto& [name, answer, outcome, error] = cases[i];
      const LoadRecord& record = result.records[i];
      EXPECT_EQ(record.outcome, outcome) << name << ": " << record.error;
      EXPECT_EQ(record.error.empty(), error.empty()) << name << ": " << record.error;
      EXPECT_NE(record.error.find(error), std::string::npos) << name << ": " << record.error;
      EXPECT_LE(record.intended_ns, record.sent_ns) << name;
      EXPECT_LE(record.sent_ns, record.end_ns) << name;
    }
    EXPECT_EQ(result.records[0].text, " word0 word1 word2");
    EXPECT_EQ(result.records[0].prompt_tokens, 5);
    EXPECT_EQ(result.records[0].completion_tokens, 3);
    EXPECT_EQ(result.records[5].prompt_tokens, 9);
    EXPECT_GE(result.records[1].first_byte_ns - result.records[1].sent_ns, 60 * kMs);
    EXPECT_EQ(result.records[2].event_ns.size(), 2u);
    EXPECT_EQ(result.records[10].event_ns.size(), 2u);
  }
}

TEST(LoadRun, AnAnswerThatNeverBeginsFailsWhenItsTimeIsOver) {
  FakeServer server({{"", {.head_ms = 60'000}}});
  LoadOptions options = options_for(server);
  options.client.idle_timeout_ms = 100;
  const LoadResult result = run(requests_of({{"x"}}), options);
  ASSERT_EQ(result.records.size(), 1u);
  EXPECT_EQ(result.records[0].outcome, Outcome::kFailed);
  EXPECT_EQ(result.records[0].status, 0);
}

TEST(LoadRun, AServerThatIsNotThereFailsEveryRequest) {
  LoadOptions options;
  {
    FakeServer server(std::map<std::string, FakeAnswer>{});
    options = options_for(server);
  }
  const LoadResult result = run(requests_of({{"x"}, {"y"}}), options);
  ASSERT_EQ(result.records.size(), 2u);
  for (const LoadRecord& record : result.records) {
    EXPECT_EQ(record.outcome, Outcome::kFailed);
    EXPECT_NE(record.error.find("cannot connect"), std::string::npos) << record.error;
  }
  const auto checks = check_load(result, {});
  ASSERT_TRUE(checks);
  EXPECT_NE(checks->front().failure.find("no request was completed"), std::string::npos);
  options.url.host = "no.such.host.invalid";
  EXPECT_FALSE(run_load(requests_of({{"x"}}), options));
}

TEST(LoadRun, UsersOfAClosedLoopSendWhenTheirAnswerHasEnded) {
  FakeServer server({{"", {.first_token_ms = 10}}});
  LoadOptions options = options_for(server);
  options.closed_loop = true;
  options.max_concurrency = 3;
  const LoadResult result = run(requests_of(std::vector<Asked>(10, Asked{"x"})), options);
  ASSERT_EQ(result.records.size(), 10u);
  EXPECT_EQ(most_at_once(result), 3);
  for (size_t i = 0; i < 10; ++i) {
    const LoadRecord& record = result.records[i];
    const bool follows = std::ranges::any_of(result.records, [&](const LoadRecord& other) {
      return other.end_ns == record.intended_ns;
    });
    EXPECT_EQ(follows, i >= 3) << i;
    EXPECT_EQ(record.connected_ns >= 0, i < 3) << i;
  }
}

TEST(LoadRun, WhatWaitsForTheBoundIsCountedAsWaitingAndNotAsLag) {
  FakeServer server({{"", {.first_token_ms = 40}}});
  LoadOptions options = options_for(server);
  options.max_concurrency = 1;
  const LoadResult result = run(requests_of(std::vector<Asked>(3, Asked{"x"})), options);
  ASSERT_EQ(result.records.size(), 3u);
  EXPECT_EQ(most_at_once(result), 1);
  for (int64_t i = 0; i < 3; ++i) {
    const LoadRecord& record = result.records[static_cast<size_t>(i)];
    EXPECT_EQ(record.intended_ns, result.started_ns);
    EXPECT_GE(record.released_ns - record.intended_ns, i * 40 * kMs);
    EXPECT_GE(*ttft_ms(record), static_cast<double>((i + 1) * 40));
  }
  EXPECT_LT(send_lags_ms(result)[2], 40);
}

TEST(LoadRun, NothingNewGoesOutAfterTheDurationAndWhatWasLeftOutIsCounted) {
  FakeServer server({{"", {.first_token_ms = 20}}});
  LoadOptions closed = options_for(server);
  closed.closed_loop = true;
  closed.max_concurrency = 1;
  closed.duration_ns = 100 * kMs;
  const LoadResult users = run(requests_of(std::vector<Asked>(500, Asked{"x"})), closed);
  EXPECT_GE(users.records.size(), 1u);
  EXPECT_EQ(users.records.size() + static_cast<size_t>(users.num_not_sent), 500u);

  LoadOptions open = options_for(server);
  open.duration_ns = 50 * kMs;
  const LoadResult arrivals =
      run(requests_of({{"x"}, {.prompt = "x", .arrival_ns = 1}, {"x", int64_t{3600} * 1000 * kMs}}),
          open);
  EXPECT_EQ(arrivals.records.size(), 2u);
  EXPECT_EQ(arrivals.num_not_sent, 1);
}

/// Probes of the prompt "probe", one every `gap_ms`.
Probes probes_every(int64_t gap_ms) {
  return {.rate = 1000.0 / static_cast<double>(gap_ms), .request = [](int64_t index) {
            return LoadRequest{
                .body = dump_json(
                    {{"user", cat("probe", index)}, {"stream", true}, {"prompt", "probe"}}),
                .max_tokens = 1};
          }};
}

TEST(LoadRun, ProbesGoOutAtTheirRatePastTheBoundAndAreNoPartOfTheLoad) {
  FakeServer server({{"x", {.first_token_ms = 100}}, {"probe", {.num_tokens = 1}}});
  LoadOptions options = options_for(server);
  options.closed_loop = true;
  options.max_concurrency = 1;
  options.probes = probes_every(20);
  std::vector<int64_t> progress;
  options.progress = [&](int64_t ended) { progress.push_back(ended); };
  const LoadResult result = run(requests_of({{"x"}, {"x"}}), options);
  ASSERT_EQ(result.records.size(), 2u);
  EXPECT_EQ(progress, (std::vector<int64_t>{1, 2}));
  // As many as the load had time for; one that was due just when it ended may be missing.
  const int64_t due = (result.ended_ns - result.started_ns) / (20 * kMs);
  EXPECT_LE(static_cast<int64_t>(result.probes.size()), due);
  EXPECT_GE(static_cast<int64_t>(result.probes.size()), due - 1);
  for (size_t i = 0; i < result.probes.size(); ++i) {
    const LoadRecord& probe = result.probes[i];
    EXPECT_TRUE(probe.completed()) << probe.error;
    EXPECT_EQ(probe.index, static_cast<int64_t>(i));
    EXPECT_EQ(probe.intended_ns - result.started_ns, static_cast<int64_t>(i + 1) * 20 * kMs);
    EXPECT_LT(*ttft_ms(probe), 100);  // it waited for no answer of the load
  }
}

TEST(LoadRun, TheLoadsEndWaitsForNoProbeToComeButForThoseUnderWay) {
  FakeServer server({{"x", {.first_token_ms = 50}}, {"probe", {.first_token_ms = 400}}});
  LoadOptions options = options_for(server);
  options.probes = probes_every(30);
  const int64_t begun_ns = steady_clock().now_ns();
  const LoadResult result = run(requests_of({{"x"}}), options);
  ASSERT_GE(result.probes.size(), 1u);
  EXPECT_TRUE(result.probes[0].completed()) << result.probes[0].error;
  EXPECT_GT(result.probes[0].end_ns, result.ended_ns);
  options.probes = probes_every(3'600'000);
  EXPECT_TRUE(run(requests_of({{"x"}}), options).probes.empty());
  EXPECT_LT(steady_clock().now_ns() - begun_ns, 60'000 * kMs);
}

/// What stands against a load of 30 requests, one each 5 ms, that is held up for `blocked_ms` after
/// every answer.
std::string failure_of_lag(int64_t blocked_ms) {
  FakeServer server({{"", FakeAnswer()}});
  LoadOptions options = options_for(server);
  options.progress = [&](int64_t) {
    if (blocked_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(blocked_ms));
  };
  std::vector<Asked> asked;
  for (int64_t i = 0; i < 30; ++i) asked.push_back({.prompt = "x", .arrival_ns = i * 5 * kMs});
  const auto checks = check_load(run(requests_of(asked), options), {});
  EXPECT_TRUE(checks);
  return std::ranges::find(*checks, "send_lag_p99_ms", &LoadCheck::name)->failure;
}

TEST(LoadRun, ALagShowsWhereTheClientIsHeldUp) {
  EXPECT_NE(failure_of_lag(50).find("late"), std::string::npos);
  bool once_in_time = false;
  for (int i = 0; i < kTries && !once_in_time; ++i) once_in_time = failure_of_lag(0).empty();
  EXPECT_TRUE(once_in_time);
}

TEST(LoadRun, MoreConnectionsThanTheSystemAllowsAreRefusedBeforeTheLoad) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max > 2'000'000) GTEST_SKIP() << "this system allows as good as any number";
  FakeServer server({{"", FakeAnswer()}});
  LoadOptions options = options_for(server);
  options.closed_loop = true;
  options.max_concurrency = 1'000'000'000;
  const std::vector<LoadRequest> many(limit.rlim_max);
  const auto result = run_load(many, options);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kSystem);
  EXPECT_NE(result.error().message.find("--max-concurrency"), std::string::npos);
  EXPECT_TRUE(server.requests().empty());
}

}  // namespace
}  // namespace quern
