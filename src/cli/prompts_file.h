#pragma once

#include "cli/arguments.h"

namespace quern {

/// `run MODEL --prompts FILE|-`: every line is a request, all go to the engine together, one JSON
/// object a line comes out, in input order unless --unordered. A bad line gives an error object in
/// its place and exit status 7 at the end.
Result<int> run_prompts_file(const Arguments& arguments, const std::string& file);

}  // namespace quern
