// `quern bench serve` from outside, against a server with an answer made up.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "measure/load/fake_server.h"
#include "process.h"

namespace quern {
namespace {

Json parsed(const std::string& text) {
  const auto value = parse_json(text, "stdout");
  EXPECT_TRUE(value) << text;
  return value ? *value : Json();
}

ProcessResult bench(const std::string& url, std::vector<std::string> words,
                    const std::vector<std::string>& environment = {}) {
  words.insert(words.begin(), {"bench", "serve", "--base-url", url, "--seed", "1"});
  return run_quern(words, {}, environment);
}

/// A run whose figures are there; on a machine that others use they may be invalid, which is said.
Json report_of(const std::string& url, std::vector<std::string> words) {
  words.emplace_back("--json");
  const ProcessResult result = bench(url, words);
  const Json report = parsed(result.out);
  EXPECT_EQ(result.status, report["validity"]["valid"] == true ? 0 : 8) << result.err;
  EXPECT_EQ(report.contains("error"), result.status == 8);
  return report;
}

void expect_usage_error(const std::vector<std::string>& words, const std::string& culprit) {
  const ProcessResult result = bench("http://127.0.0.1:1", words);
  EXPECT_EQ(result.status, 2) << words.front() << ": " << result.err;
  EXPECT_NE(result.last_error_line().find(culprit), std::string::npos) << result.err;
}

TEST(BenchServe, TheReportHasVllmsKeysAndItsOwn) {
  FakeServer server({{"", {.first_token_ms = 5, .gap_ms = 2, .num_tokens = 4}}});
  const Json report = report_of(
      server.url(), {"--num-prompts", "20", "--isl", "8", "--osl", "4", "--max-concurrency", "2",
                     "--goodput", "ttft:5000", "e2el:9000", "--metadata", "note=a test"});
  for (const char* key : {"schema",
                          "date",
                          "backend",
                          "model_id",
                          "tokenizer_id",
                          "num_prompts",
                          "request_rate",
                          "burstiness",
                          "max_concurrency",
                          "duration",
                          "completed",
                          "failed",
                          "total_input_tokens",
                          "total_output_tokens",
                          "request_throughput",
                          "request_goodput",
                          "output_throughput",
                          "total_token_throughput",
                          "max_output_tokens_per_s",
                          "max_concurrent_requests",
                          "mean_ttft_ms",
                          "median_ttft_ms",
                          "std_ttft_ms",
                          "p99_ttft_ms",
                          "mean_tpot_ms",
                          "p90_itl_ms",
                          "median_e2el_ms",
                          "env",
                          "definitions",
                          "load",
                          "validity",
                          "intervals",
                          "window",
                          "send_lag_ms",
                          "note"}) {
    EXPECT_TRUE(report.contains(key)) << key;
  }
  EXPECT_EQ(report["model_id"], "fake-model");
  EXPECT_EQ(report["completed"], 20);
  EXPECT_EQ(report["total_output_tokens"], 80);
  EXPECT_EQ(report["total_input_tokens"], 100);  // as the server counts
  EXPECT_EQ(report["request_rate"], "inf");
  EXPECT_EQ(report["max_concurrency"], 2);
  EXPECT_EQ(report["max_concurrent_requests"], 2);
  EXPECT_EQ(report["load"]["loop"], "closed");
  EXPECT_EQ(report["load"]["goodput"], Json({{"ttft", 5000.0}, {"e2el", 9000.0}}));
  EXPECT_EQ(report["note"], "a test");
  EXPECT_GE(report["median_ttft_ms"].get<double>(), 5);
  EXPECT_EQ(server.requests().size(), 21u);  // one warmed up
}

TEST(BenchServe, AskingIsAsItWasSaid) {
  FakeServer server({{"", {.num_tokens = 2}}});
  const auto last_request = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--num-prompts", "1", "--num-warmups", "0", "--isl", "3", "--osl",
                               "2", "--model", "m"});
    const Json report = report_of(server.url() + "/v1/", words);
    EXPECT_EQ(report["completed"], 1);
    return server.requests().back();
  };
  const Json plain = last_request({});
  EXPECT_EQ(plain["model"], "m");
  EXPECT_EQ(plain["max_tokens"], 2);
  EXPECT_EQ(plain["stream"], true);
  EXPECT_EQ(plain["stream_options"]["include_usage"], true);
  EXPECT_FALSE(plain.contains("temperature"));
  EXPECT_FALSE(plain.contains("ignore_eos"));
  const Json chat = last_request(
      {"--backend", "openai-chat", "--mode", "sync", "--temperature", "0", "--ignore-eos"});
  EXPECT_EQ(chat["messages"][0]["content"], plain["prompt"]);  // the seed is the same
  EXPECT_EQ(chat["stream"], false);
  EXPECT_EQ(chat["temperature"], 0.0);
  EXPECT_EQ(chat["ignore_eos"], true);
}

TEST(BenchServe, AnInvalidRunIsPrintedAndEndsWithTheStatusOfAFailedCheck) {
  FakeServer server({{"", {.num_tokens = 4, .claimed_tokens = 2}}});
  const std::vector<std::string> words = {"--num-prompts", "3", "--num-warmups", "0"};
  const ProcessResult result = bench(server.url(), words);
  EXPECT_EQ(result.status, 8);
  EXPECT_NE(result.out.find("INVALID: the server counts 6 output tokens"), std::string::npos)
      << result.out;
  EXPECT_EQ(result.last_error_line().rfind("error: bench serve: the run is invalid", 0), 0u)
      << result.err;
  const Json report = report_of(server.url(), words);
  EXPECT_EQ(report["error"]["code"], "check_failed");
  EXPECT_EQ(report["validity"]["valid"], false);
}

TEST(BenchServe, ResultsAreSavedWithEveryRequestWhereAsked) {
  FakeServer server({{"", {.num_tokens = 2}}});
  const auto folder =
      std::filesystem::temp_directory_path() / cat("quern_bench_serve_", ::getpid());
  const ProcessResult result =
      bench(server.url(), {"--num-prompts", "2", "--save-result", "--save-detailed", "--result-dir",
                           folder.string(), "--result-filename", "r.json"});
  EXPECT_TRUE(result.status == 0 || result.status == 8) << result.err;
  EXPECT_EQ(result.out.rfind("============ Serving Benchmark Result ============\n", 0), 0u);
  std::ifstream file(folder / "r.json");
  const Json saved = parsed(std::string(std::istreambuf_iterator<char>(file), {}));
  EXPECT_EQ(saved["schema"], 1);
  EXPECT_EQ(saved["generated_texts"], Json({" word0 word1", " word0 word1"}));
  EXPECT_EQ(saved["itls"].size(), 2u);
  EXPECT_EQ(saved["outcomes"][0], "completed");
  // Another run in the same folder: a row more, and lines of its own.
  const ProcessResult second =
      bench(server.url(), {"--num-prompts", "3", "--save-result", "--result-dir", folder.string(),
                           "--result-filename", "s", "--metadata", "engine=fake, made up"});
  EXPECT_TRUE(second.status == 0 || second.status == 8) << second.err;
  const auto lines = [&](const char* name) {
    std::ifstream in(folder / name);
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  };
  EXPECT_EQ(lines("r.requests.jsonl").size(), 2u);
  EXPECT_EQ(lines("s.requests.jsonl").size(), 3u);
  const std::vector<std::string> rows = lines("runs.csv");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].rfind("timestamp,engine,version,", 0), 0u);
  EXPECT_NE(rows[1].find(",fake-model,"), std::string::npos) << rows[1];
  EXPECT_NE(rows[2].find(",\"fake, made up\","), std::string::npos) << rows[2];
  std::filesystem::remove_all(folder);
}

TEST(BenchServe, AProfileIsBegunBeforeTheLoadAndEndedAfterIt) {
  FakeServer server({{"", {.num_tokens = 2}}}, {.stop_profile = R"({"traceEvents":[]})"});
  const auto folder =
      std::filesystem::temp_directory_path() / cat("quern_bench_profile_", ::getpid());
  const Json report =
      report_of(server.url(), {"--num-prompts", "2", "--profile", "--save-result", "--result-dir",
                               folder.string(), "--result-filename", "r.json"});
  EXPECT_EQ(report["load"]["profile"], true);
  EXPECT_EQ(server.paths(),
            (std::vector<std::string>{"/v1/models", "/v1/completions", "/start_profile", "/metrics",
                                      "/v1/completions", "/v1/completions", "/metrics",
                                      "/stop_profile"}));
  std::ifstream trace(folder / "r.trace.json");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(trace), {}), R"({"traceEvents":[]})");
  std::filesystem::remove_all(folder);
}

TEST(BenchServe, AServerWithoutProfilesIsAFailureBeforeTheLoad) {
  FakeServer server({{"", FakeAnswer()}});
  const ProcessResult result = bench(server.url(), {"--num-prompts", "2", "--profile"});
  EXPECT_EQ(result.status, 9);
  EXPECT_NE(result.last_error_line().find("POST /start_profile: status 404"), std::string::npos)
      << result.err;
  EXPECT_NE(result.last_error_line().find(server.url()), std::string::npos) << result.err;
  EXPECT_EQ(server.requests().size(), 1u);  // the one warmed up
}

TEST(BenchServe, AProfileThatDoesNotEndCostsNoFigures) {
  FakeServer server({{"", FakeAnswer()}},
                    {.stop_profile = "disk full", .stop_profile_status = 500});
  const ProcessResult result = bench(server.url(), {"--num-prompts", "2", "--profile", "--json"});
  EXPECT_EQ(parsed(result.out)["completed"], 2);
  EXPECT_NE(result.err.find("status 500: disk full"), std::string::npos) << result.err;
}

TEST(BenchServe, ProbesAreSmallNewAndReportedApart) {
  FakeServer server({{"", {.first_token_ms = 60, .num_tokens = 2}}});
  const Json report =
      report_of(server.url(), {"--num-prompts", "2", "--num-warmups", "0", "--osl", "2",
                               "--max-concurrency", "1", "--probe-request-rate", "25"});
  EXPECT_EQ(report["completed"], 2);
  const int probes = report["probe_completed"].get<int>();
  EXPECT_GE(probes, 2);
  EXPECT_EQ(report["load"]["probe_request_rate"], 25.0);
  EXPECT_GE(report["probe_p99_ttft_ms"].get<double>(), 60);
  std::set<std::string> texts;
  for (const Json& request : server.requests()) {
    if (request["max_tokens"] == 1) texts.insert(request["prompt"].get<std::string>());
  }
  EXPECT_EQ(static_cast<int>(texts.size()), probes);
}

TEST(BenchServe, FirstTokensAreHeldAgainstTheServersOwnFigures) {
  const std::vector<std::string> words = {"--num-prompts", "10", "--max-concurrency", "2"};
  const auto check = [&](const FakeRoutes& routes) {
    FakeServer server({{"", {.first_token_ms = 3, .num_tokens = 2}}}, routes);
    return report_of(server.url(), words)["validity"]["checks"]["ttft_beyond_server_ms"];
  };
  EXPECT_TRUE(check({})["value"].is_null());
  const Json truth = check({.has_metrics = true});
  EXPECT_GE(truth["value"].get<double>(), 0.0);
  EXPECT_NE(truth["definition"].get<std::string>().find("actual send"), std::string::npos);
  FakeServer server({{"", {.first_token_ms = 3, .num_tokens = 2}}},
                    {.has_metrics = true, .ttft_claimed_less_ms = 50});
  const ProcessResult result = bench(server.url(), words);
  EXPECT_EQ(result.status, 8);
  EXPECT_NE(result.out.find("later here than the server made them"), std::string::npos);
}

TEST(BenchServe, TlsCarriesTheLoadAndAnUnknownCertificateIsRefused) {
  const TestCertificate certificate;
  FakeServer server({{"", {.num_tokens = 2}}}, certificate.routes());
  const Json report = report_of(server.url(), {"--num-prompts", "3", "--insecure"});
  EXPECT_EQ(report["completed"], 3);
  EXPECT_EQ(report["load"]["base_url"], server.url());
  const ProcessResult refused =
      bench(server.url(), {"--num-prompts", "3", "--ready-check-timeout-sec", "0"});
  EXPECT_EQ(refused.status, 9);
  EXPECT_NE(refused.last_error_line().find("certificate"), std::string::npos) << refused.err;
}

TEST(BenchServe, ARampHasVllmsKeysAndItsOwnRates) {
  FakeServer server({{"", {.num_tokens = 2}}});
  const Json report =
      report_of(server.url(),
                {"--num-prompts", "4", "--num-warmups", "0", "--ramp-up-strategy", "linear",
                 "--ramp-up-start-rps", "10", "--ramp-up-end-rps", "40", "--arrivals", "constant"});
  EXPECT_TRUE(report["request_rate"].is_null());
  EXPECT_EQ(report["ramp_up_strategy"], "linear");
  EXPECT_EQ(report["ramp_up_start_rps"], 10.0);
  EXPECT_EQ(report["ramp_up_end_rps"], 40.0);
  EXPECT_EQ(report["load"]["loop"], "open");
  // Gaps of 1/10, 1/20, 1/30 and 1/40 of a second.
  EXPECT_NEAR(report["window"]["seconds"].get<double>(), 0.2083, 1e-4);
}

TEST(BenchServe, ARampOfSoLongHasAsManyRequestsAsArrive) {
  FakeServer server({{"", {.num_tokens = 2}}});
  const Json report =
      report_of(server.url(), {"--benchmark-duration", "0.5", "--ramp-up-strategy", "exponential",
                               "--ramp-up-start-rps", "20", "--ramp-up-end-rps", "80"});
  EXPECT_EQ(report["num_prompts"], 19);  // 20 * ln(4) / (1 - 1/4) a second
}

TEST(BenchServe, ClientsThatLeaveAreCountedApart) {
  FakeServer server({{"", {.gap_ms = 1, .num_tokens = 60}}});
  const Json report = report_of(server.url(), {"--num-prompts", "20", "--osl", "30",
                                               "--cancel-rate", "0.5", "--max-concurrency", "5"});
  EXPECT_GT(report["cancelled"].get<int>(), 2);
  EXPECT_EQ(report["cancelled"].get<int>() + report["completed"].get<int>(), 20);
  EXPECT_EQ(report["failed"], 0);
}

TEST(BenchServe, ATraceArrivesAtItsOwnTimes) {
  FakeServer server({{"", FakeAnswer()}});
  const auto path = std::filesystem::temp_directory_path() / cat("quern_trace_", ::getpid());
  std::ofstream(path) << "{\"timestamp\":0,\"input_length\":4,\"output_length\":3}\n"
                         "{\"timestamp\":120,\"input_length\":4,\"output_length\":3}\n";
  const Json report =
      report_of(server.url(), {"--dataset-name", "trace", "--dataset-path", path.string()});
  EXPECT_EQ(report["load"]["arrivals"], "trace");
  EXPECT_EQ(report["load"]["loop"], "open");
  EXPECT_NEAR(report["window"]["seconds"].get<double>(), 0.12, 1e-6);
  std::ofstream(path) << "{\"timestamp\":0,\"input_length\":4,\"output_length\":\"x\"}\n";
  const ProcessResult bad =
      bench(server.url(), {"--dataset-name", "trace", "--dataset-path", path.string()});
  EXPECT_EQ(bad.status, 4);
  EXPECT_NE(bad.last_error_line().find("line 1"), std::string::npos) << bad.err;
  EXPECT_NE(bad.last_error_line().find("output_length"), std::string::npos) << bad.err;
  std::filesystem::remove(path);
}

TEST(BenchServe, AServerThatIsNotThereOrRefusesIsAFailureBeforeTheLoad) {
  std::string url;
  {
    FakeServer server(std::map<std::string, FakeAnswer>{});
    url = server.url();
  }
  const ProcessResult gone = bench(url, {"--ready-check-timeout-sec", "0"});
  EXPECT_EQ(gone.status, 9);
  EXPECT_NE(gone.last_error_line().find("--base-url"), std::string::npos) << gone.err;

  FakeServer server({{"", {.status = 400, .body = R"({"error":{"message":"too long"}})"}}});
  const ProcessResult refused = bench(server.url(), {"--num-prompts", "5"});
  EXPECT_EQ(refused.status, 9);
  EXPECT_NE(refused.last_error_line().find("too long"), std::string::npos) << refused.err;
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(BenchServe, FlagsThatMeanNothingTogetherAreRefused) {
  expect_usage_error({"--burstiness", "2"}, "--request-rate");
  expect_usage_error({"--burstiness", "2", "--request-rate", "inf"}, "--burstiness");
  expect_usage_error({"--arrivals", "poisson"}, "--arrivals");
  expect_usage_error({"--arrivals", "constant", "--request-rate", "1", "--burstiness", "2"},
                     "--burstiness");
  expect_usage_error({"--arrivals", "trace", "--request-rate", "1"}, "--arrivals trace");
  expect_usage_error({"--ramp-up-strategy", "linear"}, "--ramp-up-start-rps");
  expect_usage_error({"--ramp-up-strategy", "linear", "--ramp-up-start-rps", "1"},
                     "--ramp-up-end-rps");
  expect_usage_error({"--ramp-up-end-rps", "1"}, "--ramp-up-strategy");
  const std::vector<std::string> ramp = {"--ramp-up-strategy", "linear", "--ramp-up-start-rps", "1",
                                         "--ramp-up-end-rps",  "2"};
  const auto with_ramp = [&](std::vector<std::string> words) {
    words.insert(words.end(), ramp.begin(), ramp.end());
    return words;
  };
  expect_usage_error(with_ramp({"--request-rate", "1"}), "--request-rate");
  expect_usage_error(with_ramp({"--request-rate", "inf"}), "--request-rate");
  expect_usage_error(
      with_ramp({"--dataset-name", "trace", "--dataset-path", "x", "--arrivals", "trace"}),
      "--ramp-up-strategy");
  expect_usage_error(
      {"--ramp-up-strategy", "linear", "--ramp-up-start-rps", "2", "--ramp-up-end-rps", "1"},
      "--ramp-up-end-rps");
  expect_usage_error(
      {"--ramp-up-strategy", "steep", "--ramp-up-start-rps", "1", "--ramp-up-end-rps", "2"},
      "linear, exponential");
  expect_usage_error({"--dataset-name", "custom"}, "--dataset-path");
  expect_usage_error({"--dataset-name", "random", "--dataset-path", "x"}, "--dataset-path");
  expect_usage_error({"--dataset-path", "x"}, "--dataset-name");
  expect_usage_error({"--dataset-name", "custom", "--dataset-path", "x", "--isl", "3"},
                     "--random-input-len");
  expect_usage_error({"--save-detailed"}, "--save-result");
  expect_usage_error({"--result-dir", "x"}, "--save-result");
  expect_usage_error({"--mode", "sync", "--cancel-rate", "0.1"}, "--cancel-rate");
  expect_usage_error({"--mode", "sync", "--goodput", "ttft:5"}, "ttft");
  expect_usage_error({"--insecure"}, "--insecure");
}

TEST(BenchServe, ValuesThatAreNoneAreRefused) {
  expect_usage_error({"--backend", "vllm"}, "--backend");
  expect_usage_error({"--base-url", "ftp://x"}, "given 2 times");
  expect_usage_error({"--dataset-name", "sonnet"}, "random, custom, sharegpt, trace");
  expect_usage_error({"--request-rate", "0"}, "--request-rate");
  expect_usage_error({"--goodput", "speed:5"}, "speed:5");
  expect_usage_error({"--percentile-metrics", "ttft,speed"}, "speed");
  expect_usage_error({"--metric-percentiles", "50,100"}, "100");
  expect_usage_error({"--metadata", "note"}, "KEY=VALUE");
  expect_usage_error({"--metadata", "completed=all"}, "completed");
  expect_usage_error({"--endpoint", "v1"}, "--endpoint");
  expect_usage_error({"--num-prompts", "0"}, "--num-prompts");
  expect_usage_error({"a", "b"}, "\"b\"");
  expect_usage_error({"--api-key", "two\nlines"}, "--api-key");
}

}  // namespace
}  // namespace quern
