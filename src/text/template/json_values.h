#pragma once

#include <string>

#include "base/json.h"
#include "text/template/runtime.h"

namespace quern::jinja {

/// The value of one variable that the caller passes. Strings in it count as written by the user as
/// ChatTemplate::render_segments() says. Nested values are walked with a list of what is open.
Value value_of_json(Runtime& runtime, const std::string& name, const Json& json);

}  // namespace quern::jinja
