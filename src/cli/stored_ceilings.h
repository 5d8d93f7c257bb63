#pragma once

#include "base/json.h"
#include "measure/ceiling_store.h"

namespace quern {

/// What is stored of this machine's ceilings; a damaged file is said on stderr and taken for none.
CeilingsByThreads stored_ceilings();
/// Stores them; where that is not possible says so on stderr.
void store_ceilings(const CeilingsByThreads& ceilings);

/// The contract's object, led by the figures for `threads` threads, which must be there.
Json ceilings_report(const CeilingsByThreads& ceilings, int threads);
/// The same for people: a line each, columns by threads.
std::string ceilings_text(const CeilingsByThreads& ceilings, int threads);

}  // namespace quern
