#include "text/prefix_table.h"

#include <algorithm>
#include <utility>

namespace quern {

PrefixTable::PrefixTable(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.text < b.text; });
  const auto last = std::unique(entries_.begin(), entries_.end(),
                                [](const Entry& a, const Entry& b) { return a.text == b.text; });
  entries_.erase(last, entries_.end());
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    Range& range = first_[static_cast<unsigned char>(entries_[i].text[0])];
    if (range.size++ == 0) range.begin = i;
  }
}

PrefixTable::Match PrefixTable::longest_at(std::string_view text, size_t at, uint64_t& work) const {
  Match best;
  const Range& start = first_[static_cast<unsigned char>(text[at])];
  auto low = entries_.begin() + start.begin;
  auto high = low + start.size;
  for (size_t depth = 1; low != high; ++depth) {
    // All of [low, high) begin with text[at, at + depth); the shortest of them stands first.
    ++work;
    if (low->text.size() == depth) {
      best = {depth, low->id};
      ++low;
    }
    if (low == high || at + depth >= text.size()) break;
    const auto byte = static_cast<unsigned char>(text[at + depth]);
    low = std::lower_bound(low, high, byte, [&](const Entry& entry, unsigned char wanted) {
      return static_cast<unsigned char>(entry.text[depth]) < wanted;
    });
    high = std::upper_bound(low, high, byte, [&](unsigned char wanted, const Entry& entry) {
      return wanted < static_cast<unsigned char>(entry.text[depth]);
    });
  }
  return best;
}

}  // namespace quern
