#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace quern {

/// Memory that this process could still take without swapping: MemAvailable of /proc/meminfo, or
/// less where a control group's limit is nearer. 0 if the system tells neither.
int64_t available_memory_bytes();

/// The highest resident size of this process so far (VmHWM of /proc/self/status).
int64_t peak_resident_bytes();

/// Its resident size now (VmRSS).
int64_t resident_bytes();

/// The numbers of a list as the kernel writes them: "0-2,5" is {0, 1, 2, 5}. Empty if it is no such
/// list.
std::vector<int> parse_node_list(std::string_view text);

/// The memory nodes (NUMA) that this process may use, ascending: Mems_allowed_list of
/// /proc/self/status; {0} if the system does not tell.
std::vector<int> memory_nodes();

/// Asks that the pages of [data, data + bytes), whole pages not yet touched, lie on the nodes in
/// turns, so that threads of all sockets read at the sum of the nodes' rates. False where the
/// system refuses; the memory is as good then, but for where it lies.
bool interleave_pages(void* data, size_t bytes, std::span<const int> nodes);

}  // namespace quern
