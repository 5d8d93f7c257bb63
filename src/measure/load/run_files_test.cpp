#include "measure/load/run_files.h"

#include <gtest/gtest.h>

#include "base/cat.h"

namespace quern {
namespace {

constexpr int64_t kMs = 1'000'000;

/// Meant to go out at 10 ms, let go at 12, sent at 15; its tokens come at 30, 40 and 60 ms.
LoadRecord record() {
  LoadRecord r;
  r.outcome = LoadRecord::Outcome::kCompleted;
  r.status = 200;
  r.intended_ns = 10 * kMs;
  r.released_ns = 12 * kMs;
  r.sent_ns = 15 * kMs;
  r.first_byte_ns = 20 * kMs;
  r.event_ns = {30 * kMs, 40 * kMs, 60 * kMs};
  r.end_ns = 61 * kMs;
  r.prompt_tokens = 7;
  r.completion_tokens = 3;
  return r;
}

std::vector<Json> lines_of(const LoadResult& result) {
  const std::string text = request_lines(result);
  std::vector<Json> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const auto line = parse_json(text.substr(begin, end - begin), "line");
    EXPECT_TRUE(line) << text;
    if (line) lines.push_back(*line);
    begin = end + 1;
  }
  return lines;
}

TEST(RunFiles, ALineOfARequestHasTimesOfDayAndLatenciesFromItsSend) {
  const std::vector<Json> lines =
      lines_of({.records = {record()}, .unix_offset_ns = 1'700'000'000'000'000'000});
  ASSERT_EQ(lines.size(), 1u);
  const Json& metadata = lines[0]["metadata"];
  EXPECT_EQ(metadata["credit_issued_ns"], 1'700'000'000'010'000'000);
  EXPECT_EQ(metadata["request_start_ns"], 1'700'000'000'015'000'000);
  EXPECT_EQ(metadata["request_ack_ns"], 1'700'000'000'020'000'000);
  EXPECT_EQ(metadata["request_end_ns"], 1'700'000'000'061'000'000);
  EXPECT_EQ(metadata["was_cancelled"], false);
  EXPECT_EQ(metadata["benchmark_phase"], "profiling");
  EXPECT_TRUE(lines[0]["error"].is_null());
  const Json& metrics = lines[0]["metrics"];
  EXPECT_EQ(metrics["time_to_first_token"], Json({{"value", 15.0}, {"unit", "ms"}}));
  EXPECT_EQ(metrics["request_latency"]["value"], 46.0);
  EXPECT_EQ(metrics["inter_token_latency"]["value"], 15.0);
  EXPECT_EQ(metrics["inter_chunk_latency"]["value"], Json({10.0, 20.0}));
  EXPECT_EQ(metrics["client_queue_time"]["value"], 2.0);
  EXPECT_EQ(metrics["output_sequence_length"], Json({{"value", 3}, {"unit", "tokens"}}));
}

TEST(RunFiles, WhatFailedLeftOrProbedSaysSo) {
  LoadRecord failed{.error = "cannot connect", .intended_ns = 1, .released_ns = 2, .end_ns = 3};
  LoadRecord refused = record();
  refused.outcome = LoadRecord::Outcome::kRefused;
  refused.status = 503;
  refused.error = "full";
  LoadRecord left = record();
  left.outcome = LoadRecord::Outcome::kCancelled;
  LoadRecord probe = record();
  probe.is_probe = true;
  const std::vector<Json> lines = lines_of({.records = {failed, refused, left}, .probes = {probe}});
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["error"],
            Json({{"code", nullptr}, {"type", "failed"}, {"message", "cannot connect"}}));
  EXPECT_TRUE(lines[0]["metadata"]["request_ack_ns"].is_null());
  EXPECT_EQ(lines[0]["metadata"]["request_start_ns"], 2);
  EXPECT_FALSE(lines[0]["metrics"].contains("request_latency"));
  EXPECT_EQ(lines[1]["error"], Json({{"code", 503}, {"type", "refused"}, {"message", "full"}}));
  EXPECT_EQ(lines[2]["metadata"]["was_cancelled"], true);
  EXPECT_EQ(lines[3]["metadata"]["benchmark_phase"], "probe");
}

TEST(RunFiles, AWholeAnswerHasNoTimesOfTokens) {
  const std::vector<Json> lines = lines_of({.records = {record()}, .stream = false});
  EXPECT_FALSE(lines[0]["metrics"].contains("time_to_first_token"));
  EXPECT_EQ(lines[0]["metrics"]["request_latency"]["value"], 46.0);
}

std::vector<std::string> fields_of(std::string line) {
  EXPECT_TRUE(line.ends_with('\n'));
  line.back() = ',';
  std::vector<std::string> fields;
  for (size_t begin = 0; begin < line.size();) {
    const size_t end = line.find(',', begin);
    fields.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return fields;
}

TEST(RunFiles, TheTablesColumnsStayInTheirOrder) {
  const std::string latency = "_ms_mean,_ms_p50,_ms_p90,_ms_p95,_ms_p99,_ms_max,";
  const auto all_of = [&](const std::string& name) {
    std::string text;
    for (const char c : "," + latency.substr(0, latency.size() - 1)) {
      text += c;
      if (c == ',') text += name;
    }
    return text;
  };
  EXPECT_EQ(run_table_head(),
            "timestamp,engine,version,commit,host,cpu,gpu,model,params_b,weight_dtype,kv_dtype,"
            "task,mode,loop,concurrency,request_rate,repeat,seed,prefix_cache,prompt_tokens_mean,"
            "output_tokens_mean,requests_ok,requests_err,duration_s" +
                all_of("total_latency") + all_of("p2ft") + all_of("tpot") + all_of("itl") +
                ",tok_s_per_request,request_throughput,output_token_throughput,"
                "total_token_throughput,goodput,slo,host_mem_peak_mb,gpu_mem_peak_mb,kv_peak_pct,"
                "send_lag_p99_ms,client_cpu_pct,valid,note\n");
}

TEST(RunFiles, ARowHasWhatIsKnownAndNothingElse) {
  const Json report = {
      {"model_id", "m"},
      {"engine", "no column reads this"},
      {"concurrency", 0.5},  // what it came to; the column is what was asked for
      {"completed", 2},
      {"failed", 1},
      {"refused", 3},
      {"total_input_tokens", 14},
      {"load",
       {{"seed", 7}, {"goodput", {{"ttft", 500.0}, {"tpot", 50.0}}}, {"is_loopback", false}}},
      {"env", {{"cpu", "this one"}}},
      {"validity", {{"valid", false}, {"reasons", {"late", "slow"}}}},
  };
  const auto names = fields_of(run_table_head());
  const auto row = fields_of(
      run_table_row({.records = {record()}}, report, {{"engine", "one of ours"}, {"x", "y"}}));
  ASSERT_EQ(row.size(), names.size());
  const std::map<std::string, std::string> expected = {
      {"engine", "one of ours"},
      {"model", "m"},
      {"seed", "7"},
      {"prompt_tokens_mean", "7.0"},
      {"requests_ok", "2"},
      {"requests_err", "4"},
      {"p2ft_ms_p95", "20.0"},
      {"total_latency_ms_max", "51.0"},
      {"itl_ms_mean", "15.0"},
      {"slo", "ttft:500 tpot:50"},
      {"valid", "false"},
      {"note", "late; slow"},
      {"cpu", ""},  // the server's, and it is elsewhere
      {"gpu", ""},
      {"concurrency", ""},
  };
  for (size_t i = 0; i < names.size(); ++i) {
    const auto found = expected.find(names[i]);
    if (found == expected.end()) continue;
    EXPECT_EQ(row[i], found->second) << names[i];
  }
  // What was measured is not to be said otherwise.
  const Json invalid = {{"validity", {{"valid", false}, {"reasons", {"late"}}}}};
  EXPECT_TRUE(
      run_table_row({}, invalid, {{"valid", "true"}, {"note", "fine"}}).ends_with(",false,late\n"));
  EXPECT_NE(run_table_row({}, Json::object(), {{"note", "a \"b\", c"}}).find(R"("a ""b"", c")"),
            std::string::npos);
}

}  // namespace
}  // namespace quern
