#include "text/token_table.h"

#include <algorithm>
#include <bit>

#include "text/seeded_hash.h"

namespace quern {

namespace {

/// Ids may have holes, but an array over all ids must stay in proportion to the file.
int64_t largest_plausible_id(size_t entries) {
  return 1'000'000 + 8 * static_cast<int64_t>(entries);
}

Error bad_entry(std::string_view what, std::string message) {
  return Error{
      .code = ErrorCode::kBadFile, .message = cat(what, ": ", message), .what = std::string(what)};
}

}  // namespace

size_t TokenTable::slot_for(std::string_view text) const {
  const size_t mask = slots_.size() - 1;
  size_t at = seeded_hash(text) & mask;
  while (slots_[at].id >= 0 && text_of(slots_[at]) != text) at = (at + 1) & mask;
  return at;
}

Result<TokenTable> TokenTable::build(std::span<const TokenEntry> entries, std::string_view what) {
  TokenTable table;
  int64_t largest = -1;
  uint64_t bytes = 0;
  for (const TokenEntry& entry : entries) {
    if (entry.id < 0 || entry.id > largest_plausible_id(entries.size()) ||
        entry.id > INT32_MAX - 1) {
      return bad_entry(what, cat("token \"", entry.text.substr(0, 80), "\" has id ", entry.id,
                                 ", wanted 0 or more and near the ", entries.size(),
                                 " entries of the vocabulary"));
    }
    if (entry.text.size() > UINT32_MAX) return bad_entry(what, "a token is larger than 4 GiB");
    largest = std::max(largest, entry.id);
    bytes += entry.text.size();
  }
  table.texts_.reserve(bytes);
  table.slots_.assign(std::bit_ceil(2 * entries.size() + 2), Slot{0, 0, -1});
  table.by_id_.assign(static_cast<size_t>(largest + 1), -1);
  for (const TokenEntry& entry : entries) {
    const size_t at = table.slot_for(entry.text);
    if (table.slots_[at].id >= 0) {
      return bad_entry(what, cat("token \"", entry.text.substr(0, 80), "\" stands twice, as ",
                                 table.slots_[at].id, " and as ", entry.id));
    }
    const auto id = static_cast<int32_t>(entry.id);
    table.slots_[at] = {table.texts_.size(), static_cast<uint32_t>(entry.text.size()), id};
    table.texts_ += entry.text;
    int32_t& first = table.by_id_[static_cast<size_t>(id)];
    if (first < 0) first = static_cast<int32_t>(at);
  }
  table.num_tokens_ = entries.size();
  return table;
}

int32_t TokenTable::find(std::string_view text) const {
  return slots_.empty() ? -1 : slots_[slot_for(text)].id;
}

std::optional<std::string_view> TokenTable::text(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= by_id_.size()) return std::nullopt;
  const int32_t slot = by_id_[static_cast<size_t>(id)];
  if (slot < 0) return std::nullopt;
  return text_of(slots_[static_cast<size_t>(slot)]);
}

}  // namespace quern
