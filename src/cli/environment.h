#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace quern {

/// A variable of the environment; nothing if it is not set. The only place that reads it.
std::optional<std::string> environment_variable(std::string_view name);

/// Where what can be made again is kept: $XDG_CACHE_HOME/quern, else ~/.cache/quern; nothing where
/// the environment names neither by an absolute path.
std::optional<std::filesystem::path> cache_folder();

}  // namespace quern
