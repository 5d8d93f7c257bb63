#include "measure/load/run_files.h"

#include <algorithm>

#include "base/cat.h"
#include "measure/load/load_latency.h"
#include "measure/statistics.h"

namespace quern {

namespace {

double ms(int64_t from_ns, int64_t to_ns) { return static_cast<double>(to_ns - from_ns) * 1e-6; }

Json with_unit(Json value, const char* unit) {
  return {{"value", std::move(value)}, {"unit", unit}};
}

Json metrics_json(const LoadRecord& r, bool stream) {
  Json metrics = {
      {"input_sequence_length", with_unit(r.prompt_tokens, "tokens")},
      {"output_sequence_length", with_unit(r.completion_tokens, "tokens")},
      {"client_queue_time", with_unit(ms(r.intended_ns, r.released_ns), "ms")},
  };
  if (r.sent_ns < 0) return metrics;
  metrics["request_latency"] = with_unit(ms(r.sent_ns, r.end_ns), "ms");
  if (!stream || r.event_ns.empty()) return metrics;
  metrics["time_to_first_token"] = with_unit(ms(r.sent_ns, r.first_token_ns()), "ms");
  if (const auto tpot = tpot_ms(r)) metrics["inter_token_latency"] = with_unit(*tpot, "ms");
  Json gaps = Json::array();
  for (size_t i = 1; i < r.event_ns.size(); ++i) {
    gaps.push_back(ms(r.event_ns[i - 1], r.event_ns[i]));
  }
  metrics["inter_chunk_latency"] = with_unit(std::move(gaps), "ms");
  return metrics;
}

Json request_json(const LoadRecord& r, const LoadResult& result) {
  const auto unix_ns = [&](int64_t at_ns) {
    return at_ns >= 0 ? Json(at_ns + result.unix_offset_ns) : Json();
  };
  const bool has_failed = !r.error.empty();
  return {
      {"metadata",
       {{"session_num", r.index},
        {"credit_issued_ns", unix_ns(r.intended_ns)},
        {"request_start_ns", unix_ns(r.sent_ns >= 0 ? r.sent_ns : r.released_ns)},
        {"request_ack_ns", unix_ns(r.first_byte_ns)},
        {"request_end_ns", unix_ns(r.end_ns)},
        {"was_cancelled", r.outcome == LoadRecord::Outcome::kCancelled},
        {"benchmark_phase", r.is_probe ? "probe" : "profiling"}}},
      {"metrics", metrics_json(r, result.stream)},
      {"error", has_failed ? Json{{"code", r.status > 0 ? Json(r.status) : Json()},
                                  {"type", r.outcome == LoadRecord::Outcome::kRefused ? "refused"
                                                                                      : "failed"},
                                  {"message", r.error}}
                           : Json()},
  };
}

/// The member that a path of keys leads to; null where there is none.
Json at(const Json& report, std::initializer_list<const char*> keys) {
  const Json* found = &report;
  for (const char* key : keys) {
    if (!found->is_object() || !found->contains(key)) return {};
    found = &(*found)[key];
  }
  return *found;
}

struct Column {
  std::string name;
  Json value;  // null: not known
};

void add_latency(std::vector<Column>& columns, std::string_view name,
                 const std::vector<double>& values) {
  const auto add = [&](const char* stat, double value) {
    columns.push_back({cat(name, "_ms_", stat), values.empty() ? Json() : Json(value)});
  };
  add("mean", mean(values));
  add("p50", percentile(values, 0.5));
  add("p90", percentile(values, 0.9));
  add("p95", percentile(values, 0.95));
  add("p99", percentile(values, 0.99));
  add("max", percentile(values, 1));
}

Json mean_of(const Json& total, const Json& count) {
  return total.is_number() && count.is_number() && count > 0
             ? Json(total.get<double>() / count.get<double>())
             : Json();
}

/// Tokens a second as one user sees them come, the mean over requests.
Json tokens_per_second_of_a_request(const std::vector<double>& tpots_ms) {
  std::vector<double> speeds;
  for (const double tpot : tpots_ms) {
    if (tpot > 0) speeds.push_back(1e3 / tpot);
  }
  return speeds.empty() ? Json() : Json(mean(speeds));
}

std::string limits_text(const Json& goodput) {
  std::string text;
  for (const auto& [metric, most_ms] : goodput.items()) {
    text += cat(text.empty() ? "" : " ", metric, ":", most_ms.get<double>());
  }
  return text;
}

std::string reasons_text(const Json& reasons) {
  std::string text;
  for (const Json& reason : reasons) {
    text += cat(text.empty() ? "" : "; ", reason.get<std::string>());
  }
  return text;
}

/// All of them in their order, which stays. A report without anything gives their names.
std::vector<Column> run_columns(const LoadResult& result, const Json& report) {
  const std::vector<LatencyMetric> metrics = latency_metrics(result);
  const auto values = [&](std::string_view key) -> const std::vector<double>& {
    return std::ranges::find(metrics, key, &LatencyMetric::key)->values;
  };
  const Json completed = at(report, {"completed"}), failed = at(report, {"failed"});
  const Json refused = at(report, {"refused"});
  const Json busy = at(report, {"validity", "checks", "client_cpu", "value"});
  const bool is_here = at(report, {"load", "is_loopback"}) == true;
  std::vector<Column> columns = {
      {"timestamp", at(report, {"date"})},
      {"engine", {}},
      {"version", {}},
      {"commit", {}},
      {"host", {}},
      {"cpu", is_here ? at(report, {"env", "cpu"}) : Json()},
      {"gpu", {}},
      {"model", at(report, {"model_id"})},
      {"params_b", {}},
      {"weight_dtype", {}},
      {"kv_dtype", {}},
      {"task", {}},
      {"mode", at(report, {"load", "mode"})},
      {"loop", at(report, {"load", "loop"})},
      {"concurrency", at(report, {"max_concurrency"})},
      {"request_rate", at(report, {"request_rate"})},
      {"repeat", {}},
      {"seed", at(report, {"load", "seed"})},
      {"prefix_cache", {}},
      {"prompt_tokens_mean", mean_of(at(report, {"total_input_tokens"}), completed)},
      {"output_tokens_mean", mean_of(at(report, {"total_output_tokens"}), completed)},
      {"requests_ok", completed},
      {"requests_err", failed.is_number() && refused.is_number()
                           ? Json(failed.get<int64_t>() + refused.get<int64_t>())
                           : Json()},
      {"duration_s", at(report, {"duration"})},
  };
  add_latency(columns, "total_latency", values("e2el"));
  add_latency(columns, "p2ft", values("ttft"));
  add_latency(columns, "tpot", values("tpot"));
  add_latency(columns, "itl", values("itl"));
  columns.insert(columns.end(),
                 {{"tok_s_per_request", tokens_per_second_of_a_request(values("tpot"))},
                  {"request_throughput", at(report, {"request_throughput"})},
                  {"output_token_throughput", at(report, {"output_throughput"})},
                  {"total_token_throughput", at(report, {"total_token_throughput"})},
                  {"goodput", at(report, {"request_goodput"})},
                  {"slo", limits_text(at(report, {"load", "goodput"}))},
                  {"host_mem_peak_mb", {}},
                  {"gpu_mem_peak_mb", {}},
                  {"kv_peak_pct", {}},
                  {"send_lag_p99_ms", at(report, {"send_lag_ms", "p99"})},
                  {"client_cpu_pct", busy.is_number() ? Json(100 * busy.get<double>()) : Json()},
                  {"valid", at(report, {"validity", "valid"})},
                  {"note", reasons_text(at(report, {"validity", "reasons"}))}});
  return columns;
}

/// A field of a table with commas. Source: RFC 4180.
std::string field(const Json& value) {
  if (value.is_null()) return {};
  if (!value.is_string()) return dump_json(value);
  const auto& text = value.get_ref<const std::string&>();
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

std::string line(const std::vector<std::string>& fields) {
  std::string text = fields.front();
  for (size_t i = 1; i < fields.size(); ++i) text += cat(",", fields[i]);
  return text + '\n';
}

}  // namespace

std::string request_lines(const LoadResult& result) {
  std::string lines;
  for (const auto* records : {&result.records, &result.probes}) {
    for (const LoadRecord& r : *records) lines += dump_json(request_json(r, result)) + '\n';
  }
  return lines;
}

std::string run_table_head() {
  std::vector<std::string> names;
  for (Column& column : run_columns({}, Json::object())) names.push_back(std::move(column.name));
  return line(names);
}

std::string run_table_row(const LoadResult& result, const Json& report,
                          const std::vector<std::pair<std::string, std::string>>& said) {
  std::vector<std::string> fields;
  for (const Column& column : run_columns(result, report)) {
    const auto found =
        std::ranges::find(said, column.name, &std::pair<std::string, std::string>::first);
    const bool is_free = column.value.is_null() || column.value == "";
    fields.push_back(field(found != said.end() && is_free ? Json(found->second) : column.value));
  }
  return line(fields);
}

}  // namespace quern
