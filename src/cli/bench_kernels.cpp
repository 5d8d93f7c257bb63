#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "cli/commands.h"
#include "exec/cpu/isa.h"

namespace quern {

namespace {

/// Becomes the program beside this one that links the benchmark library (cli/kernels_bench.cpp),
/// which takes the same flags.
Result<int> run_bench_kernels(const Arguments& arguments) {
  std::error_code failed;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failed);
  const std::filesystem::path program = self.parent_path() / "quern_bench_kernels";
  if (failed || !std::filesystem::exists(program, failed)) {
    return Error{
        .code = ErrorCode::kUnsupported,
        .message = cat("bench kernels: ", program.string(),
                       " is not there: this build was configured without google-benchmark; "
                       "install it (libbenchmark-dev) and configure and build again"),
        .what = "bench kernels",
        .found = std::nullopt,
        .wanted = program.string(),
        .try_next = "install libbenchmark-dev, configure and build again"};
  }
  // oneDNN's threads are OpenMP's, which reads this before main. OpenBLAS as packaged takes CPUs
  // that it does not know for generic ones.
  const std::vector<cpu::Isa> isas = cpu::available_isas();
  if (std::ranges::find(isas, cpu::Isa::kAvx512) != isas.end()) {
    ::setenv("OPENBLAS_CORETYPE", "SKYLAKEX", 0);
  }
  ::setenv("OMP_NUM_THREADS", "1", 1);
  std::vector<std::string> words = {program.string()};
  if (const auto filter = arguments.text("--filter")) words.push_back(cat("--filter=", *filter));
  if (arguments.on("--json")) words.emplace_back("--json");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  return Error{.code = ErrorCode::kSystem,
               .message = cat("bench kernels: ", program.string(),
                              " could not be started: ", std::strerror(errno)),
               .what = program.string()};
}

constexpr std::string_view kFlags[] = {"--filter"};

}  // namespace

const Command kBenchKernelsCommand = {
    {.name = "bench kernels",
     .arguments = "",
     .summary = "bytes and operations a second of each product kernel",
     .flags = kFlags},
    run_bench_kernels};

}  // namespace quern
