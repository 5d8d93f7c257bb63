#include "base/result.h"

#include <array>
#include <cstddef>

namespace quern {

namespace {

struct CodeRow {
  ErrorCode code;
  std::string_view name;
  int exit_status;
};

constexpr std::array kCodes = {
    CodeRow{ErrorCode::kInternal, "internal", 1},
    CodeRow{ErrorCode::kUsage, "usage", 2},
    CodeRow{ErrorCode::kNotFound, "not_found", 3},
    CodeRow{ErrorCode::kBadFile, "bad_file", 4},
    CodeRow{ErrorCode::kUnsupported, "unsupported", 5},
    CodeRow{ErrorCode::kDoesNotFit, "does_not_fit", 6},
    CodeRow{ErrorCode::kBadInput, "bad_input", 7},
    CodeRow{ErrorCode::kCheckFailed, "check_failed", 8},
    CodeRow{ErrorCode::kSystem, "system", 9},
    CodeRow{ErrorCode::kOverloaded, "overloaded", 6},
};

const CodeRow& row(ErrorCode code) { return kCodes[static_cast<size_t>(code)]; }

}  // namespace

std::string_view error_code_name(ErrorCode code) { return row(code).name; }
int exit_status(ErrorCode code) { return row(code).exit_status; }

Error with_context(Error error, std::string_view context) {
  error.message = cat(context, ": ", error.message);
  return error;
}

}  // namespace quern
