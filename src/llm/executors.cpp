#include <algorithm>
#include <array>

#include "exec/cpu/cpu_executor.h"
#include "exec/reference/reference_executor.h"
#include "llm/run_plan.h"

namespace quern {

namespace {

constexpr std::array kExecutors = {&kCpuExecutor, &kReferenceExecutor};

}  // namespace

std::span<const ExecutorKind* const> executors() { return kExecutors; }

std::string executor_names() {
  std::string names;
  for (const ExecutorKind* kind : kExecutors) names += cat(names.empty() ? "" : ", ", kind->name);
  return names;
}

Result<const ExecutorKind*> find_executor(std::string_view name) {
  for (const ExecutorKind* kind : kExecutors) {
    if (kind->name == name) return kind;
  }
  const std::string known = executor_names();
  return Error{.code = ErrorCode::kUnsupported,
               .message = cat("--executor ", name,
                              ": there is no such executor in this build; "
                              "there are: ",
                              known),
               .what = "--executor",
               .found = std::string(name),
               .wanted = known};
}

}  // namespace quern
