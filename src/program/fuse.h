#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "program/program.h"

namespace quern {

/// One fusion: a rewrite of a Program that changes where values live, never their bits.
struct Fusion {
  std::string_view name;     // the word of --no-fuse=NAME
  std::string_view meaning;  // for --help and the printer
  void (*apply)(Program& program);
};

/// All fusions in the order in which they apply.
std::span<const Fusion> fusions();

/// Which fusions to leave out: none, some by name, or all.
struct FuseOptions {
  bool all_off = false;
  std::vector<std::string> off;  // names
};

/// The Program with every fusion applied that `options` does not switch off. kUsage for an unknown
/// name (the message lists the known ones).
Result<Program> fuse(Program program, const FuseOptions& options);

}  // namespace quern
