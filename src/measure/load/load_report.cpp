#include "measure/load/load_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/cat.h"
#include "base/numbers.h"
#include "measure/statistics.h"

namespace quern {

namespace {

constexpr std::string_view kGoodputMetrics[] = {"ttft", "tpot", "e2el"};

double seconds(int64_t from_ns, int64_t to_ns) {
  return static_cast<double>(to_ns - from_ns) * 1e-9;
}

double highest(const std::vector<double>& values) {
  return values.empty() ? 0.0 : *std::ranges::max_element(values);
}

/// "p99", "p99.9"
std::string percentile_name(double p) {
  return p == std::floor(p) ? cat("p", static_cast<int64_t>(p)) : cat("p", p);
}

/// Whether so few values can tell that percentile: three at least have to lie above it.
bool tells(size_t count, double p) { return static_cast<double>(count) * (1 - p / 100) >= 3; }

bool keeps(const LoadRecord& r, const GoodputLimit& limit) {
  if (limit.metric == "ttft") return ttft_ms(r).value_or(INFINITY) <= limit.most_ms;
  // An answer of one token has no time between tokens.
  if (limit.metric == "tpot") return tpot_ms(r).value_or(0) <= limit.most_ms;
  return e2el_ms(r) <= limit.most_ms;
}

/// What the requests of a run came to.
struct LoadCounts {
  int64_t completed = 0, failed = 0, refused = 0, cancelled = 0;
  int64_t input = 0, output = 0, cached = 0;  // tokens of what was completed
  int64_t pieces = 0;
  int64_t in_window = 0, good_in_window = 0, good = 0;  // completed requests
  int64_t input_in_window = 0;
  double busy_s = 0;
  std::map<std::string, int64_t> errors;
};

LoadCounts count_load(const LoadResult& result, const LoadWindow& window,
                      const std::vector<GoodputLimit>& goodput) {
  LoadCounts counts;
  for (const LoadRecord& r : result.records) {
    if (!r.error.empty()) ++counts.errors[r.error];
    switch (r.outcome) {
      case LoadRecord::Outcome::kFailed:
        ++counts.failed;
        continue;
      case LoadRecord::Outcome::kRefused:
        ++counts.refused;
        continue;
      case LoadRecord::Outcome::kCancelled:
        ++counts.cancelled;
        continue;
      case LoadRecord::Outcome::kCompleted:
        break;
    }
    ++counts.completed;
    counts.input += r.prompt_tokens;
    counts.output += r.completion_tokens;
    counts.cached += r.cached_tokens;
    counts.pieces += static_cast<int64_t>(r.event_ns.size());
    counts.busy_s += seconds(r.sent_ns, r.end_ns);
    const bool good =
        std::ranges::all_of(goodput, [&](const GoodputLimit& limit) { return keeps(r, limit); });
    counts.good += good;
    if (window.holds(r.end_ns)) {
      ++counts.in_window;
      counts.good_in_window += good;
    }
    const int64_t prefilled_ns = r.event_ns.empty() ? r.end_ns : r.first_token_ns();
    if (window.holds(prefilled_ns)) counts.input_in_window += r.prompt_tokens;
  }
  return counts;
}

Json validity_json(const std::vector<LoadCheck>& checks) {
  Json reasons = Json::array(), list = Json::object();
  for (const LoadCheck& check : checks) {
    list[std::string(check.name)] = {{"value", check.value ? Json(*check.value) : Json()},
                                     {"bound", check.bound}};
    if (!check.definition.empty()) list[std::string(check.name)]["definition"] = check.definition;
    if (!check.failure.empty()) reasons.push_back(check.failure);
  }
  return {{"valid", reasons.empty()}, {"reasons", std::move(reasons)}, {"checks", std::move(list)}};
}

void add_latency(Json& report, const LatencyMetric& metric,
                 const std::vector<double>& percentiles) {
  const std::string ending = cat("_", metric.key, "_ms");
  // Nothing was measured where there are no values.
  const auto add = [&](const std::string& stat, double value) {
    report[stat + ending] = metric.values.empty() ? Json() : Json(value);
  };
  add("mean", mean(metric.values));
  add("median", median(metric.values));
  add("std", standard_deviation(metric.values));
  for (const double p : percentiles) add(percentile_name(p), percentile(metric.values, p / 100));
  add("max", highest(metric.values));
  report["n" + ending] = metric.values.size();
}

/// What probes felt, by vLLM's keys and for the first token too.
void add_probes(Json& report, const LoadResult& result) {
  const LoadResult probes{.records = result.probes, .stream = result.stream};
  const int64_t completed = std::ranges::count_if(probes.records, &LoadRecord::completed);
  report["probe_completed"] = completed;
  report["probe_failed"] = static_cast<int64_t>(probes.records.size()) - completed;
  for (const LatencyMetric& metric : latency_metrics(probes)) {
    if (metric.key != "ttft" && metric.key != "e2el") continue;
    const auto add = [&](const char* stat, double value) {
      report[cat("probe_", stat, "_", metric.key, "_ms")] =
          metric.values.empty() ? Json() : Json(value);
    };
    add("median", median(metric.values));
    add("p99", percentile(metric.values, 0.99));
    add("max", highest(metric.values));
    report["definitions"][cat("probe_", metric.key)] =
        cat(metric.definition, ", of small requests beside the load");
  }
}

}  // namespace

Result<GoodputLimit> parse_goodput_limit(std::string_view text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view metric = text.substr(0, colon);
  const std::optional<double> most =
      colon < text.size() ? parse_number(text.substr(colon + 1)) : std::nullopt;
  if (std::ranges::find(kGoodputMetrics, metric) == std::end(kGoodputMetrics) || !most ||
      *most <= 0) {
    return Error{.code = ErrorCode::kUsage,
                 .message = cat("--goodput: found \"", text,
                                "\", wanted ttft:MS, tpot:MS or e2el:MS above 0"),
                 .what = "--goodput",
                 .found = std::string(text),
                 .wanted = "ttft:MS, tpot:MS or e2el:MS"};
  }
  return GoodputLimit{.metric = std::string(metric), .most_ms = *most};
}

Json load_report(const LoadResult& result, const std::vector<LoadCheck>& checks,
                 const LoadReportOptions& options) {
  const double duration = seconds(result.started_ns, result.ended_ns);
  const LoadWindow window = load_window(result);
  const LoadCounts counts = count_load(result, window, options.goodput);
  const TokenSeries series = token_series(result, window);
  const auto rate = [](double count, double over_s) { return over_s > 0 ? count / over_s : 0.0; };
  const auto in_window = [&](double count) { return rate(count, window.seconds()); };
  const auto n = [](int64_t count) { return static_cast<double>(count); };
  const bool has_limits = !options.goodput.empty();
  const int64_t asked = counts.completed + counts.failed + counts.refused;

  Json report = {
      {"duration", duration},
      {"completed", counts.completed},
      {"failed", counts.failed},
      {"refused", counts.refused},
      {"cancelled", counts.cancelled},
      {"not_sent", result.num_not_sent},
      {"total_input_tokens", counts.input},
      {"total_output_tokens", counts.output},
      {"total_cached_tokens", counts.cached},
      {"request_throughput", in_window(n(counts.in_window))},
      {"request_goodput", has_limits ? Json(in_window(n(counts.good_in_window))) : Json()},
      {"goodput_share", has_limits ? Json(rate(n(counts.good), n(asked))) : Json()},
      {"output_throughput", in_window(series.in_window)},
      {"total_token_throughput", in_window(series.in_window + n(counts.input_in_window))},
      {"max_output_tokens_per_s", highest(series.by_second)},
      {"max_concurrent_requests", most_at_once(result)},
      {"concurrency", rate(counts.busy_s, duration)},
      {"tokens_per_event", counts.pieces > 0 ? Json(n(counts.output) / n(counts.pieces)) : Json()},
      {"prefix_cache_hit_rate", rate(n(counts.cached), n(counts.input))},
  };
  report["window"] = {
      {"rule", window.is_whole_run ? "the whole run: all requests were sent at once"
                                   : "from the start to the last intended send"},
      {"seconds", window.seconds()},
      {"completed", counts.in_window},
      {"output_tokens", series.in_window},
      {"tail_seconds", duration - window.seconds()},
      {"tail_output_tokens", series.after_window},
  };
  report["whole_run"] = {
      {"request_throughput", rate(n(counts.completed), duration)},
      {"output_throughput", rate(n(counts.output), duration)},
      {"total_token_throughput", rate(n(counts.input + counts.output), duration)},
  };
  report["output_tokens_by_second"] = series.by_second;

  Json definitions = Json::object(), intervals = Json::object(), too_few = Json::object();
  for (const LatencyMetric& metric : latency_metrics(result)) {
    add_latency(report, metric, options.percentiles);
    definitions[std::string(metric.key)] = metric.definition;
    if (!metric.is_per_request || metric.values.empty()) continue;
    Json few = Json::array();
    for (const double p : options.percentiles) {
      const auto [low, high] = percentile_interval(metric.values, p / 100);
      if (tells(metric.values.size(), p)) {
        intervals[cat(percentile_name(p), "_", metric.key, "_ms")] = {low, high};
      } else {
        few.push_back(percentile_name(p));
      }
    }
    if (!few.empty()) too_few[std::string(metric.key)] = std::move(few);
  }
  definitions["request_throughput"] = "completed requests that ended in the window / window";
  definitions["output_throughput"] = "output tokens that came in the window / window";
  definitions["total_token_throughput"] =
      "output tokens, and prompts whose first token came, in the window / window";
  definitions["request_goodput"] =
      "completed requests within all limits that ended in the window / window; failures are misses";
  definitions["intervals"] = "95 % confidence, by order statistics";
  const std::vector<double> lags = send_lags_ms(result);
  report["send_lag_ms"] = {
      {"median", median(lags)}, {"p99", percentile(lags, 0.99)}, {"max", percentile(lags, 1)}};
  report["client_cpu_s"] = {{"sender", result.sender_cpu_s}, {"reader", result.reader_cpu_s}};
  report["error_counts"] = Json::object();
  for (const auto& [message, count] : counts.errors) report["error_counts"][message] = count;
  report["intervals"] = std::move(intervals);
  report["n_too_small_for"] = std::move(too_few);
  report["definitions"] = std::move(definitions);
  report["validity"] = validity_json(checks);
  if (options.has_probes) add_probes(report, result);
  return report;
}

Json load_details(const LoadResult& result) {
  Json details = Json::object();
  for (const char* key : {"input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times",
                          "queue_times", "outcomes", "generated_texts", "errors"}) {
    details[key] = Json::array();
  }
  constexpr std::string_view kOutcomes[] = {"completed", "failed", "refused", "cancelled"};
  for (const LoadRecord& r : result.records) {
    Json gaps = Json::array();
    for (size_t i = 1; i < r.event_ns.size(); ++i) {
      gaps.push_back(seconds(r.event_ns[i - 1], r.event_ns[i]));
    }
    const auto ttft = ttft_ms(r);
    details["input_lens"].push_back(r.prompt_tokens);
    details["output_lens"].push_back(r.completion_tokens);
    details["ttfts"].push_back(ttft && result.stream ? *ttft * 1e-3 : 0.0);
    details["itls"].push_back(std::move(gaps));
    details["latencies"].push_back(e2el_ms(r) * 1e-3);
    details["start_times"].push_back(seconds(result.started_ns, r.intended_ns));
    details["queue_times"].push_back(seconds(r.intended_ns, r.released_ns));
    details["outcomes"].push_back(kOutcomes[static_cast<size_t>(r.outcome)]);
    details["generated_texts"].push_back(r.text);
    details["errors"].push_back(r.error);
  }
  return details;
}

std::string failed_checks(const std::vector<LoadCheck>& checks) {
  std::string reasons;
  for (const LoadCheck& check : checks) {
    if (!check.failure.empty()) reasons += cat(reasons.empty() ? "" : "; ", check.failure);
  }
  return reasons;
}

}  // namespace quern
