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

/// Time of all processors together since the system's start, in its ticks; of that, what other
/// systems on the same machine took. Zeros where the system does not tell.
struct CpuTimes {
  int64_t total = 0, steal = 0;
};
CpuTimes cpu_times();
/// Between two of them, the share that was taken by others.
double steal_share(const CpuTimes& before, const CpuTimes& after);

/// "Linux 6.1.0 x86_64"
std::string kernel_name();

/// "2026-11-21T20:00:00Z"
std::string utc_now();
/// The time of day as nanoseconds since 1970; it may jump.
int64_t unix_now_ns();

}  // namespace quern
