#pragma once

#include <span>

#include "cli/arguments.h"

namespace quern {

/// One command of quern. `run` prints its answer on stdout and returns the exit status of a run
/// that did not fail (0 nearly always); every failure is an Error.
struct Command {
  CommandSyntax syntax;
  Result<int> (*run)(const Arguments& arguments);
};

/// Every command, sorted by name; a name of two words comes as "bench model".
std::span<const Command* const> commands();

}  // namespace quern
