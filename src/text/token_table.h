#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quern {

struct TokenEntry {
  std::string_view text;
  int64_t id;
};

/// The texts of a vocabulary in both directions. Immutable after build().
class TokenTable {
 public:
  TokenTable() = default;
  /// Copies the texts. Fails with kBadFile where a text stands twice, an id is negative, above
  /// 2^31 - 2, or so far beyond the number of entries that the file must be wrong.
  static Result<TokenTable> build(std::span<const TokenEntry> entries, std::string_view what);

  /// The id of a text, or -1.
  int32_t find(std::string_view text) const;
  /// The text of an id; nothing for an id that has none. Where two texts have one id, the first.
  std::optional<std::string_view> text(int32_t id) const;

  /// Calls visit(text, id) for every entry, in no order.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const Slot& slot : slots_) {
      if (slot.id >= 0) visit(text_of(slot), slot.id);
    }
  }

  size_t num_tokens() const { return num_tokens_; }
  /// The largest id + 1; 0 if there are none.
  int32_t id_limit() const { return static_cast<int32_t>(by_id_.size()); }

 private:
  struct Slot {
    uint64_t begin;
    uint32_t size;
    int32_t id;  // -1: free
  };
  std::string_view text_of(const Slot& slot) const {
    return std::string_view(texts_).substr(slot.begin, slot.size);
  }
  size_t slot_for(std::string_view text) const;

  std::string texts_;
  std::vector<Slot> slots_;     // open addressing, a power of two, at most half full
  std::vector<int32_t> by_id_;  // index into slots_, -1 for an id without a text
  size_t num_tokens_ = 0;
};

}  // namespace quern
