#include "text/template/escape.h"

namespace quern::jinja {

void append_escaped(TextBuilder& out, const TracedText& text) {
  const std::string_view bytes = text.bytes();
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string_view entity;
    switch (bytes[at]) {
      case '&':
        entity = "&amp;";
        break;
      case '<':
        entity = "&lt;";
        break;
      case '>':
        entity = "&gt;";
        break;
      case '"':
        entity = "&#34;";
        break;
      case '\'':
        entity = "&#39;";
        break;
      default:
        continue;
    }
    out.append(text, begin, at);
    out.append(entity, text.origin_at(at));
    begin = at + 1;
  }
  out.append(text, begin, bytes.size());
}

}  // namespace quern::jinja
