#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "measure/load/load_run.h"

namespace quern {

/// A line for each request of a load, and for each probe beside it, as AIPerf's
/// profile_export.jsonl has them: `metadata`, `metrics` with their units, `error`. Latencies are
/// from the actual send there; `credit_issued_ns` is the intended one.
std::string request_lines(const LoadResult& result);

/// The names of a table's columns with a row for each run, the same in every version.
std::string run_table_head();
/// The row of one run. What is not known here holds what was said by the column's name
/// (`--metadata`), or is empty.
std::string run_table_row(const LoadResult& result, const Json& report,
                          const std::vector<std::pair<std::string, std::string>>& said);

}  // namespace quern
