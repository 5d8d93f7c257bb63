#include "text/template/traced_text.h"

#include <algorithm>

namespace quern::jinja {

Origin TracedText::origin_at(size_t offset) const {
  const auto after = std::upper_bound(edges_.begin(), edges_.end(), offset);
  return (after - edges_.begin()) % 2 == 0 ? Origin::kTemplate : Origin::kVariables;
}

void TracedText::append(std::string_view bytes, Origin origin) {
  if (bytes.empty()) return;
  if (origin != last_origin()) edges_.push_back(static_cast<uint32_t>(bytes_.size()));
  bytes_ += bytes;
}

void TracedText::append(const TracedText& other) { append(other, 0, other.size()); }

void TracedText::append(const TracedText& other, size_t begin, size_t end) {
  const std::string_view bytes = other.bytes_;
  if (other.edges_.empty()) {
    append(bytes.substr(begin, end - begin), Origin::kTemplate);
    return;
  }
  // By index, because `other` may be this text.
  size_t next = static_cast<size_t>(
      std::upper_bound(other.edges_.begin(), other.edges_.end(), begin) - other.edges_.begin());
  const size_t num_edges = other.edges_.size();
  for (size_t at = begin; at < end; ++next) {
    const size_t stop = next < num_edges ? std::min<size_t>(other.edges_[next], end) : end;
    const Origin origin = next % 2 == 0 ? Origin::kTemplate : Origin::kVariables;
    append(std::string_view(other.bytes_).substr(at, stop - at), origin);
    at = stop;
  }
}

TracedText TracedText::slice(size_t begin, size_t end) const {
  TracedText out;
  out.append(*this, begin, end);
  return out;
}

}  // namespace quern::jinja
