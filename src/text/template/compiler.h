#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "text/template/code.h"

namespace quern::jinja {

/// Reads a template and writes the machine's code for it. Statements become code as they are read;
/// their expressions as soon as they are whole. `source` is valid UTF-8.
Result<Code> compile_template(std::string_view source, std::string what);

}  // namespace quern::jinja
