// The program that `quern bench kernels` becomes: runs the micro-benchmarks and holds each against
// this machine's ceilings for one thread.
#include "exec/cpu/kernels_bench.h"

#include <cstdio>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/stored_ceilings.h"
#include "measure/machine.h"
#include "measure/roofline.h"

namespace quern {

namespace {

/// The fastest unit of this CPU for a kind of number: another library chooses by itself.
cpu::Unit fastest_unit(std::string_view format, const Ceilings& ceilings) {
  cpu::Unit fastest = cpu::Unit::kF32Ymm;
  for (int i = 0; i < cpu::kNumUnits; ++i) {
    const auto unit = static_cast<cpu::Unit>(i);
    const bool fits = cpu::unit_name(unit).starts_with(format);
    if (fits && ceilings.value(unit) > ceilings.value(fastest)) fastest = unit;
  }
  return fastest;
}

/// Weights are never found in a cache: the benchmark takes others each time.
Work work_of(const KernelRun& run, const Ceilings& ceilings) {
  Work work{.bytes = run.bytes, .live_bytes = INT64_MAX, .operations = {}};
  const KernelBench& bench = run.bench;
  cpu::Unit unit = fastest_unit(bench.format, ceilings);
  if (const auto dtype = DType::from_name(bench.format); dtype && !bench.isa.empty()) {
    const bool widened = bench.activations == "float" && !dtype->is_float();
    unit = unit_of_products(bench.isa, *dtype, widened ? Activations::kF32 : Activations::kAuto);
  }
  work.operations[unit] = run.operations;
  return work;
}

Json row_json(const KernelRun& run, const CeilingsByThreads& ceilings) {
  const KernelBench& bench = run.bench;
  const bool is_product = run.operations > 0;
  Json row = {{"name", bench.name},
              {"format", bench.format},
              {"activations", bench.activations.empty() ? Json() : Json(bench.activations)},
              {"isa", bench.isa.empty() ? Json() : Json(bench.isa)},
              {"tokens", bench.tokens},
              {"us", run.seconds * 1e6},
              {"tokens_per_second", static_cast<double>(bench.tokens) / run.seconds},
              {"gb_s", is_product ? Json(run.bytes / run.seconds * 1e-9) : Json()},
              {"gop_s", is_product ? Json(run.operations / run.seconds * 1e-9) : Json()},
              {"share", nullptr},
              {"ceiling", nullptr}};
  const auto one_thread = ceilings.find(1);
  if (!is_product || one_thread == ceilings.end()) return row;
  if (const auto floor = floor_of(work_of(run, one_thread->second), one_thread->second, 0)) {
    row["share"] = floor->seconds / run.seconds;
    row["ceiling"] = floor->ceiling;
  }
  return row;
}

std::string row_text(const Json& row) {
  const auto number = [&](const char* name, double times, const char* format) -> std::string {
    if (!row[name].is_number()) return "-";
    char text[64];
    std::snprintf(text, sizeof(text), format, times * row[name].get<double>());
    return text;
  };
  const std::string ceiling =
      row["ceiling"].is_string() ? cat(" of ", row["ceiling"].get<std::string>()) : "";
  return cat("| ", row["name"].get<std::string>(), " | ", number("us", 1, "%.1f"), " | ",
             number("gb_s", 1, "%.1f"), " | ", number("gop_s", 1, "%.0f"), " | ",
             number("share", 100, "%.0f %%"), ceiling, " |\n");
}

Result<int> run(const Arguments& arguments) {
  const std::string filter = arguments.text("--filter").value_or("^(multiply|peer)/");
  const bool as_json = arguments.on("--json");
  const CeilingsByThreads ceilings = stored_ceilings();
  if (!ceilings.contains(1)) {
    log_warning(
        "shares are not known: no ceilings are stored for this machine; quern doctor --ceilings "
        "measures them");
  }
  Json rows = Json::array();
  const int64_t ran = run_kernel_benches(filter, [&](const KernelRun& result) {
    if (!as_json && rows.empty()) {
      print_text(
          "| kernel, one thread | us | GB/s | GOP/s | of ceiling |\n"
          "| --- | ---: | ---: | ---: | ---: |\n");
    }
    rows.push_back(row_json(result, ceilings));
    if (!as_json) print_text(row_text(rows.back()));
  });
  if (ran == 0) {
    return bad_value("--filter", filter,
                     "a regular expression that matches names such as multiply/q8_0/int8/avx2/1");
  }
  if (as_json) {
    const auto one_thread = ceilings.find(1);
    print_json({{"cpu_info", cpu_model()},
                {"ceilings_measured_at",
                 one_thread == ceilings.end() ? Json() : Json(one_thread->second.measured_at)},
                {"rows", std::move(rows)}});
  }
  return 0;
}

}  // namespace

}  // namespace quern

int main(int count, char** words) {
  using namespace quern;
  catch_interrupts();
  const std::vector<std::string> rest(words + 1, words + count);
  const Result<Arguments> arguments = Arguments::parse(kBenchKernelsCommand.syntax, rest);
  const Result<int> status = arguments ? run(*arguments) : Result<int>(arguments.error());
  if (status) return *status;
  if (arguments && arguments->on("--json")) print_json({{"error", error_json(status.error())}});
  std::fprintf(stderr, "error: %s\n", printable(status.error().message).c_str());
  return exit_status(status.error().code);
}
