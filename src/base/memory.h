#pragma once

#include <cstdint>

namespace quern {

/// Memory that this process could still take without swapping: MemAvailable of /proc/meminfo, or
/// less where a control group's limit is nearer. 0 if the system tells neither.
int64_t available_memory_bytes();

/// The highest resident size of this process so far (VmHWM of /proc/self/status).
int64_t peak_resident_bytes();

/// Its resident size now (VmRSS).
int64_t resident_bytes();

}  // namespace quern
