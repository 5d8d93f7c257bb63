#include "measure/load/load_latency.h"

#include <algorithm>
#include <utility>

namespace quern {

namespace {

double ms(int64_t from_ns, int64_t to_ns) { return static_cast<double>(to_ns - from_ns) * 1e-6; }

}  // namespace

std::optional<double> ttft_ms(const LoadRecord& record) {
  if (record.event_ns.empty()) return std::nullopt;
  return ms(record.intended_ns, record.first_token_ns());
}

std::optional<double> tpot_ms(const LoadRecord& record) {
  if (record.completion_tokens < 2 || record.event_ns.size() < 2) return std::nullopt;
  return ms(record.first_token_ns(), record.last_token_ns()) /
         static_cast<double>(record.completion_tokens - 1);
}

double e2el_ms(const LoadRecord& record) { return ms(record.intended_ns, record.end_ns); }

std::vector<LatencyMetric> latency_metrics(const LoadResult& result) {
  LatencyMetric ttft{.key = "ttft",
                     .title = "Time to First Token",
                     .definition = "first token received - intended send",
                     .values = {}};
  LatencyMetric tpot{.key = "tpot",
                     .title = "Time per Output Token (excl. 1st token)",
                     .definition = "(last token - first token) / (tokens - 1), one value a request",
                     .values = {}};
  LatencyMetric itl{.key = "itl",
                    .title = "Inter-token Latency",
                    .definition = "every gap between received pieces that held tokens, pooled",
                    .is_per_request = false,
                    .values = {}};
  LatencyMetric e2el{.key = "e2el",
                     .title = "End-to-end Latency",
                     .definition = "last byte - intended send",
                     .values = {}};
  LatencyMetric ttft_from_send{.key = "ttft_from_send",
                               .title = "",
                               .definition = "first token received - actual send",
                               .values = {}};
  LatencyMetric e2el_from_send{
      .key = "e2el_from_send", .title = "", .definition = "last byte - actual send", .values = {}};
  LatencyMetric ntpot{.key = "ntpot",
                      .title = "",
                      .definition = "(last byte - intended send) / tokens",
                      .values = {}};
  LatencyMetric queue{.key = "client_queue_time",
                      .title = "",
                      .definition = "wait for the bound on requests at once; part of ttft and e2el",
                      .values = {}};
  for (const LoadRecord& r : result.records) {
    if (!r.completed()) continue;
    e2el.values.push_back(e2el_ms(r));
    e2el_from_send.values.push_back(ms(r.sent_ns, r.end_ns));
    queue.values.push_back(ms(r.intended_ns, r.released_ns));
    if (r.completion_tokens > 0) {
      ntpot.values.push_back(e2el_ms(r) / static_cast<double>(r.completion_tokens));
    }
    if (!result.stream || r.event_ns.empty()) continue;
    ttft.values.push_back(*ttft_ms(r));
    ttft_from_send.values.push_back(ms(r.sent_ns, r.first_token_ns()));
    if (const auto value = tpot_ms(r)) tpot.values.push_back(*value);
    for (size_t i = 1; i < r.event_ns.size(); ++i) {
      itl.values.push_back(ms(r.event_ns[i - 1], r.event_ns[i]));
    }
  }
  return {ttft, tpot, itl, e2el, ttft_from_send, e2el_from_send, ntpot, queue};
}

std::vector<double> send_lags_ms(const LoadResult& result) {
  int64_t fastest_ns = INT64_MAX;
  for (const LoadRecord& r : result.records) {
    if (r.connected_ns >= 0) fastest_ns = std::min(fastest_ns, r.connected_ns - r.released_ns);
  }
  std::vector<double> lags;
  for (const LoadRecord& r : result.records) {
    if (r.sent_ns < 0) continue;
    lags.push_back(ms(r.released_ns, r.sent_ns - (r.connected_ns >= 0 ? fastest_ns : 0)));
  }
  return lags;
}

LoadWindow load_window(const LoadResult& result) {
  int64_t last_ns = result.started_ns;
  for (const LoadRecord& r : result.records) last_ns = std::max(last_ns, r.intended_ns);
  const bool is_whole_run = last_ns == result.started_ns;
  return {.begin_ns = result.started_ns,
          .end_ns = is_whole_run ? result.ended_ns : last_ns,
          .is_whole_run = is_whole_run};
}

TokenSeries token_series(const LoadResult& result, const LoadWindow& window) {
  TokenSeries series;
  for (const LoadRecord& r : result.records) {
    if (!r.completed() || r.completion_tokens == 0) continue;
    // Tokens without any text come when the answer ends.
    const std::vector<int64_t> at_end = {r.end_ns};
    const std::vector<int64_t>& times = r.event_ns.empty() ? at_end : r.event_ns;
    const double each =
        static_cast<double>(r.completion_tokens) / static_cast<double>(times.size());
    for (const int64_t at : times) {
      const auto second =
          static_cast<size_t>(std::max<int64_t>(0, at - result.started_ns) / 1'000'000'000);
      if (second >= series.by_second.size()) series.by_second.resize(second + 1, 0.0);
      series.by_second[second] += each;
      (window.holds(at) ? series.in_window : series.after_window) += each;
    }
  }
  return series;
}

int64_t most_at_once(const LoadResult& result) {
  std::vector<std::pair<int64_t, int>> changes;
  for (const LoadRecord& r : result.records) {
    if (r.sent_ns < 0) continue;
    changes.emplace_back(r.sent_ns, 1);
    changes.emplace_back(r.end_ns, -1);
  }
  std::ranges::sort(changes);
  int64_t now = 0, most = 0;
  for (const auto& [at, change] : changes) most = std::max(most, now += change);
  return most;
}

}  // namespace quern
