#pragma once

#include "base/json.h"
#include "cli/arguments.h"

namespace quern {

/// The request flags of a command line, over the model's defaults. Only the fields; no prompt.
Result<Json> read_request_flags(const Arguments& arguments);

}  // namespace quern
