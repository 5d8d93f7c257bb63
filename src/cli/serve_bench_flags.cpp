#include "cli/serve_bench_flags.h"

#include <algorithm>
#include <cmath>

#include "base/cat.h"
#include "base/numbers.h"
#include "cli/environment.h"
#include "cli/load_flags.h"

namespace quern {

namespace {

constexpr int64_t kMostPrompts = 10'000'000, kMostTokens = 1 << 22, kMostSeconds = 1'000'000;
constexpr double kLeastRate = 1e-6, kMostRate = 1e6;
constexpr std::string_view kMetrics[] = {"ttft", "tpot", "itl", "e2el"};

Error meaningless(std::string_view flag, std::string_view why) {
  return Error{.code = ErrorCode::kUsage,
               .message = cat("bench serve: ", flag, " means nothing ", why),
               .what = std::string(flag)};
}

std::vector<std::string> comma_separated(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = std::min(text.find(','), text.size());
    parts.emplace_back(text.substr(0, end));
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

/// One of the words that a flag may say.
Result<std::string> word(const Arguments& arguments, std::string_view name,
                         std::initializer_list<std::string_view> words,
                         std::string_view otherwise) {
  const std::string given = arguments.text(name).value_or(std::string(otherwise));
  if (std::ranges::find(words, given) != words.end()) return given;
  std::string wanted;
  for (const std::string_view each : words) wanted += cat(wanted.empty() ? "" : ", ", each);
  return bad_value(name, given, wanted);
}

/// Where requests go: --base-url, --endpoint, --backend, --api-key.
Result<void> read_target(const Arguments& arguments, ServeBench& bench) {
  ASSIGN_OR_RETURN(bench.backend,
                   word(arguments, "--backend", {"openai", "openai-chat"}, "openai"));
  bench.request.chat = bench.backend == "openai-chat";
  ASSIGN_OR_RETURN(bench.load.url,
                   parse_url(arguments.text("--base-url").value_or("http://127.0.0.1:8000")));
  bench.load.path = arguments.text("--endpoint")
                        .value_or(bench.request.chat ? "/v1/chat/completions" : "/v1/completions");
  if (!bench.load.path.starts_with('/')) {
    return bad_value("--endpoint", bench.load.path, "a path that begins with \"/\"");
  }
  // Clients of this API are given the URL with /v1 at its end as often as without.
  if (bench.load.url.path.ends_with("/v1") && bench.load.path.starts_with("/v1/")) {
    bench.load.url.path.resize(bench.load.url.path.size() - 3);
  }
  if (arguments.on("--insecure") && !bench.load.url.tls) {
    return meaningless("--insecure", "without an https URL");
  }
  bench.load.client.verify_certificate = !arguments.on("--insecure");
  bench.load.api_key =
      arguments.text("--api-key").value_or(environment_variable("QUERN_API_KEY").value_or(""));
  const bool is_one_line =
      std::ranges::all_of(bench.load.api_key, [](char c) { return c > ' ' && c <= '~'; });
  if (!is_one_line) return bad_value("--api-key", "(not shown)", "printable characters, no spaces");
  return {};
}

Result<void> read_prompts(const Arguments& arguments, ServeBench& bench) {
  const std::string name = arguments.text("--dataset-name").value_or("random");
  bench.dataset = find_dataset(name);
  if (bench.dataset == nullptr) return bad_value("--dataset-name", name, dataset_names());
  const bool is_random = name == "random";
  if (bench.dataset->needs_file != arguments.has("--dataset-path")) {
    if (is_random) return meaningless("--dataset-path", "with --dataset-name random");
    return meaningless(cat("--dataset-name ", name), "without --dataset-path");
  }
  for (const std::string_view flag :
       {"--random-input-len", "--random-prefix-len", "--random-range-ratio"}) {
    if (!is_random && arguments.has(flag)) {
      return meaningless(flag, cat("with --dataset-name ", name, ", which says its own lengths"));
    }
  }
  PromptOptions& prompts = bench.prompts;
  prompts.path = arguments.text("--dataset-path").value_or("");
  ASSIGN_OR_RETURN(prompts.count, arguments.integer("--num-prompts", 1, kMostPrompts));
  ASSIGN_OR_RETURN(const auto input, arguments.integer("--random-input-len", 1, kMostTokens));
  prompts.input_len = input.value_or(prompts.input_len);
  ASSIGN_OR_RETURN(prompts.output_len, arguments.integer("--random-output-len", 1, kMostTokens));
  ASSIGN_OR_RETURN(const auto prefix, arguments.integer("--random-prefix-len", 0, kMostTokens));
  prompts.prefix_len = prefix.value_or(0);
  ASSIGN_OR_RETURN(const auto ratio, arguments.number("--random-range-ratio", 0, 1));
  prompts.range_ratio = ratio.value_or(0);
  bench.tokenizer_name = arguments.text("--tokenizer").value_or("");
  ASSIGN_OR_RETURN(bench.seed, read_seed(arguments));
  prompts.seed = bench.seed;
  return {};
}

/// The ramp that takes the place of --request-rate.
Result<void> read_ramp(const Arguments& arguments, ServeBench& bench) {
  if (arguments.has("--request-rate")) {
    return meaningless("--request-rate", "with --ramp-up-strategy, which has rates of its own");
  }
  ASSIGN_OR_RETURN(bench.ramp_name,
                   word(arguments, "--ramp-up-strategy", {"linear", "exponential"}, ""));
  bench.arrivals.ramp = bench.ramp_name == "linear" ? Ramp::kLinear : Ramp::kExponential;
  for (const std::string_view flag : {"--ramp-up-start-rps", "--ramp-up-end-rps"}) {
    if (!arguments.has(flag)) return meaningless("--ramp-up-strategy", cat("without ", flag));
  }
  ASSIGN_OR_RETURN(const auto start,
                   arguments.number("--ramp-up-start-rps", kLeastRate, kMostRate));
  ASSIGN_OR_RETURN(const auto end, arguments.number("--ramp-up-end-rps", kLeastRate, kMostRate));
  if (*end < *start) {
    return bad_value("--ramp-up-end-rps", cat(*end), cat("at least the start's ", *start));
  }
  bench.arrivals.rate = *start;
  bench.arrivals.end_rate = *end;
  return {};
}

Result<void> read_rate(const Arguments& arguments, ServeBench& bench) {
  if (arguments.has("--ramp-up-strategy")) return read_ramp(arguments, bench);
  const std::string rate = arguments.text("--request-rate").value_or("inf");
  if (rate == "inf") return {};
  const auto number = parse_number(rate);
  if (!number || *number < kLeastRate || *number > kMostRate) {
    return bad_value("--request-rate", rate, "requests a second from 0.000001 to 1000000, or inf");
  }
  bench.arrivals.rate = *number;
  return {};
}

/// When requests go out.
Result<void> read_arrivals(const Arguments& arguments, ServeBench& bench) {
  RETURN_IF_ERROR(read_rate(arguments, bench));
  ASSIGN_OR_RETURN(const auto burstiness, arguments.number("--burstiness", 1e-3, 1e6));
  bench.arrivals.burstiness = burstiness.value_or(1);
  ASSIGN_OR_RETURN(const auto concurrency, arguments.integer("--max-concurrency", 1, kMostPrompts));
  bench.load.max_concurrency = concurrency.value_or(0);

  const bool is_trace = bench.dataset->name == "trace";
  const std::string_view otherwise = is_trace && bench.arrivals.rate <= 0 ? "trace"
                                     : burstiness                         ? "gamma"
                                                                          : "poisson";
  ASSIGN_OR_RETURN(bench.arrivals_name, word(arguments, "--arrivals",
                                             {"poisson", "gamma", "constant", "trace"}, otherwise));
  if (burstiness && bench.arrivals_name != "gamma") {
    return meaningless("--burstiness", cat("with --arrivals ", bench.arrivals_name));
  }
  if (bench.arrivals_name == "trace") {
    if (!is_trace) return meaningless("--arrivals trace", "without --dataset-name trace");
    if (bench.arrivals.rate > 0) {
      return meaningless(bench.ramp_name.empty() ? "--request-rate" : "--ramp-up-strategy",
                         "with --arrivals trace");
    }
    return {};
  }
  if (bench.arrivals.rate <= 0) {
    for (const std::string_view flag : {"--arrivals", "--burstiness"}) {
      if (arguments.has(flag)) return meaningless(flag, "without a finite --request-rate");
    }
    bench.load.closed_loop = bench.load.max_concurrency > 0;
    bench.arrivals_name = bench.load.closed_loop ? "users" : "all at once";
  }
  bench.arrivals.is_constant = bench.arrivals_name == "constant";
  return {};
}

Result<void> read_report(const Arguments& arguments, ServeBench& bench) {
  if (const auto metrics = arguments.text("--percentile-metrics")) {
    bench.report.metrics = comma_separated(*metrics);
    for (const std::string& metric : bench.report.metrics) {
      if (std::ranges::find(kMetrics, metric) == std::end(kMetrics)) {
        return bad_value("--percentile-metrics", metric, "some of ttft,tpot,itl,e2el");
      }
    }
  }
  if (const auto percentiles = arguments.text("--metric-percentiles")) {
    bench.report.percentiles.clear();
    for (const std::string& each : comma_separated(*percentiles)) {
      const auto number = parse_number(each);
      if (!number || *number <= 0 || *number >= 100) {
        return bad_value("--metric-percentiles", each, "numbers between 0 and 100, with commas");
      }
      bench.report.percentiles.push_back(*number);
    }
  }
  bench.save_result = arguments.on("--save-result");
  bench.save_detailed = arguments.on("--save-detailed");
  bench.result_dir = arguments.text("--result-dir").value_or(".");
  bench.result_filename = arguments.text("--result-filename").value_or("");
  return {};
}

/// The words that stand alone: the model's name, and further values of --goodput and --metadata,
/// which take several in a row elsewhere.
Result<void> read_words(const Arguments& arguments, ServeBench& bench) {
  std::vector<std::string> limits = arguments.texts("--goodput");
  std::vector<std::string> metadata = arguments.texts("--metadata");
  const bool has_limits = !limits.empty(), has_metadata = !metadata.empty();
  for (const std::string& given : arguments.positional()) {
    if (has_limits && parse_goodput_limit(given)) {
      limits.push_back(given);
    } else if (has_metadata && given.find('=') != std::string::npos) {
      metadata.push_back(given);
    } else if (bench.model.empty()) {
      bench.model = given;
    } else {
      return Error{.code = ErrorCode::kUsage,
                   .message = cat("bench serve: unexpected argument \"", given,
                                  "\"; the model is \"", bench.model, "\" already"),
                   .what = given};
    }
  }
  for (const std::string& text : limits) {
    for (const std::string& each : comma_separated(text)) {
      ASSIGN_OR_RETURN(GoodputLimit limit, parse_goodput_limit(each));
      bench.report.goodput.push_back(std::move(limit));
    }
  }
  for (const std::string& text : metadata) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      return bad_value("--metadata", text, "KEY=VALUE");
    bench.metadata.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return {};
}

}  // namespace

Result<ServeBench> read_serve_bench(const Arguments& arguments) {
  ServeBench bench;
  RETURN_IF_ERROR(read_target(arguments, bench));
  RETURN_IF_ERROR(read_prompts(arguments, bench));
  RETURN_IF_ERROR(read_arrivals(arguments, bench));
  RETURN_IF_ERROR(read_report(arguments, bench));
  RETURN_IF_ERROR(read_words(arguments, bench));
  ASSIGN_OR_RETURN(const std::string mode, word(arguments, "--mode", {"stream", "sync"}, "stream"));
  bench.load.stream = bench.request.stream = mode == "stream";
  bench.request.ignore_eos = arguments.on("--ignore-eos");
  ASSIGN_OR_RETURN(bench.request.temperature, arguments.number("--temperature", 0, 100));
  ASSIGN_OR_RETURN(const auto cancel, arguments.number("--cancel-rate", 0, 1));
  bench.cancel_rate = cancel.value_or(0);
  bench.profile = arguments.on("--profile");
  ASSIGN_OR_RETURN(const auto probe_rate,
                   arguments.number("--probe-request-rate", kLeastRate, kMostRate));
  bench.probe_rate = probe_rate.value_or(0);
  bench.report.has_probes = probe_rate.has_value();
  if (!bench.load.stream) {
    if (cancel) return meaningless("--cancel-rate", "with --mode sync");
    for (const GoodputLimit& limit : bench.report.goodput) {
      if (limit.metric != "e2el") {
        return meaningless(cat("--goodput ", limit.metric), "with --mode sync");
      }
    }
  }
  ASSIGN_OR_RETURN(const auto warmups, arguments.integer("--num-warmups", 0, kMostPrompts));
  bench.num_warmups = warmups.value_or(bench.num_warmups);
  ASSIGN_OR_RETURN(const auto timeout,
                   arguments.number("--ready-check-timeout-sec", 0, kMostSeconds));
  if (timeout) bench.ready_timeout_ms = static_cast<int64_t>(*timeout * 1e3);
  ASSIGN_OR_RETURN(const auto duration,
                   arguments.number("--benchmark-duration", 0.001, kMostSeconds));
  if (duration) {
    bench.load.duration_ns = static_cast<int64_t>(*duration * 1e9);
    // As many as may arrive in that time, unless it is said how many there are.
    if (!bench.prompts.count && bench.arrivals.rate > 0) {
      const double expected = std::ceil(mean_rate(bench.arrivals) * *duration);
      bench.prompts.count = static_cast<int64_t>(std::min(expected, double{kMostPrompts}));
    }
  }
  return bench;
}

}  // namespace quern
