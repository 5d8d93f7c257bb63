#include "text/seeded_hash.h"

#include <random>
#include <span>

#include "base/hash.h"

namespace quern {

uint64_t process_hash_seed() {
  static const uint64_t seed = [] {
    std::random_device random;
    return uint64_t{random()} << 32 | random();
  }();
  return seed;
}

uint64_t seeded_hash(std::string_view text) {
  return xxh64(std::as_bytes(std::span(text.data(), text.size())), process_hash_seed());
}

uint64_t seeded_hash(uint64_t number) {
  return xxh64(std::as_bytes(std::span(&number, 1)), process_hash_seed());
}

}  // namespace quern
