#include <unistd.h>

#include <cstdio>
#include <thread>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "measure/metrics_text.h"
#include "net/http_client.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = 16 << 20;
constexpr int64_t kIntervalMs = 1'000;

Result<MetricsText> read_metrics(const Url& url, const std::optional<std::string>& key) {
  HttpRequest request{.path = "/metrics"};
  if (key) request.headers.emplace_back("authorization", cat("Bearer ", *key));
  ASSIGN_OR_RETURN(const HttpAnswer answer,
                   fetch_http(url, std::move(request), kMostBytes,
                              {.connect_timeout_ms = 2'000, .idle_timeout_ms = 5'000}));
  if (answer.status != 200) {
    return Error{.code = ErrorCode::kSystem,
                 .message = cat(url.text(), "/metrics: status ", answer.status,
                                answer.status == 401 ? "; give its key with --api-key" : ""),
                 .what = url.text(),
                 .found = cat("status ", answer.status),
                 .wanted = "status 200"};
  }
  return MetricsText(answer.body);
}

/// One line of the view.
struct Row {
  const char* key;
  const char* title;
  const char* unit;
  std::optional<double> value;
};

/// What happened between two looks, `seconds` apart.
std::vector<Row> rows(const MetricsText& now, const MetricsText& before, double seconds) {
  const auto rate = [&](std::string_view name) -> std::optional<double> {
    const auto last = now.value(name), first = before.value(name);
    if (!last || !first) return std::nullopt;
    return (*last - *first) / seconds;
  };
  const auto ms = [&](std::string_view name, double q) -> std::optional<double> {
    const auto value = now.quantile(name, q, before);
    return value ? std::optional(*value * 1e3) : std::nullopt;
  };
  const auto scaled = [](std::optional<double> value, double by) {
    return value ? std::optional(*value * by) : std::nullopt;
  };
  const auto hits = rate("quern_prefix_cache_hits_total");
  const auto queries = rate("quern_prefix_cache_queries_total");
  return {
      {"running", "requests running", "", now.value("quern_num_requests_running")},
      {"waiting", "requests waiting", "", now.value("quern_num_requests_waiting")},
      {"batch", "sequences of the last step", "", now.value("quern_batch_sequences")},
      {"kv_percent", "KV cache in use", "%", scaled(now.value("quern_kv_cache_usage_ratio"), 100)},
      {"hit_percent", "prefix cache hits", "%",
       hits && queries && *queries > 0 ? std::optional(100 * *hits / *queries) : std::nullopt},
      {"generated_per_s", "tokens generated", "/s", rate("quern_generation_tokens_total")},
      {"prompt_per_s", "prompt tokens", "/s", rate("quern_prompt_tokens_total")},
      {"ended_per_s", "requests ended", "/s", rate("quern_request_success_total")},
      {"ttft_p50_ms", "time to first token, p50", "ms",
       ms("quern_time_to_first_token_seconds", 0.5)},
      {"ttft_p99_ms", "time to first token, p99", "ms",
       ms("quern_time_to_first_token_seconds", 0.99)},
      {"itl_p50_ms", "between tokens, p50", "ms", ms("quern_inter_token_latency_seconds", 0.5)},
      {"itl_p99_ms", "between tokens, p99", "ms", ms("quern_inter_token_latency_seconds", 0.99)},
      {"busy_percent", "engine computing", "%",
       scaled(rate("quern_step_forward_seconds_total"), 100)},
      {"preemptions", "preemptions so far", "", now.value("quern_preemptions_total")},
      {"connections", "open connections", "", now.value("quern_http_connections")},
      {"resident_mib", "resident memory", "MiB",
       scaled(now.value("process_resident_memory_bytes"), 1.0 / (1 << 20))},
  };
}

void draw(const Url& url, const std::vector<Row>& all, bool clear) {
  if (clear) std::fputs("\033[H\033[J", stdout);
  std::printf("%s\n\n", url.text().c_str());
  for (const Row& row : all) {
    if (row.value) {
      std::printf("  %-28s %10.1f %s\n", row.title, *row.value, row.unit);
    } else {
      std::printf("  %-28s %10s\n", row.title, "-");
    }
  }
  std::fflush(stdout);
}

Result<int> run_top(const Arguments& arguments) {
  const std::string text =
      arguments.positional().empty() ? "http://127.0.0.1:8000" : arguments.positional().front();
  ASSIGN_OR_RETURN(const Url url, parse_url(text));
  const std::optional<std::string> key = arguments.text("--api-key");
  const bool watches = ::isatty(STDOUT_FILENO) != 0 && !arguments.on("--json");

  ASSIGN_OR_RETURN(MetricsText before, read_metrics(url, key));
  int64_t before_ns = steady_clock().now_ns();
  const InterruptsNoted noted;
  while (true) {
    for (int64_t waited = 0; waited < kIntervalMs && !interrupted(); waited += 50) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (interrupted()) break;
    ASSIGN_OR_RETURN(MetricsText now, read_metrics(url, key));
    const int64_t now_ns = steady_clock().now_ns();
    const std::vector<Row> all = rows(now, before, static_cast<double>(now_ns - before_ns) * 1e-9);
    if (arguments.on("--json")) {
      Json object = {{"url", url.text()}};
      for (const Row& row : all) object[row.key] = row.value ? Json(*row.value) : Json();
      print_json(std::move(object));
      return 0;
    }
    draw(url, all, watches);
    if (!watches) return 0;
    before = std::move(now);
    before_ns = now_ns;
  }
  forget_interrupt();
  return 0;
}

constexpr std::string_view kFlags[] = {"--api-key"};

}  // namespace

const Command kTopCommand = {
    {.name = "top",
     .arguments = "[URL]",
     .summary = "what a server is doing, second by second; once where stdout is no terminal",
     .min_positional = 0,
     .max_positional = 1,
     .load_flags = false,
     .request_flags = false,
     .flags = kFlags},
    run_top};

}  // namespace quern
