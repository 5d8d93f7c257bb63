#include "base/log.h"
#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"
#include "cli/stored_ceilings.h"
#include "measure/machine.h"
#include "measure/model_speed.h"
#include "measure/roofline.h"
#include "measure/statistics.h"

namespace quern {

namespace {

/// The type that most bytes of the weights are held in.
std::string main_dtype(const RunPlan& plan) {
  std::vector<int64_t> bytes(kNumFormats, 0);
  for (size_t i = 0; i < plan.program.weights.size(); ++i) {
    const WeightDecl& weight = plan.program.weights[i];
    bytes[plan.types.of[i].index()] += weight.rows * plan.types.of[i].row_bytes(weight.cols);
  }
  const auto most = static_cast<size_t>(std::ranges::max_element(bytes) - bytes.begin());
  return std::string(DType::all()[most].name());
}

int64_t num_parameters(const Program& program) {
  int64_t count = 0;
  for (const WeightDecl& weight : program.weights) count += weight.num_values();
  return count;
}

/// What every row of one model's bench says.
struct BenchContext {
  const Model& model;
  const Llm& llm;
  const RunOptions& options;
  const CeilingsByThreads& ceilings;
};

Json row_json(const ModelBenchResult& result, const BenchContext& at) {
  const RunPlan& plan = at.llm.plan();
  const std::vector<double> rates = result.samples_ts();
  std::vector<double> ns(result.samples_ns.begin(), result.samples_ns.end());
  const ModelBenchCase& c = result.bench_case;
  const Work work =
      bench_work(plan, result.bench_case, at.llm.executor().isa(), at.options.exec.activations);
  const std::optional<ShareOfCeiling> share = share_of_ceiling(
      result, work, at.ceilings, at.llm.executor().num_threads(), l3_cache_bytes());
  Json operations = Json::object();
  for (const auto& [unit, count] : work.operations)
    operations[std::string(cpu::unit_name(unit))] = count;
  return {{"build_commit", QUERN_VERSION},
          {"cpu_info", cpu_model()},
          {"gpu_info", ""},
          {"backends", "CPU"},
          {"model_filename", at.model.files.location.name},
          {"model_type", plan.program.architecture},
          {"model_size", plan.need.weights},
          {"model_n_params", num_parameters(plan.program)},
          {"n_batch", plan.shape.max_batched_tokens},
          {"n_ubatch", plan.shape.max_batched_tokens},
          {"n_threads", at.llm.executor().num_threads()},
          {"type_k", plan.shape.kv_dtype.name()},
          {"type_v", plan.shape.kv_dtype.name()},
          {"n_prompt", c.num_prompt},
          {"n_gen", c.num_gen},
          {"n_depth", c.num_depth},
          {"test_time", utc_now()},
          {"avg_ns", static_cast<int64_t>(mean(ns))},
          {"stddev_ns", static_cast<int64_t>(standard_deviation(ns))},
          {"avg_ts", mean(rates)},
          {"stddev_ts", standard_deviation(rates)},
          {"samples_ns", result.samples_ns},
          {"samples_ts", rates},
          {"batch", c.batch},
          {"executor", at.options.executor},
          {"isa", at.llm.executor().isa()},
          {"dtype", main_dtype(plan)},
          {"kv_cache_dtype", plan.shape.kv_dtype.name()},
          {"work_bytes", work.bytes},
          {"work_operations", std::move(operations)},
          {"share_of_ceiling", share ? Json(share->share) : Json()},
          {"ceiling", share ? Json(share->ceiling) : Json()}};
}

std::string csv_cell(const Json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : dump_json(value);
  for (size_t at = text.find('"'); at != std::string::npos; at = text.find('"', at + 2)) {
    text.insert(at, 1, '"');
  }
  return cat("\"", text, "\"");
}

std::string csv_line(const Json& row, bool of_keys) {
  std::string line;
  for (const auto& [key, value] : row.items()) {
    line += cat(line.empty() ? "" : ",", csv_cell(of_keys ? Json(key) : value));
  }
  return line + "\n";
}

/// A number with two digits after the point.
std::string two_digits(double value) {
  const auto hundredths = static_cast<int64_t>(value * 100 + 0.5);
  const int64_t rest = hundredths % 100;
  return cat(hundredths / 100, ".", rest < 10 ? "0" : "", rest);
}

/// "81.20 % of read_gb_s"
std::string share_cell(const Json& row) {
  const Json& share = row["share_of_ceiling"];
  if (!share.is_number()) return "not known";
  return cat(two_digits(100 * share.get<double>()), " % of ", row["ceiling"].get<std::string>());
}

std::string markdown_row(const Json& row, const ModelBenchCase& c) {
  return cat("| ", row["model_filename"].get<std::string>(), " | ",
             two_digits(row["model_size"].get<double>() / (1 << 20)), " MiB | ",
             two_digits(row["model_n_params"].get<double>() / 1e6), " M | CPU ",
             row["isa"].get<std::string>(), " | ", row["n_threads"].get<int64_t>(), " | ",
             row["dtype"].get<std::string>(), " | ", c.name(), " | ",
             two_digits(row["avg_ts"].get<double>()), " +- ",
             two_digits(row["stddev_ts"].get<double>()), " | ", share_cell(row), " |\n");
}

Result<int> run_bench_model(const Arguments& arguments) {
  // With --json alone the rows come in one object, as from every command.
  const bool as_object = arguments.on("--json") && !arguments.has("--output");
  const std::string format = as_object ? "object" : arguments.text("--output").value_or("md");
  if (!as_object && format != "md" && format != "json" && format != "jsonl" && format != "csv") {
    return bad_value("--output", format, "md, json, jsonl or csv");
  }
  constexpr int64_t kMost = 1 << 24;
  ASSIGN_OR_RETURN(const auto prompts, arguments.integers("--n-prompt", {512}, 0, kMost));
  ASSIGN_OR_RETURN(const auto gens, arguments.integers("--n-gen", {128}, 0, kMost));
  ASSIGN_OR_RETURN(const auto depths, arguments.integers("--n-depth", {0}, 0, kMost));
  ASSIGN_OR_RETURN(const auto batches, arguments.integers("--batches", {1}, 1, 4096));
  ASSIGN_OR_RETURN(const auto repetitions, arguments.integer("--repetitions", 1, 1000));
  const std::vector<ModelBenchCase> cases = model_bench_cases(prompts, gens, depths, batches);
  if (cases.empty()) return bad_value("--n-prompt", "0", "a length above 0 here or in --n-gen");

  ASSIGN_OR_RETURN(RunOptions options, read_load_flags(arguments));
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, open_model_argument(arguments));
  int64_t most_context = 0, most_batch = 1, deepest = 0;
  for (const ModelBenchCase& c : cases) {
    most_context = std::max(most_context, c.context());
    most_batch = std::max(most_batch, c.batch);
    deepest = std::max(deepest, c.num_depth);
  }
  if (!options.max_model_len) options.max_model_len = most_context;
  options.max_num_seqs = most_batch;
  options.enable_prefix_caching = deepest > 0;
  options.exec.progress = progress_bar("loading");
  ASSIGN_OR_RETURN(const std::unique_ptr<Llm> llm, Llm::load(*model, options));
  const CeilingsByThreads ceilings = stored_ceilings();
  const BenchContext context{*model, *llm, options, ceilings};
  if (const int threads = llm->executor().num_threads(); !ceilings.contains(threads)) {
    log_warning(cat("share_of_ceiling is not known: no ceilings are stored for this machine and ",
                    threads, " threads; quern doctor --ceilings --threads ", threads,
                    " measures them"));
  }

  if (format == "md") {
    print_text(
        "| model | size | params | backend | threads | dtype | test | t/s | of ceiling |\n"
        "| --- | ---: | ---: | --- | ---: | --- | ---: | ---: |\n");
  }
  Json all = Json::array();
  for (const ModelBenchCase& c : cases) {
    ASSIGN_OR_RETURN(const ModelBenchResult result,
                     run_model_bench(*llm, c, repetitions.value_or(5)));
    const Json row = row_json(result, context);
    if (format == "md") print_text(markdown_row(row, c));
    if (format == "jsonl") print_json_line(row);
    if (format == "csv") {
      if (all.empty()) print_text(csv_line(row, true));
      print_text(csv_line(row, false));
    }
    all.push_back(row);
  }
  if (format == "json") print_json_line(all);
  if (as_object) print_json({{"rows", all}});
  return 0;
}

constexpr std::string_view kFlags[] = {"--model",   "--n-prompt",    "--n-gen", "--n-depth",
                                       "--batches", "--repetitions", "--output"};

}  // namespace

const Command kBenchModelCommand = {{.name = "bench model",
                                     .arguments = "-m MODEL",
                                     .summary = "tokens a second of prompts and of decoding",
                                     .min_positional = 1,
                                     .max_positional = 1,
                                     .load_flags = true,
                                     .flags = kFlags},
                                    run_bench_model};

}  // namespace quern
