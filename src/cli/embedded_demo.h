#pragma once

#include <filesystem>

#include "base/result.h"

namespace quern {

/// A path under which the demo model inside this binary can be opened and mapped, as long as the
/// process lives. kNotFound in a build without one.
Result<std::filesystem::path> embedded_demo_path();

}  // namespace quern
