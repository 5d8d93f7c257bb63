#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "text/seeded_hash.h"

namespace quern {

/// One rule of byte pair encoding: the neighbours `left` and `right` become `result`. Of the rules
/// that apply, the lowest rank goes first; of equal ranks, the one further left in the word.
struct Merge {
  int32_t left, right;
  uint32_t rank;
  int32_t result;
};

/// The merges of a model by their pair. Where a pair stands twice, the later one holds.
class MergeTable {
 public:
  struct Found {
    uint32_t rank;
    int32_t result;  // -1: no such merge
  };

  MergeTable() = default;
  explicit MergeTable(const std::vector<Merge>& merges)
      : slots_(std::bit_ceil(2 * merges.size() + 2), Slot{kFree, {0, -1}}),
        multiplier_(process_hash_seed() | 1),
        shift_(64 - std::countr_zero(slots_.size())) {
    for (const Merge& merge : merges) {
      Slot& slot = slots_[slot_for(key_of(merge.left, merge.right))];
      slot = {key_of(merge.left, merge.right), {merge.rank, merge.result}};
    }
  }

  Found find(int32_t left, int32_t right) const {
    return slots_.empty() ? Found{0, -1} : slots_[slot_for(key_of(left, right))].found;
  }

 private:
  struct Slot {
    uint64_t key;
    Found found;
  };
  static constexpr uint64_t kFree = ~uint64_t{0};  // ids are not negative

  static uint64_t key_of(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_for(uint64_t key) const {
    // Multiply-shift hashing (Dietzfelbinger et al. 1997): for any pairs, few multipliers are bad.
    const size_t mask = slots_.size() - 1;
    size_t at = (key * multiplier_) >> shift_;
    while (slots_[at].key != key && slots_[at].key != kFree) at = (at + 1) & mask;
    return at;
  }

  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  uint64_t multiplier_ = 1;  // odd
  int shift_ = 0;            // leaves as many bits as the slots need
};

}  // namespace quern
