#pragma once

#include <cstdint>

namespace quern {

/// Lets this process have `count` files and sockets open at once, as far as the system's hard limit
/// goes. Returns how many it may have now, which is less than `count` where that is lower.
int64_t raise_descriptor_limit(int64_t count);

}  // namespace quern
