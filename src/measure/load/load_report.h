#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "measure/load/load_check.h"
#include "measure/load/load_latency.h"
#include "measure/load/load_run.h"

namespace quern {

/// A limit that a request of good service keeps.
struct GoodputLimit {
  std::string metric;  // ttft, tpot or e2el
  double most_ms = 0;
};
/// Reads "ttft:500". kUsage for anything else.
Result<GoodputLimit> parse_goodput_limit(std::string_view text);

struct LoadReportOptions {
  std::vector<double> percentiles = {50, 90, 99};
  std::vector<std::string> metrics = {"ttft", "tpot", "itl", "e2el"};  // shown on the console
  std::vector<GoodputLimit> goodput = {};
  bool has_probes = false;  // asked for, whether or not one went out
};

/// The figures of a run: vLLM's keys, those of probes apart, and `window`, `validity`,
/// `definitions`, `intervals`.
Json load_report(const LoadResult& result, const std::vector<LoadCheck>& checks,
                 const LoadReportOptions& options);

/// What vLLM's `--save-detailed` adds, one entry a request: lengths, times in seconds, texts.
Json load_details(const LoadResult& result);

/// vLLM's console block of a report, then what stands against its figures, and what they mean.
std::string load_report_text(const Json& report, const LoadReportOptions& options);

/// What is wrong with a run, in one sentence; empty where it is valid.
std::string failed_checks(const std::vector<LoadCheck>& checks);

}  // namespace quern
