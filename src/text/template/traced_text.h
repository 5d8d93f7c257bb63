#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quern::jinja {

/// Who wrote a byte: the template (or the caller's own tokens), or the user whose messages and
/// tools are rendered.
enum class Origin : uint8_t { kTemplate, kVariables };

/// UTF-8 text that knows the origin of every byte. Every operation of the interpreter builds its
/// result from pieces of such texts, so the origin follows the bytes through it.
///
/// `edges_` holds the offsets where the origin changes, ascending; text starts as kTemplate. Text
/// of the template alone has none, text of a user alone has the one edge 0.
class TracedText {
 public:
  TracedText() = default;
  explicit TracedText(std::string_view bytes, Origin origin = Origin::kTemplate) {
    append(bytes, origin);
  }

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  const std::vector<uint32_t>& edges() const { return edges_; }
  /// What it occupies, for the account of a rendering.
  size_t num_bytes() const { return bytes_.capacity() + edges_.capacity() * sizeof(uint32_t); }

  Origin origin_at(size_t offset) const;

  void reserve(size_t size) { bytes_.reserve(size); }
  void append(std::string_view bytes, Origin origin = Origin::kTemplate);
  void append(const TracedText& other);
  /// The bytes [begin, end) of `other`.
  void append(const TracedText& other, size_t begin, size_t end);

  TracedText slice(size_t begin, size_t end) const;

 private:
  Origin last_origin() const {
    return edges_.size() % 2 == 0 ? Origin::kTemplate : Origin::kVariables;
  }

  std::string bytes_;
  std::vector<uint32_t> edges_;
};

}  // namespace quern::jinja
