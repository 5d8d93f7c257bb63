#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "measure/load/load_run.h"

namespace quern {

/// A latency that is reported, in milliseconds.
struct LatencyMetric {
  std::string_view key;    // ttft, tpot, itl, e2el and what only the JSON has
  std::string_view title;  // as vLLM's console block has it; empty: not there
  std::string_view definition;
  bool is_per_request = true;  // one value a request, else a request has many
  std::vector<double> values;  // of completed requests
};

/// All of them. What cannot be known of an answer that is no stream (ttft, tpot, itl) has no
/// values.
std::vector<LatencyMetric> latency_metrics(const LoadResult& result);

/// Time to the first token from the intended send; nothing where no token came.
std::optional<double> ttft_ms(const LoadRecord& record);
std::optional<double> tpot_ms(const LoadRecord& record);
double e2el_ms(const LoadRecord& record);

/// How late requests went out through the client's own fault, in milliseconds: sent - intended,
/// without the wait that a bound on requests at once is there for, and for a new connection without
/// what the fastest one of the run took, which is the network's.
std::vector<double> send_lags_ms(const LoadResult& result);

/// What rates are taken over: from the start to the last intended send, where the load is what it
/// was meant to be; the tail after it is shown and not averaged in. A load that is sent all at once
/// has no such time, and its window is the whole run.
struct LoadWindow {
  int64_t begin_ns = 0, end_ns = 0;
  bool is_whole_run = false;

  double seconds() const { return static_cast<double>(end_ns - begin_ns) * 1e-9; }
  bool holds(int64_t at_ns) const { return at_ns >= begin_ns && at_ns <= end_ns; }
};
LoadWindow load_window(const LoadResult& result);

/// Output tokens of completed requests by when they came: of a piece that held several its share.
struct TokenSeries {
  std::vector<double> by_second;  // from the start
  double in_window = 0, after_window = 0;
};
TokenSeries token_series(const LoadResult& result, const LoadWindow& window);

/// The most requests that were under way at once.
int64_t most_at_once(const LoadResult& result);

}  // namespace quern
