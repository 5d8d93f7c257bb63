#pragma once

#include <cstdint>
#include <string>

namespace quern {

/// The processor's name for itself; "unknown" where the system does not tell.
std::string cpu_model();

/// What figures of speed belong to: model and number of the processors, and a hash of their
/// microcode, flags and cache sizes.
std::string machine_key();

/// Bytes of a core's second-level cache, of the last-level cache; 0 where the system does not tell.
int64_t l2_cache_bytes();
int64_t l3_cache_bytes();

/// "2026-11-21T20:00:00Z"
std::string utc_now();

}  // namespace quern
