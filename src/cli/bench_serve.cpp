#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"
#include "cli/serve_bench_flags.h"
#include "engine/philox.h"
#include "measure/load/random_text.h"
#include "measure/load/ready_check.h"
#include "measure/load/run_files.h"
#include "measure/load/server_call.h"
#include "measure/machine.h"
#include "measure/statistics.h"

namespace quern {

namespace {

/// A load made ready, and what is to be said of it.
struct PreparedLoad {
  std::vector<LoadRequest> requests;
  bool repeat = false;  // the dataset has fewer prompts than the load has requests
  std::string hash;     // of all bodies
};

/// After how many pieces of its answer the client leaves; 0: it stays.
int64_t cancel_after(const ServeBench& bench, uint64_t index, int64_t max_tokens) {
  constexpr uint32_t kWhether = 5, kWhen = 6;
  const auto unit = [&](uint32_t draw) {
    return static_cast<double>(random_bits(bench.seed, index, draw) >> 11) * 0x1p-53;
  };
  if (unit(kWhether) >= bench.cancel_rate) return 0;
  return 1 + static_cast<int64_t>(unit(kWhen) * static_cast<double>(max_tokens));
}

Result<PreparedLoad> prepare_load(const ServeBench& bench) {
  ASSIGN_OR_RETURN(const Prompts prompts, bench.dataset->read(bench.prompts));
  const std::vector<int64_t> times =
      arrival_times(static_cast<int64_t>(prompts.prompts.size()), bench.arrivals, bench.seed);
  PreparedLoad load{.requests = {}, .repeat = prompts.repeat, .hash = {}};
  uint64_t hash = 0;
  for (size_t i = 0; i < prompts.prompts.size(); ++i) {
    const LoadPrompt& prompt = prompts.prompts[i];
    LoadRequest request{.body = openai_request_body(prompt, bench.request),
                        .arrival_ns = bench.arrivals_name == "trace" ? prompt.arrival_ns : times[i],
                        .prompt_tokens = prompt.input_tokens,
                        .max_tokens = prompt.max_tokens,
                        .cancel_after = cancel_after(bench, i, prompt.max_tokens)};
    hash = xxh64(std::as_bytes(std::span(request.body)), hash);
    load.requests.push_back(std::move(request));
  }
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  load.hash = digits;
  return load;
}

/// Requests of other texts before the load: the first one also shows whether the server takes them.
Result<void> warm_up(const ServeBench& bench, const PreparedLoad& load) {
  if (bench.num_warmups == 0) return {};
  constexpr int64_t kMostUsers = 64;
  constexpr uint64_t kOtherTexts = 0x5741524D;
  const LoadRequest& like = load.requests.front();
  PromptOptions options{.count = bench.num_warmups,
                        .input_len = std::max<int64_t>(1, like.prompt_tokens),
                        .output_len = like.max_tokens,
                        .seed = bench.seed ^ kOtherTexts,
                        .tokenizer = bench.prompts.tokenizer};
  ASSIGN_OR_RETURN(const Prompts prompts, find_dataset("random")->read(options));
  std::vector<LoadRequest> requests;
  for (const LoadPrompt& prompt : prompts.prompts) {
    requests.push_back({.body = openai_request_body(prompt, bench.request)});
  }
  LoadOptions closed = bench.load;
  closed.closed_loop = true;
  closed.duration_ns = 0;
  closed.max_concurrency =
      std::min(kMostUsers, closed.max_concurrency > 0 ? closed.max_concurrency : bench.num_warmups);
  ASSIGN_OR_RETURN(const LoadResult result, run_load(requests, closed));
  const auto failed = std::ranges::find_if(
      result.records, [](const LoadRecord& record) { return !record.error.empty(); });
  if (failed == result.records.end()) return {};
  return Error{.code = ErrorCode::kSystem,
               .message = cat(bench.load.url.text(), bench.load.path,
                              ": a request of the warm-up failed: ", failed->error),
               .what = bench.load.url.text(),
               .found = failed->error};
}

/// A few words that no other prompt begins with, so that no cache knows them, and one token.
LoadRequest probe_request(const ServeBench& bench, int64_t index) {
  constexpr uint64_t kOtherTexts = 0x50524F42;
  const LoadPrompt prompt{.text = unique_words(bench.seed ^ kOtherTexts, index),
                          .input_tokens = kNumUniqueWords,
                          .max_tokens = 1};
  return {.body = openai_request_body(prompt, bench.request),
          .prompt_tokens = prompt.input_tokens,
          .max_tokens = prompt.max_tokens};
}

/// The load itself, and what the server recorded meanwhile where that was asked for.
struct MeasuredLoad {
  LoadResult result;
  std::optional<ServerTtft> server_ttft;
  std::string trace;  // Chrome's format; empty where the server keeps its own
};

Result<MeasuredLoad> measure_load(const ServeBench& bench, const PreparedLoad& load) {
  MeasuredLoad measured;
  LoadOptions options = bench.load;
  options.probes = {.rate = bench.probe_rate,
                    .request = [&](int64_t index) { return probe_request(bench, index); }};
  if (bench.profile) RETURN_IF_ERROR(start_profile(bench.load));
  const std::optional<ServerTtft> ttft_before = read_server_ttft(bench.load);
  Result<LoadResult> result = run_load(load.requests, options);
  const std::optional<ServerTtft> ttft_after = read_server_ttft(bench.load);
  if (ttft_before && ttft_after) measured.server_ttft = ttft_after->since(*ttft_before);
  if (bench.profile) {
    Result<std::string> trace = stop_profile(bench.load);
    // The load's figures stand whatever becomes of the profile.
    if (!trace) log_warning(cat("no profile: ", trace.error().message));
    if (trace) measured.trace = *std::move(trace);
  }
  if (!result) return std::move(result).error();
  measured.result = *std::move(result);
  return measured;
}

/// "20261122-114703", as vLLM writes it.
std::string compact_time() {
  std::string text;
  for (const char c : utc_now()) {
    if (c >= '0' && c <= '9') text += c;
    if (c == 'T') text += '-';
  }
  return text;
}

/// What stands in front of the figures: vLLM's keys.
Json head_json(const ServeBench& bench, int64_t num_prompts) {
  Json head = {
      {"date", compact_time()},
      {"backend", bench.backend},
      {"endpoint_type", bench.backend},
      {"model_id", bench.model},
      {"tokenizer_id", bench.tokenizer_name.empty() ? Json() : Json(bench.tokenizer_name)},
      {"num_prompts", num_prompts},
      {"request_rate", !bench.ramp_name.empty()  ? Json()
                       : bench.arrivals.rate > 0 ? Json(bench.arrivals.rate)
                                                 : Json("inf")},
      {"burstiness", bench.arrivals.burstiness},
      {"max_concurrency",
       bench.load.max_concurrency > 0 ? Json(bench.load.max_concurrency) : Json()},
  };
  if (!bench.ramp_name.empty()) {
    head["ramp_up_strategy"] = bench.ramp_name;
    head["ramp_up_start_rps"] = bench.arrivals.rate;
    head["ramp_up_end_rps"] = bench.arrivals.end_rate;
  }
  for (const auto& [key, value] : bench.metadata) head[key] = value;
  return head;
}

/// Everything that the figures depend on and that is known here.
Json load_json(const ServeBench& bench, const PreparedLoad& load) {
  std::vector<double> input, output;
  for (const LoadRequest& request : load.requests) {
    input.push_back(static_cast<double>(request.prompt_tokens));
    output.push_back(static_cast<double>(request.max_tokens));
  }
  const bool is_random = bench.dataset->name == "random" || bench.dataset->name == "trace";
  Json goodput = Json::object();
  for (const GoodputLimit& limit : bench.report.goodput) goodput[limit.metric] = limit.most_ms;
  return {
      {"loop", bench.load.closed_loop ? "closed" : "open"},
      {"arrivals", bench.arrivals_name},
      {"base_url", bench.load.url.text()},
      {"is_loopback", bench.load.url.is_loopback()},
      {"endpoint", bench.load.path},
      {"mode", bench.load.stream ? "stream" : "sync"},
      {"dataset", bench.dataset->name},
      {"dataset_path", bench.prompts.path.empty() ? Json() : Json(bench.prompts.path.string())},
      {"prompts_hash", load.hash},
      {"prompts_repeat", load.repeat},
      {"prompt_tokens_known_by", bench.prompts.tokenizer != nullptr ? "tokenizer"
                                 : is_random                        ? "words"
                                                                    : "bytes / 4"},
      {"prompt_tokens_mean", mean(input)},
      {"prompt_tokens_std", standard_deviation(input)},
      {"max_tokens_mean", mean(output)},
      {"max_tokens_std", standard_deviation(output)},
      {"ignore_eos", bench.request.ignore_eos},
      {"temperature", bench.request.temperature ? Json(*bench.request.temperature) : Json()},
      {"cancel_rate", bench.cancel_rate},
      {"num_warmups", bench.num_warmups},
      {"probe_request_rate", bench.probe_rate > 0 ? Json(bench.probe_rate) : Json()},
      {"profile", bench.profile},
      {"benchmark_duration_s", bench.load.duration_ns > 0
                                   ? Json(static_cast<double>(bench.load.duration_ns) * 1e-9)
                                   : Json()},
      {"goodput", std::move(goodput)},
      {"seed", bench.seed},
  };
}

Json environment_json() {
  return {
      {"quern", QUERN_VERSION},   {"compiler", __VERSION__},          {"cpu", cpu_model()},
      {"machine", machine_key()}, {"usable_cpus", num_usable_cpus()}, {"kernel", kernel_name()}};
}

/// Fails where --metadata would take the place of a figure.
Result<void> check_metadata(const ServeBench& bench) {
  ServeBench bare = bench;
  bare.metadata.clear();
  Json own = head_json(bare, 0);
  own.update(load_report({}, {}, bench.report));
  own.update(load_details({}));
  own.update({{"schema", 1}, {"load", {}}, {"env", {}}, {"error", {}}});
  for (const auto& [key, value] : bench.metadata) {
    if (own.contains(key)) {
      return bad_value("--metadata", cat(key, "=", value), "a key that the result does not have");
    }
  }
  return {};
}

std::string result_filename(const ServeBench& bench, const Json& report) {
  if (!bench.result_filename.empty()) return bench.result_filename;
  const std::string model = bench.model.substr(bench.model.rfind('/') + 1);
  const Arrivals& arrivals = bench.arrivals;
  const std::string rate = !bench.ramp_name.empty() ? cat("ramp-up-", bench.ramp_name, "-",
                                                          arrivals.rate, "qps-", arrivals.end_rate)
                           : arrivals.rate > 0      ? cat(arrivals.rate)
                                                    : "inf";
  const std::string users =
      bench.load.max_concurrency > 0 ? cat("-concurrency", bench.load.max_concurrency) : "";
  return cat(bench.backend, "-", rate, "qps", users, "-", model, "-",
             report["date"].get<std::string>(), ".json");
}

/// Adds a run to the table of its folder, which begins with the names of its columns.
Result<void> append_row(const std::filesystem::path& path, const std::string& row) {
  std::ofstream table(path, std::ios::app);
  table << (table.tellp() == 0 ? run_table_head() : "") + row << std::flush;
  if (table) return {};
  return Error{.code = ErrorCode::kSystem,
               .message = cat(path.string(), ": cannot be written"),
               .what = path.string()};
}

/// The result's file, those beside it, which have its name with another ending, and a row of the
/// folder's table.
Result<void> save(const ServeBench& bench, const Json& report, const MeasuredLoad& measured) {
  Json saved{{"schema", 1}};
  saved.update(report);
  if (bench.save_detailed) saved.update(load_details(measured.result));
  const std::filesystem::path folder = bench.result_dir;
  std::error_code ignored;  // what could not be made shows when the file is written
  std::filesystem::create_directories(folder, ignored);
  std::string name = result_filename(bench, report);
  RETURN_IF_ERROR(write_file_atomically(folder / name, dump_json(saved) + "\n"));
  if (name.ends_with(".json")) name.resize(name.size() - std::string_view(".json").size());
  RETURN_IF_ERROR(
      write_file_atomically(folder / cat(name, ".requests.jsonl"), request_lines(measured.result)));
  RETURN_IF_ERROR(
      append_row(folder / "runs.csv", run_table_row(measured.result, report, bench.metadata)));
  if (measured.trace.empty()) return {};
  return write_file_atomically(folder / cat(name, ".trace.json"), measured.trace);
}

Result<int> run_bench_serve(const Arguments& arguments) {
  ASSIGN_OR_RETURN(ServeBench bench, read_serve_bench(arguments));
  RETURN_IF_ERROR(check_metadata(bench));
  std::optional<Tokenizer> tokenizer;
  if (!bench.tokenizer_name.empty()) {
    const Arguments named = arguments.with_positional({bench.tokenizer_name});
    ASSIGN_OR_RETURN(tokenizer, open_tokenizer_argument(named));
    bench.prompts.tokenizer = &*tokenizer;
  }
  if (!arguments.has("--seed")) print_seed(bench.seed);

  ASSIGN_OR_RETURN(const std::vector<std::string> models,
                   wait_for_models({.url = bench.load.url,
                                    .api_key = bench.load.api_key,
                                    .client = bench.load.client,
                                    .timeout_ms = bench.ready_timeout_ms}));
  if (bench.model.empty()) {
    if (models.empty()) {
      return Error{.code = ErrorCode::kUsage,
                   .message = cat("bench serve: ", bench.load.url.text(),
                                  " does not say what models it has; name one with --model"),
                   .what = "--model"};
    }
    bench.model = models.front();
  }
  bench.request.model = bench.model;
  ASSIGN_OR_RETURN(const PreparedLoad load, prepare_load(bench));
  RETURN_IF_ERROR(warm_up(bench, load));

  const auto num_requests = static_cast<double>(load.requests.size());
  bench.load.keep_text = bench.save_detailed || bench.prompts.tokenizer != nullptr;
  if (const auto bar = progress_bar("requests")) {
    bench.load.progress = [&](int64_t ended) { bar(static_cast<double>(ended) / num_requests); };
  }
  ASSIGN_OR_RETURN(const MeasuredLoad measured, measure_load(bench, load));
  const LoadResult& result = measured.result;
  ASSIGN_OR_RETURN(const std::vector<LoadCheck> checks,
                   check_load(result, {.ignore_eos = bench.request.ignore_eos,
                                       .tokenizer = bench.prompts.tokenizer,
                                       .server_ttft = measured.server_ttft}));

  Json report = head_json(bench, static_cast<int64_t>(load.requests.size()));
  report.update(load_report(result, checks, bench.report));
  report["load"] = load_json(bench, load);
  report["env"] = environment_json();
  if (bench.save_result) RETURN_IF_ERROR(save(bench, report, measured));

  const std::string failure = failed_checks(checks);
  const Error invalid{.code = ErrorCode::kCheckFailed,
                      .message = cat("bench serve: the run is invalid: ", failure),
                      .what = "validity",
                      .found = failure};
  if (!arguments.on("--json")) {
    print_text(load_report_text(report, bench.report));
    return failure.empty() ? Result<int>(0) : invalid;
  }
  // One object holds both: figures that may not be relied on are figures all the same.
  if (!failure.empty()) report["error"] = error_json(invalid);
  print_json(std::move(report));
  if (failure.empty()) return 0;
  std::fprintf(stderr, "error: %s\n", printable(invalid.message).c_str());
  return exit_status(invalid.code);
}

constexpr std::string_view kFlags[] = {
    "--model",
    "--backend",
    "--base-url",
    "--endpoint",
    "--api-key",
    "--insecure",
    "--ready-check-timeout-sec",
    "--dataset-name",
    "--dataset-path",
    "--num-prompts",
    "--random-input-len",
    "--random-output-len",
    "--random-prefix-len",
    "--random-range-ratio",
    "--tokenizer",
    "--request-rate",
    "--arrivals",
    "--burstiness",
    "--ramp-up-strategy",
    "--ramp-up-start-rps",
    "--ramp-up-end-rps",
    "--max-concurrency",
    "--benchmark-duration",
    "--num-warmups",
    "--probe-request-rate",
    "--profile",
    "--mode",
    "--cancel-rate",
    "--goodput",
    "--percentile-metrics",
    "--metric-percentiles",
    "--save-result",
    "--save-detailed",
    "--result-dir",
    "--result-filename",
    "--metadata",
    "--seed",
    "--temperature",
    "--ignore-eos",
};

}  // namespace

const Command kBenchServeCommand = {
    {.name = "bench serve",
     .arguments = "[MODEL]",
     .summary = "load on a server of the OpenAI API: its latencies and rates",
     .max_positional = 64,
     .flags = kFlags},
    run_bench_serve};

}  // namespace quern
