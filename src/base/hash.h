#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace quern {

/// XXH64 of the bytes (Collet, xxhash specification), seed 0 unless given.
uint64_t xxh64(std::span<const std::byte> bytes, uint64_t seed = 0);

}  // namespace quern
