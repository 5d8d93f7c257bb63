#include "base/hash.h"

#include <xxhash.h>

namespace quern {

uint64_t xxh64(std::span<const std::byte> bytes, uint64_t seed) {
  return XXH64(bytes.data(), bytes.size(), seed);
}

}  // namespace quern
