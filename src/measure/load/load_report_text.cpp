// The console's form of a load's report: the block that vLLM prints, 50 columns wide, then what
// only this one has.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/cat.h"
#include "measure/load/load_report.h"

namespace quern {

namespace {

constexpr size_t kWidth = 50, kNameWidth = 40;

/// The title in the middle of a line of one character.
std::string rule(std::string_view title, char with) {
  const size_t left = (kWidth - std::min(kWidth, title.size())) / 2;
  std::string line = cat(std::string(left, with), title);
  line.resize(std::max(kWidth, line.size()), with);
  return line + "\n";
}

std::string line(std::string_view name, std::string_view value) {
  std::string text(name);
  text.resize(std::max(kNameWidth, text.size()), ' ');
  return cat(text, " ", value, "\n");
}

std::string two_digits(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

std::string number(const Json& value) {
  if (value.is_number_integer()) return cat(value.get<int64_t>());
  return value.is_number() ? two_digits(value.get<double>()) : std::string("-");
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::string digits(double p) { return p == std::floor(p) ? cat(static_cast<int64_t>(p)) : cat(p); }

struct Count {
  std::string_view name, key;
  bool always = true;  // also where it is 0
};

// Of a load's set-up those that are there, then the results, in vLLM's order.
constexpr Count kCounts[] = {
    {"Successful requests:", "completed"},
    {"Failed requests:", "failed"},
    {"Refused requests:", "refused", false},
    {"Cancelled requests:", "cancelled", false},
    {"Requests not sent:", "not_sent", false},
    {"Maximum request concurrency:", "max_concurrency", false},
    {"Request rate configured (RPS):", "request_rate", false},
    {"Benchmark duration (s):", "duration"},
    {"Total input tokens:", "total_input_tokens"},
    {"Total generated tokens:", "total_output_tokens"},
    {"Request throughput (req/s):", "request_throughput"},
    {"Request goodput (req/s):", "request_goodput", false},
    {"Output token throughput (tok/s):", "output_throughput"},
    {"Peak output token throughput (tok/s):", "max_output_tokens_per_s"},
    {"Peak concurrent requests:", "max_concurrent_requests"},
    {"Total token throughput (tok/s):", "total_token_throughput"},
};

std::string counts_text(const Json& report) {
  std::string text;
  for (const Count& count : kCounts) {
    const auto found = report.find(count.key);
    if (found == report.end() || !found->is_number()) continue;
    const bool goodput_of_zero = count.key == "request_goodput";
    if (!count.always && !goodput_of_zero && *found == 0) continue;
    text += line(count.name, number(*found));
  }
  return text;
}

std::string probes_text(const Json& report) {
  std::string text = rule("Probes beside the Load", '-');
  text += line("Successful probes:", number(report["probe_completed"]));
  text += line("Failed probes:", number(report["probe_failed"]));
  for (const char* metric : {"ttft", "e2el"}) {
    for (const auto& [name, stat] :
         {std::pair{"Median", "median"}, {"P99", "p99"}, {"Max", "max"}}) {
      const Json& value = report[cat("probe_", stat, "_", metric, "_ms")];
      if (value.is_null()) continue;
      text += line(cat(name, " ", upper(metric), " (ms):"), number(value));
    }
  }
  return text;
}

/// One sentence for each percentile that so few requests cannot tell.
std::string too_few_text(const Json& report, const LoadReportOptions& options) {
  std::string text;
  for (const auto& [key, percentiles] : report["n_too_small_for"].items()) {
    if (std::ranges::find(options.metrics, key) == options.metrics.end()) continue;
    std::string names;
    for (const Json& name : percentiles) {
      names += cat(names.empty() ? "" : ", ", upper(name.get<std::string>()));
    }
    text +=
        cat(upper(key), " ", names, ": n too small (", report[cat("n_", key, "_ms")].get<int64_t>(),
            "); the maximum is ", number(report[cat("max_", key, "_ms")]), " ms\n");
  }
  return text;
}

}  // namespace

std::string load_report_text(const Json& report, const LoadReportOptions& options) {
  std::string text = rule(" Serving Benchmark Result ", '=') + counts_text(report);
  for (const LatencyMetric& metric : latency_metrics({})) {
    const bool is_shown = !metric.title.empty() &&
                          std::ranges::find(options.metrics, metric.key) != options.metrics.end();
    if (!is_shown || report[cat("n_", metric.key, "_ms")] == 0) continue;
    text += rule(metric.title, '-');
    const auto add = [&](std::string_view name, const std::string& stat) {
      text += line(cat(name, " ", upper(metric.key), " (ms):"),
                   number(report[cat(stat, "_", metric.key, "_ms")]));
    };
    add("Mean", "mean");
    add("Median", "median");
    for (const double p : options.percentiles) add(cat("P", digits(p)), cat("p", digits(p)));
  }
  if (options.has_probes) text += probes_text(report);
  text += rule("", '=');

  const Json& window = report["window"];
  text += cat("Rates are over ", window["rule"].get<std::string>(), ", ", number(window["seconds"]),
              " s; ", number(window["tail_output_tokens"]), " tokens came in the ",
              number(window["tail_seconds"]), " s after it.\n");
  text += cat("Send lag: median ", number(report["send_lag_ms"]["median"]), " ms, p99 ",
              number(report["send_lag_ms"]["p99"]), " ms.\n");
  for (const auto& [key, definition] : report["definitions"].items()) {
    if (std::ranges::find(options.metrics, key) == options.metrics.end()) continue;
    text += cat(upper(key), ": ", definition.get<std::string>(), ".\n");
  }
  text += too_few_text(report, options);
  for (const auto& [message, count] : report["error_counts"].items()) {
    text += cat(count.get<int64_t>(), " x ", message, "\n");
  }
  for (const Json& reason : report["validity"]["reasons"]) {
    text += cat("INVALID: ", reason.get<std::string>(), "\n");
  }
  return text;
}

}  // namespace quern
