#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// A set of texts with ids that finds the longest one at a place of another text. A sorted list:
/// each further byte narrows a range of it, so that it costs no memory beside the texts.
class PrefixTable {
 public:
  struct Entry {
    std::string text;  // not empty
    int32_t id;
  };
  struct Match {
    size_t size = 0;  // 0: none
    int32_t id = -1;
  };

  PrefixTable() = default;
  /// Of equal texts the first is kept; the caller refuses them where they are an error.
  explicit PrefixTable(std::vector<Entry> entries);

  bool empty() const { return entries_.empty(); }
  /// True if some entry begins with this byte: a cheap test before longest_at().
  bool may_start(char byte) const { return first_[static_cast<unsigned char>(byte)].size != 0; }
  /// The longest entry that text.substr(at) begins with. Adds the bytes looked at to `work`.
  Match longest_at(std::string_view text, size_t at, uint64_t& work) const;

 private:
  struct Range {
    uint32_t begin = 0;
    uint32_t size = 0;
  };
  std::vector<Entry> entries_;         // sorted by text
  std::array<Range, 256> first_ = {};  // the entries that begin with each byte
};

}  // namespace quern
