#include "measure/load/server_ttft.h"

#include "measure/load/server_call.h"
#include "measure/metrics_text.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = 16 << 20;

}  // namespace

std::optional<ServerTtft> read_server_ttft(const LoadOptions& load) {
  if (!load.url.is_loopback()) return std::nullopt;
  const Result<std::string> page = call_server(load, "GET", "/metrics", kMostBytes);
  if (!page) return std::nullopt;
  const MetricsText metrics(*page);
  const auto count = metrics.value("quern_time_to_first_token_seconds_count");
  const auto sum_s = metrics.value("quern_time_to_first_token_seconds_sum");
  if (!count || !sum_s) return std::nullopt;
  return ServerTtft{.count = *count, .sum_ms = *sum_s * 1e3};
}

}  // namespace quern
