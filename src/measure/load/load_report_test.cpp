#include "measure/load/load_report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/cat.h"
#include "measure/load/openai_request.h"

namespace quern {
namespace {

using Outcome = LoadRecord::Outcome;

constexpr int64_t kMs = 1'000'000;

/// Sent when it was meant to; its tokens come at these times, its end with the last one.
LoadRecord record(int64_t intended_ms, const std::vector<int64_t>& events_ms,
                  Outcome outcome = Outcome::kCompleted) {
  LoadRecord r;
  r.outcome = outcome;
  r.status = 200;
  r.intended_ns = r.released_ns = r.sent_ns = intended_ms * kMs;
  for (const int64_t at : events_ms) r.event_ns.push_back(at * kMs);
  r.end_ns = events_ms.empty() ? r.sent_ns : r.event_ns.back();
  r.first_byte_ns = r.sent_ns;
  r.prompt_tokens = 10;
  r.completion_tokens = r.max_tokens = static_cast<int64_t>(events_ms.size());
  r.usage_given = true;
  if (outcome == Outcome::kFailed || outcome == Outcome::kRefused) r.error = "no luck";
  return r;
}

LoadResult result_of(std::vector<LoadRecord> records) {
  LoadResult result{.records = std::move(records), .started_ns = 0};
  for (const LoadRecord& r : result.records) result.ended_ns = std::max(result.ended_ns, r.end_ns);
  return result;
}

std::string failure_of(const LoadResult& result, std::string_view name,
                       const LoadCheckOptions& options = {}) {
  const auto checks = check_load(result, options);
  EXPECT_TRUE(checks);
  return std::ranges::find(*checks, name, &LoadCheck::name)->failure;
}

Json report_of(const LoadResult& result, const LoadReportOptions& options = {}) {
  const auto checks = check_load(result, {});
  EXPECT_TRUE(checks);
  return load_report(result, *checks, options);
}

TEST(LoadReport, RatesAreOverTheWindowAndTheTailIsShownApart) {
  // The last one is meant to go out at 1,000 ms: what comes after that is the tail.
  const LoadResult result = result_of({record(0, {100, 200, 300}), record(500, {700, 900, 1100}),
                                       record(1000, {1500, 2500, 4000})});
  const Json report = report_of(result);
  EXPECT_DOUBLE_EQ(report["duration"], 4.0);
  EXPECT_DOUBLE_EQ(report["window"]["seconds"], 1.0);
  EXPECT_DOUBLE_EQ(report["window"]["output_tokens"], 5);
  EXPECT_DOUBLE_EQ(report["window"]["tail_output_tokens"], 4);
  EXPECT_DOUBLE_EQ(report["output_throughput"], 5);
  EXPECT_DOUBLE_EQ(report["request_throughput"], 1);
  EXPECT_DOUBLE_EQ(report["total_token_throughput"], 25);  // two prompts got their first token
  EXPECT_DOUBLE_EQ(report["whole_run"]["output_throughput"], 9.0 / 4);
  EXPECT_EQ(report["total_output_tokens"], 9);
  EXPECT_EQ(report["output_tokens_by_second"], Json({5.0, 2.0, 1.0, 0.0, 1.0}));
}

TEST(LoadReport, TheSeriesSumsToTheTotals) {
  LoadResult result = result_of({record(0, {100, 2000, 3000}), record(900, {1000}), record(950, {}),
                                 record(960, {1200, 1300}, Outcome::kFailed)});
  result.records[0].completion_tokens = 8;  // several tokens a piece
  result.records[2].completion_tokens = 2;  // tokens without text
  const Json report = report_of(result);
  const auto by_second = report["output_tokens_by_second"].get<std::vector<double>>();
  const double sum = std::accumulate(by_second.begin(), by_second.end(), 0.0);
  EXPECT_NEAR(sum, report["total_output_tokens"].get<double>(), 1e-9);
  EXPECT_NEAR(sum,
              report["window"]["output_tokens"].get<double>() +
                  report["window"]["tail_output_tokens"].get<double>(),
              1e-9);
}

TEST(LoadReport, ALoadSentAllAtOnceHasTheWholeRunForItsWindow) {
  const Json report = report_of(result_of({record(0, {100, 500}), record(0, {200, 2000})}));
  EXPECT_DOUBLE_EQ(report["window"]["seconds"], 2);
  EXPECT_DOUBLE_EQ(report["output_throughput"], 2);
  EXPECT_DOUBLE_EQ(report["window"]["tail_seconds"], 0);
}

TEST(LoadReport, LatenciesAreFromTheIntendedSendAndAlsoFromTheActualOne) {
  LoadResult result = result_of({record(0, {110, 120, 140})});
  result.records[0].sent_ns = 10 * kMs;
  const Json report = report_of(result);
  EXPECT_DOUBLE_EQ(report["median_ttft_ms"], 110);
  EXPECT_DOUBLE_EQ(report["median_ttft_from_send_ms"], 100);
  EXPECT_DOUBLE_EQ(report["median_e2el_ms"], 140);
  EXPECT_DOUBLE_EQ(report["median_tpot_ms"], 15);
  EXPECT_DOUBLE_EQ(report["median_itl_ms"], 15);
  EXPECT_EQ(report["n_itl_ms"], 2);
}

TEST(LoadReport, ProbesHaveTheirOwnFiguresAndChangeNoOther) {
  LoadResult result = result_of({record(0, {100, 200}), record(500, {600, 700})});
  const Json bare = report_of(result);
  result.probes = {record(100, {110}), record(200, {230}), record(300, {360}),
                   record(400, {}, Outcome::kRefused)};
  Json report = report_of(result, {.has_probes = true});
  EXPECT_EQ(report["probe_completed"], 3);
  EXPECT_EQ(report["probe_failed"], 1);
  EXPECT_DOUBLE_EQ(report["probe_median_ttft_ms"], 30);
  EXPECT_DOUBLE_EQ(report["probe_max_e2el_ms"], 60);
  EXPECT_NEAR(report["probe_p99_ttft_ms"].get<double>(), 59.4, 1e-9);
  const std::string text = load_report_text(report, {.has_probes = true});
  EXPECT_NE(text.find("P99 TTFT (ms):                           59.40\n"), std::string::npos);
  for (auto at = report.begin(); at != report.end();) {
    at = at.key().starts_with("probe_") ? report.erase(at) : std::next(at);
  }
  report["definitions"].erase("probe_ttft");
  report["definitions"].erase("probe_e2el");
  EXPECT_EQ(report, bare);
}

TEST(LoadReport, AWholeAnswerHasAnEndAndNoFirstToken) {
  LoadResult result = result_of({record(0, {100})});
  result.stream = false;
  const Json report = report_of(result);
  EXPECT_TRUE(report["median_ttft_ms"].is_null());
  EXPECT_DOUBLE_EQ(report["median_e2el_ms"], 100);
  const std::string text = load_report_text(report, {});
  EXPECT_EQ(text.find("Time to First Token"), std::string::npos);
  EXPECT_NE(text.find("End-to-end Latency"), std::string::npos);
}

TEST(LoadReport, FailuresAreMissesOfTheGoodput) {
  const LoadReportOptions options{.goodput = {{"ttft", 150}, {"tpot", 50}}};
  const Json report =
      report_of(result_of({record(0, {100, 120}), record(0, {100, 200}), record(0, {200, 210}),
                           record(0, {50, 60}, Outcome::kFailed), record(0, {}, Outcome::kRefused),
                           record(0, {50}, Outcome::kCancelled), record(1000, {1100, 1120})}),
                options);
  EXPECT_EQ(report["completed"], 4);
  EXPECT_EQ(report["failed"], 1);
  EXPECT_EQ(report["refused"], 1);
  EXPECT_EQ(report["cancelled"], 1);
  EXPECT_DOUBLE_EQ(report["request_goodput"], 1);      // in the window of one second
  EXPECT_DOUBLE_EQ(report["goodput_share"], 2.0 / 6);  // who left is no miss
  EXPECT_EQ(report["error_counts"], Json({{"no luck", 2}}));
}

TEST(LoadReport, GoodputLimitsAreNamedAndInMilliseconds) {
  const auto limit = parse_goodput_limit("tpot:12.5");
  ASSERT_TRUE(limit);
  EXPECT_EQ(limit->metric, "tpot");
  EXPECT_DOUBLE_EQ(limit->most_ms, 12.5);
  for (const char* bad : {"", "ttft", "ttft:", "ttft:x", "itl:5", "e2el:0", "ttft:-1"}) {
    EXPECT_FALSE(parse_goodput_limit(bad)) << bad;
  }
}

TEST(LoadReport, TooFewRequestsForAPercentileAreSaidToBe) {
  std::vector<LoadRecord> records;
  for (int i = 0; i < 50; ++i) records.push_back(record(i, {i + 100, i + 110}));
  const Json report = report_of(result_of(records));
  EXPECT_EQ(report["n_too_small_for"]["ttft"], Json({"p99"}));
  EXPECT_TRUE(report["intervals"].contains("p50_ttft_ms"));
  EXPECT_FALSE(report["intervals"].contains("p99_ttft_ms"));
  EXPECT_NE(load_report_text(report, {}).find("TTFT P99: n too small (50); the maximum is 100.00"),
            std::string::npos);
}

TEST(LoadReport, TheConsoleBlockIsVllmsAndFiftyColumnsWide) {
  const LoadResult result = result_of({record(0, {100, 150}), record(1000, {1100, 1150})});
  Json report = report_of(result, {.percentiles = {99}});
  report["max_concurrency"] = 4;
  const std::string text =
      load_report_text(report, {.percentiles = {99}, .metrics = {"ttft", "tpot"}});
  const std::string expected =
      "============ Serving Benchmark Result ============\n"
      "Successful requests:                     2\n"
      "Failed requests:                         0\n"
      "Maximum request concurrency:             4\n"
      "Benchmark duration (s):                  1.15\n"
      "Total input tokens:                      20\n"
      "Total generated tokens:                  4\n"
      "Request throughput (req/s):              1.00\n"
      "Output token throughput (tok/s):         2.00\n"
      "Peak output token throughput (tok/s):    2.00\n"
      "Peak concurrent requests:                1\n"
      "Total token throughput (tok/s):          12.00\n"
      "---------------Time to First Token----------------\n"
      "Mean TTFT (ms):                          100.00\n"
      "Median TTFT (ms):                        100.00\n"
      "P99 TTFT (ms):                           100.00\n"
      "-----Time per Output Token (excl. 1st token)------\n"
      "Mean TPOT (ms):                          50.00\n"
      "Median TPOT (ms):                        50.00\n"
      "P99 TPOT (ms):                           50.00\n"
      "==================================================\n";
  EXPECT_EQ(text.substr(0, expected.size()), expected);
}

TEST(LoadCheck, ALagBeyondFiveMillisecondsOrAHundredthOfTheFirstTokenCounts) {
  const auto with_lag = [](int64_t lag_ms, int64_t ttft_ms) {
    LoadResult result = result_of({record(0, {ttft_ms})});
    result.records[0].sent_ns += lag_ms * kMs;
    return failure_of(result, "send_lag_p99_ms");
  };
  EXPECT_EQ(with_lag(5, 100), "");
  EXPECT_NE(with_lag(6, 100), "");
  EXPECT_EQ(with_lag(9, 1000), "");
  EXPECT_NE(with_lag(11, 1000), "");
}

TEST(LoadCheck, TheNetworksShareOfConnectingIsNoLag) {
  LoadResult result = result_of({record(0, {200}), record(0, {200}), record(0, {200})});
  for (int64_t i = 0; i < 3; ++i) {
    LoadRecord& r = result.records[static_cast<size_t>(i)];
    r.connected_ns = (50 + i) * kMs;
    r.sent_ns = r.connected_ns;
  }
  EXPECT_EQ(failure_of(result, "send_lag_p99_ms"), "");
  EXPECT_EQ(send_lags_ms(result), (std::vector<double>{0, 1, 2}));
  result.records[2].sent_ns += 20 * kMs;
  EXPECT_NE(failure_of(result, "send_lag_p99_ms"), "");
}

TEST(LoadCheck, ABusyClientAndAStolenMachineCount) {
  LoadResult result = result_of({record(0, {1000})});
  result.sender_cpu_s = 0.79;
  EXPECT_EQ(failure_of(result, "client_cpu"), "");
  result.reader_cpu_s = 0.81;
  EXPECT_NE(failure_of(result, "client_cpu"), "");
  EXPECT_EQ(failure_of(result, "steal"), "");
  result.steal_share = 0.011;
  EXPECT_NE(failure_of(result, "steal"), "");
}

TEST(LoadCheck, FirstTokensThatCameMuchLaterThanTheServerMadeThemCount) {
  LoadResult result = result_of({record(0, {10, 20}), record(0, {12})});
  result.probes = {record(0, {14})};
  result.probes[0].sent_ns = 2 * kMs;  // 12 ms from the actual send; the mean of all is 34 / 3
  const auto apart = [&](double server_sum_ms, double count = 3) {
    const auto checks =
        check_load(result, {.server_ttft = ServerTtft{.count = count, .sum_ms = server_sum_ms}});
    EXPECT_TRUE(checks);
    return *std::ranges::find(*checks, "ttft_beyond_server_ms", &LoadCheck::name);
  };
  EXPECT_NEAR(*apart(31.3).value, 0.9, 1e-9);
  EXPECT_EQ(apart(31.3).failure, "");
  EXPECT_NE(apart(30.7).failure, "");
  EXPECT_NE(apart(37.3).failure, "");  // no server makes a token after it came
  EXPECT_FALSE(apart(31.3, 4).value);  // somebody else asked too
  EXPECT_FALSE(apart(0, 0).value);
  for (LoadRecord& r : result.records) r.sent_ns -= 100 * kMs;
  result.probes[0].sent_ns -= 100 * kMs;
  EXPECT_EQ(apart(318).failure, "");  // a twentieth of 111 ms is allowed
  EXPECT_NE(apart(317).failure, "");
  result.stream = false;
  EXPECT_FALSE(apart(31.3).value);
}

TEST(LoadCheck, CountsOfTheServerAreHeldAgainstThePiecesItSent) {
  LoadResult result = result_of({record(0, std::vector<int64_t>(100, 50))});
  EXPECT_EQ(failure_of(result, "token_counts"), "");
  result.records[0].completion_tokens = 300;  // several tokens a piece are no contradiction
  EXPECT_EQ(failure_of(result, "token_counts"), "");
  result.records[0].completion_tokens = 98;
  EXPECT_NE(failure_of(result, "token_counts"), "");
  result.records[0].usage_given = false;
  EXPECT_EQ(failure_of(result, "token_counts"), "");
}

TEST(LoadCheck, AnswersShorterThanIgnoreEosAskedForCount) {
  LoadResult result = result_of({record(0, std::vector<int64_t>(100, 50))});
  result.records[0].max_tokens = 101;
  EXPECT_EQ(failure_of(result, "output_length", {.ignore_eos = true}), "");
  result.records[0].max_tokens = 110;
  EXPECT_NE(failure_of(result, "output_length", {.ignore_eos = true}), "");
  EXPECT_EQ(failure_of(result, "output_length"), "");
}

TEST(LoadCheck, WithATokenizerTheTextIsCountedAgain) {
  const auto tokenizer = Tokenizer::from_tokenizer_json(
      R"({"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,)"
      R"("decoder":null,"model":{"type":"BPE","dropout":null,"unk_token":"?",)"
      R"("continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,)"
      R"("byte_fallback":false,"vocab":{"a":0,"?":1},"merges":[]}})",
      "test");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  LoadResult result = result_of({record(0, std::vector<int64_t>(50, 50))});
  LoadRecord& r = result.records[0];
  r.text = std::string(50, 'a');
  const LoadCheckOptions options{.tokenizer = &*tokenizer};
  EXPECT_EQ(failure_of(result, "token_counts", options), "");
  r.completion_tokens = 51;
  EXPECT_NE(failure_of(result, "token_counts", options), "");
  r.stopped_itself = true;  // the end token is no text
  EXPECT_EQ(failure_of(result, "token_counts", options), "");
  r.completion_tokens = 49;
  EXPECT_NE(failure_of(result, "token_counts", options), "");
}

TEST(OpenAiRequest, AsksForTheCountsOfAStreamAndSaysNothingThatWasNotAsked) {
  const LoadPrompt prompt{.text = "one \"two\"", .max_tokens = 7};
  EXPECT_EQ(openai_request_body(prompt, {.model = "m"}),
            R"({"model":"m","prompt":"one \"two\"","max_tokens":7,"stream":true,)"
            R"("stream_options":{"include_usage":true}})");
  EXPECT_EQ(
      openai_request_body(
          prompt,
          {.chat = true, .model = "m", .stream = false, .ignore_eos = true, .temperature = 0}),
      R"({"model":"m","messages":[{"role":"user","content":"one \"two\""}],"max_tokens":7,)"
      R"("temperature":0.0,"ignore_eos":true,"stream":false})");
}

}  // namespace
}  // namespace quern
