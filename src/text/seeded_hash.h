#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quern {

/// Drawn once for this process, so that no file can be written whose texts all fall into one slot
/// of a hash table. Nothing that is computed may depend on it, only how fast it is found.
uint64_t process_hash_seed();

uint64_t seeded_hash(std::string_view text);
uint64_t seeded_hash(uint64_t number);

/// For the hash tables of the standard library with texts out of files.
struct SeededHash {
  size_t operator()(std::string_view text) const { return seeded_hash(text); }
};

}  // namespace quern
