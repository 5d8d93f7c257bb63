#include "cli/environment.h"

#include <cstdlib>

namespace quern {

std::optional<std::string> environment_variable(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::optional<std::filesystem::path> cache_folder() {
  const auto absolute = [](std::string_view name) {
    const std::filesystem::path path = environment_variable(name).value_or("");
    return path.is_absolute() ? std::optional(path) : std::nullopt;
  };
  if (const auto cache = absolute("XDG_CACHE_HOME")) return *cache / "quern";
  if (const auto home = absolute("HOME")) return *home / ".cache" / "quern";
  return std::nullopt;
}

}  // namespace quern
