#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/faults.h"

namespace quern {

struct NamedBug {
  std::string_view name;
  PlantedBug bug;
};
/// Every bug that can be planted.
std::span<const NamedBug> planted_bugs();

struct PlantedSearch {
  bool found = false;
  int64_t histories = 0;  // run until it was found, or all
  std::string how;        // the violation, or the ENSURE that fired first
};

/// Runs histories from `first_seed` on with the bug planted until one shows it. They run in a
/// process of their own, since a bug may well be caught by an ENSURE, which ends it.
PlantedSearch search_planted(PlantedBug bug, uint64_t first_seed, int64_t max_histories);

}  // namespace quern
