#include "models/quantize.h"

#include "base/clock.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"

namespace quern {

namespace {

Result<QuantizeOptions> read_options(const Arguments& arguments) {
  QuantizeOptions options;
  ASSIGN_OR_RETURN(const std::optional<DType> dtype, read_dtype(arguments, "--dtype"));
  if (!dtype) {
    return bad_value("--dtype", arguments.text("--dtype").value_or("missing"), dtype_names());
  }
  options.dtype = *dtype;
  for (const std::string& text : arguments.texts("--keep")) {
    ASSIGN_OR_RETURN(DTypeOverride rule, parse_dtype_override(text, "--keep"));
    options.keep.push_back(std::move(rule));
  }
  options.force = arguments.on("--force");
  ASSIGN_OR_RETURN(const auto threads, arguments.integer("--threads", 1, 1024));
  options.threads = static_cast<int>(threads.value_or(num_usable_cpus()));
  return options;
}

Json report_json(const QuantizeReport& report, double seconds) {
  Json tensors = Json::array();
  for (const QuantizedTensor& tensor : report.tensors) {
    tensors.push_back({{"name", tensor.name}, {"from", tensor.from}, {"to", tensor.to}});
  }
  Json fallbacks = Json::array();
  for (const Fallback& fallback : report.fallbacks) {
    fallbacks.push_back({{"name", fallback.name},
                         {"wanted", fallback.wanted.name()},
                         {"used", fallback.used.name()}});
  }
  return {{"in_bytes", report.in_bytes},
          {"out_bytes", report.out_bytes},
          {"bits_per_weight", report.bits_per_weight},
          {"tensors", std::move(tensors)},
          {"fallbacks", std::move(fallbacks)},
          {"seconds", seconds}};
}

std::string report_text(const QuantizeReport& report, const std::string& out) {
  std::map<std::string, size_t> count;
  for (const QuantizedTensor& tensor : report.tensors) ++count[tensor.to];
  std::string types;
  for (const auto& [type, number] : count) {
    types += cat(types.empty() ? "" : ", ", number, " ", type);
  }
  std::string text =
      cat(out, ": ", report.out_bytes, " bytes of ", report.in_bytes, ", tensors: ", types, "\n");
  for (const Fallback& fallback : report.fallbacks) {
    text += cat("  ", fallback.name, " is ", fallback.used.name(), ": its rows are no multiple of ",
                fallback.wanted.block_values(), " values\n");
  }
  return text;
}

Result<int> run_quantize(const Arguments& arguments) {
  if (arguments.has("--calibrate")) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message =
                     "--calibrate: this build quantises without calibration data; leave the "
                     "flag out",
                 .what = "--calibrate",
                 .wanted = "no --calibrate"};
  }
  ASSIGN_OR_RETURN(QuantizeOptions options, read_options(arguments));
  const int64_t start_ns = steady_clock().now_ns();
  ASSIGN_OR_RETURN(ModelFiles files, open_model_files_argument(arguments));
  const std::string& out = arguments.positional().back();

  const InterruptsNoted noted;
  options.progress = [bar = progress_bar("quantizing")](double fraction) {
    if (bar) bar(fraction);
    return !interrupted();
  };
  ASSIGN_OR_RETURN(const QuantizeReport report, quantize_model(std::move(files), out, options));
  if (report.interrupted) return interrupt_status();
  if (arguments.on("--json")) {
    const auto elapsed_ns = static_cast<double>(steady_clock().now_ns() - start_ns);
    print_json(report_json(report, elapsed_ns / 1e9));
  } else {
    print_text(report_text(report, out));
  }
  return 0;
}

constexpr std::string_view kFlags[] = {"--dtype", "--keep",    "--calibrate",
                                       "--force", "--threads", "--model"};

}  // namespace

const Command kQuantizeCommand = {{.name = "quantize",
                                   .arguments = "IN OUT",
                                   .summary = "write a model with weights of another type",
                                   .min_positional = 2,
                                   .max_positional = 2,
                                   .flags = kFlags},
                                  run_quantize};

}  // namespace quern
