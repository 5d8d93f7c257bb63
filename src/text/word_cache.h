#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace quern {

/// Remembers the ids of short words. Fixed size: a word takes the slot its hash points at, from
/// whoever had it. Threads share it; each group of slots has its own lock, held for a copy.
class WordCache {
 public:
  WordCache() : slots_(kNumSlots) {}

  /// Adds the ids of `word` to `ids`; false if it is not there.
  bool find(std::string_view word, std::vector<int32_t>& ids) {
    if (word.size() > kMaxBytes) return false;
    const size_t at = slot_of(word);
    const std::lock_guard lock(locks_[at % kNumLocks]);
    const Slot& slot = slots_[at];
    if (slot.size != word.size() || std::memcmp(slot.word, word.data(), word.size()) != 0) {
      return false;
    }
    ids.insert(ids.end(), slot.ids, slot.ids + slot.num_ids);
    return true;
  }

  void put(std::string_view word, std::span<const int32_t> ids) {
    if (word.empty() || word.size() > kMaxBytes || ids.size() > kMaxIds) return;
    const size_t at = slot_of(word);
    const std::lock_guard lock(locks_[at % kNumLocks]);
    Slot& slot = slots_[at];
    std::memcpy(slot.word, word.data(), word.size());
    slot.size = static_cast<uint8_t>(word.size());
    std::memcpy(slot.ids, ids.data(), ids.size_bytes());
    slot.num_ids = static_cast<uint8_t>(ids.size());
  }

 private:
  static constexpr size_t kNumSlots = 1 << 14;
  static constexpr size_t kNumLocks = 64;
  static constexpr size_t kMaxBytes = 46;
  static constexpr size_t kMaxIds = 12;

  struct Slot {
    char word[kMaxBytes];
    uint8_t size = 0;  // 0: free
    uint8_t num_ids = 0;
    int32_t ids[kMaxIds];
  };

  static size_t slot_of(std::string_view word) {
    return xxh64(std::as_bytes(std::span(word.data(), word.size()))) % kNumSlots;
  }

  std::vector<Slot> slots_;
  std::array<std::mutex, kNumLocks> locks_;
};

}  // namespace quern
