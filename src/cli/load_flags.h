#pragma once

#include "cli/arguments.h"
#include "llm/run_plan.h"

namespace quern {

/// What the load flags of a command line come to.
Result<RunOptions> read_load_flags(const Arguments& arguments);

/// The type that --NAME asks for, nothing for "auto" or an absent flag. kUsage for a word that is
/// no type of this build.
Result<std::optional<DType>> read_dtype(const Arguments& arguments, std::string_view name);
Result<Activations> read_activations(const Arguments& arguments, std::string_view name);

/// --seed, else a number of chance.
Result<uint64_t> read_seed(const Arguments& arguments);

/// A progress bar on stderr for loads of over a second, on a terminal only.
std::function<void(double)> progress_bar(std::string label);

}  // namespace quern
