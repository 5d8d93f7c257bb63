#include "measure/load/load_check.h"

#include <algorithm>
#include <cmath>

#include "base/cat.h"
#include "measure/load/load_latency.h"
#include "measure/load/prompts.h"
#include "measure/statistics.h"

namespace quern {

namespace {

constexpr double kMostLagMs = 5, kMostLagOfTtft = 0.01;
constexpr double kMostCpu = 0.8;
constexpr double kMostCountDifference = 0.01;
constexpr double kMostSteal = 0.01;
constexpr double kMostTtftApartMs = 1, kMostTtftApart = 0.05;

std::string two_digits(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}
std::string percent(double share) { return cat(two_digits(100 * share), " %"); }

LoadCheck check_completed(const LoadResult& result) {
  int64_t failed = 0;
  const LoadRecord* first = nullptr;
  for (const LoadRecord& r : result.records) {
    if (r.error.empty()) continue;
    if (first == nullptr) first = &r;
    ++failed;
  }
  const bool any = std::ranges::any_of(result.records, &LoadRecord::completed);
  const auto count = static_cast<double>(result.records.size());
  LoadCheck check{.name = "failed_share",
                  .value = count > 0 ? static_cast<double>(failed) / count : 1,
                  .bound = 1};
  if (!any) {
    check.failure = cat("no request was completed",
                        first != nullptr ? cat("; the first error: ", first->error) : "");
  }
  return check;
}

LoadCheck check_lag(const LoadResult& result) {
  const double p99 = percentile(send_lags_ms(result), 0.99);
  // Of an answer that is no stream the first token is the last one too.
  const std::vector<LatencyMetric> metrics = latency_metrics(result);
  const auto values = [&](std::string_view key) {
    return std::ranges::find(metrics, key, &LatencyMetric::key)->values;
  };
  const double ttft = median(result.stream ? values("ttft") : values("e2el"));
  LoadCheck check{.name = "send_lag_p99_ms",
                  .value = p99,
                  .bound = std::max(kMostLagMs, kMostLagOfTtft * ttft)};
  if (p99 > check.bound) {
    std::vector<double> connecting;
    for (const LoadRecord& r : result.records) {
      if (r.connected_ns >= 0) {
        connecting.push_back(static_cast<double>(r.connected_ns - r.released_ns) * 1e-6);
      }
    }
    check.failure = cat("requests went out late: the lag's p99 is ", two_digits(p99),
                        " ms, allowed ", two_digits(check.bound), " ms; connecting took up to ",
                        two_digits(percentile(connecting, 1)), " ms");
  }
  return check;
}

LoadCheck check_cpu(const LoadResult& result) {
  const double seconds = static_cast<double>(result.ended_ns - result.started_ns) * 1e-9;
  const double busier = std::max(result.sender_cpu_s, result.reader_cpu_s);
  LoadCheck check{
      .name = "client_cpu", .value = seconds > 0 ? busier / seconds : 0, .bound = kMostCpu};
  if (*check.value > check.bound) {
    check.failure = cat("the client used ", percent(*check.value), " of its core, allowed ",
                        percent(kMostCpu), ": it may be what was measured");
  }
  return check;
}

/// The server's counts against the client's own: with a tokenizer the text's tokens, where an end
/// token that is no text may be missing of an answer that stopped by itself; without one a token at
/// least for each piece that held text.
Result<LoadCheck> check_counts(const LoadResult& result, const Tokenizer* tokenizer) {
  int64_t server = 0, pieces = 0, own = 0, stopped = 0;
  for (const LoadRecord& r : result.records) {
    if (!r.completed() || !r.usage_given) continue;
    server += r.completion_tokens;
    pieces += static_cast<int64_t>(r.event_ns.size());
    stopped += r.stopped_itself ? 1 : 0;
    if (tokenizer == nullptr) continue;
    ASSIGN_OR_RETURN(const int64_t count, count_tokens(r.text, tokenizer));
    own += count;
  }
  LoadCheck check{.name = "token_counts", .value = std::nullopt, .bound = kMostCountDifference};
  if (server == 0) return check;
  if (tokenizer != nullptr) {
    const int64_t apart = std::max({int64_t{0}, server - own - stopped, own - server});
    check.value = static_cast<double>(apart) / static_cast<double>(server);
    if (*check.value > check.bound) {
      check.failure = cat("the server counts ", server, " output tokens, the tokenizer ", own,
                          ": more than ", percent(kMostCountDifference),
                          " apart; it may not be the model's, or the model writes no natural text");
    }
  } else if (result.stream) {
    check.value =
        static_cast<double>(std::max<int64_t>(0, pieces - server)) / static_cast<double>(server);
    if (*check.value > check.bound) {
      check.failure =
          cat("the server counts ", server, " output tokens but sent ", pieces, " pieces of text");
    }
  }
  return check;
}

LoadCheck check_output_length(const LoadResult& result, bool ignore_eos) {
  LoadCheck check{.name = "output_length", .value = std::nullopt, .bound = kMostCountDifference};
  int64_t asked = 0, got = 0;
  for (const LoadRecord& r : result.records) {
    if (!r.completed() || !r.usage_given) continue;
    asked += r.max_tokens;
    got += r.completion_tokens;
  }
  if (!ignore_eos || asked == 0) return check;
  check.value = static_cast<double>(std::abs(asked - got)) / static_cast<double>(asked);
  if (*check.value > check.bound) {
    check.failure = cat("--ignore-eos asked for ", asked, " output tokens, ", got, " came");
  }
  return check;
}

/// The client's mean time to first token from the actual send against the server's own mean. What
/// lies between is the wire, the server's writing and the client's reading, and where all cores are
/// busy the waits of both for one: what is more than a twentieth of the figure is no detail of it.
LoadCheck check_server_ttft(const LoadResult& result, const std::optional<ServerTtft>& server) {
  LoadCheck check{.name = "ttft_beyond_server_ms",
                  .value = std::nullopt,
                  .bound = kMostTtftApartMs,
                  .definition =
                      "mean of first token received - actual send, less the server's mean "
                      "of first token made - request read; null unless both count as many"};
  if (!server || !result.stream) return check;
  std::vector<double> own;
  for (const auto* records : {&result.records, &result.probes}) {
    for (const LoadRecord& r : *records) {
      if (!r.event_ns.empty()) {
        own.push_back(static_cast<double>(r.first_token_ns() - r.sent_ns) * 1e-6);
      }
    }
  }
  if (own.empty() || server->count != static_cast<double>(own.size())) return check;
  const double ttft = mean(own);
  check.value = ttft - server->sum_ms / server->count;
  check.bound = std::max(kMostTtftApartMs, kMostTtftApart * ttft);
  if (std::abs(*check.value) > check.bound) {
    check.failure =
        cat("first tokens came ", two_digits(*check.value),
            " ms later here than the server made them, allowed ", two_digits(check.bound), " ms");
  }
  return check;
}

LoadCheck check_steal(const LoadResult& result) {
  LoadCheck check{.name = "steal", .value = result.steal_share, .bound = kMostSteal};
  if (result.steal_share > kMostSteal) {
    check.failure = cat("others took ", percent(result.steal_share),
                        " of the machine's time, allowed ", percent(kMostSteal));
  }
  return check;
}

}  // namespace

Result<std::vector<LoadCheck>> check_load(const LoadResult& result,
                                          const LoadCheckOptions& options) {
  std::vector<LoadCheck> checks = {check_completed(result), check_lag(result), check_cpu(result)};
  ASSIGN_OR_RETURN(LoadCheck counts, check_counts(result, options.tokenizer));
  checks.push_back(std::move(counts));
  checks.push_back(check_output_length(result, options.ignore_eos));
  checks.push_back(check_server_ttft(result, options.server_ttft));
  checks.push_back(check_steal(result));
  return checks;
}

}  // namespace quern
