#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "measure/load/load_run.h"

namespace quern {

/// A request beside the load to the server that the load goes to, with its key; the body of the
/// answer, which may have `most_bytes`. kSystem names the route and what the server said where that
/// is not status 200.
Result<std::string> call_server(const LoadOptions& load, std::string_view method,
                                std::string_view path, uint64_t most_bytes);

/// Has the server begin to record what it does (POST /start_profile), as vLLM and others do.
/// kSystem where it cannot.
Result<void> start_profile(const LoadOptions& load);
/// Ends that. The trace, as quern's server answers with it; empty of one that keeps it itself.
Result<std::string> stop_profile(const LoadOptions& load);

}  // namespace quern
