#include "net/request_head.h"

#include <algorithm>

#include "base/cat.h"

namespace quern {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

}  // namespace

const std::string* HttpHead::header(std::string_view name) const {
  const auto found = std::ranges::find(headers, name, &HttpHeaders::value_type::first);
  return found == headers.end() ? nullptr : &found->second;
}

HttpHead to_head(const http::request_header<>& message, std::string remote, int64_t begun_ns) {
  HttpHead head{.method = std::string(message.method_string()),
                .path = std::string(message.target()),
                .query = {},
                .headers = {},
                .remote = std::move(remote),
                .begun_ns = begun_ns};
  if (const size_t mark = head.path.find('?'); mark != std::string::npos) {
    head.query = head.path.substr(mark + 1);
    head.path.resize(mark);
  }
  for (const auto& field : message) {
    head.headers.emplace_back(lower(std::string_view(field.name_string())),
                              std::string(field.value()));
  }
  return head;
}

std::optional<BadHead> find_fault(const HttpHead& head, bool is_http_11, size_t most_headers) {
  if (head.headers.size() > most_headers) {
    return BadHead{431, cat("the request has ", head.headers.size(), " headers, at most ",
                            most_headers, " are taken")};
  }
  if (!head.path.starts_with('/')) {
    return BadHead{400, "the request's target is not a path that begins with \"/\""};
  }
  const auto count = [&](std::string_view name) {
    return std::ranges::count(head.headers, name, &HttpHeaders::value_type::first);
  };
  if (count("host") > 1 || (is_http_11 && count("host") == 0)) {
    return BadHead{400, "the request must have exactly one Host header"};
  }
  if (count("content-length") > 1) {
    return BadHead{400, "the request has several Content-Length headers"};
  }
  if (count("transfer-encoding") > 1) {
    return BadHead{400, "the request has several Transfer-Encoding headers"};
  }
  if (const std::string* length = head.header("content-length");
      length != nullptr && length->find_first_not_of("0123456789") != std::string::npos) {
    return BadHead{400, "the request's Content-Length is not one number"};
  }
  const std::string* coding = head.header("transfer-encoding");
  if (coding != nullptr && head.header("content-length") != nullptr) {
    return BadHead{400, "the request has both Content-Length and Transfer-Encoding"};
  }
  if (coding != nullptr && (lower(*coding) != "chunked" || !is_http_11)) {
    return BadHead{400, "the only Transfer-Encoding taken is \"chunked\", in HTTP/1.1"};
  }
  if (const std::string* content = head.header("content-encoding");
      content != nullptr && lower(*content) != "identity") {
    return BadHead{415, "a body with a Content-Encoding is not taken; send it as it is"};
  }
  if (const std::string* expect = head.header("expect");
      expect != nullptr && lower(*expect) != "100-continue") {
    return BadHead{417, "the only expectation that can be met is 100-continue"};
  }
  return std::nullopt;
}

}  // namespace quern
