#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quern {

/// A variable of the environment; nothing if it is not set. The only place that reads it.
std::optional<std::string> environment_variable(std::string_view name);

}  // namespace quern
