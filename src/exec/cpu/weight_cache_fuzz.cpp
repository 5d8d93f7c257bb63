// The header of a file of packed weights: whatever stands there, it is accepted or refused, and
// what is accepted has a checksum for every chunk.
#include <cstddef>
#include <cstdint>

#include "base/ensure.h"
#include "exec/cpu/weight_cache.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using quern::cpu::WeightCache;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  for (const int64_t arena_bytes : {int64_t{4096}, int64_t{64} << 20}) {
    const auto before = static_cast<uint64_t>(WeightCache::header_bytes(arena_bytes));
    for (const uint64_t file_bytes :
         {uint64_t{size}, before + static_cast<uint64_t>(arena_bytes)}) {
      const auto sums = WeightCache::check_header(bytes, file_bytes, 1, arena_bytes);
      if (sums) {
        ENSURE(sums->size() == 8 * ((static_cast<uint64_t>(arena_bytes) + WeightCache::kChunk - 1) /
                                    WeightCache::kChunk));
      }
    }
  }
  return 0;
}
