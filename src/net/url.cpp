#include "net/url.h"

#include <algorithm>

#include "base/cat.h"
#include "base/numbers.h"

namespace quern {

namespace {

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Error bad_url(std::string_view text, std::string_view why) {
  return Error{
      .code = ErrorCode::kUsage,
      .message = cat("url \"", text, "\": ", why, "; wanted http://HOST[:PORT][/PATH], or https"),
      .what = "url",
      .found = std::string(text),
      .wanted = "http://HOST[:PORT][/PATH]"};
}

}  // namespace

bool Url::is_loopback() const {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::string Url::host_header() const {
  return cat(host.find(':') == std::string::npos ? host : cat("[", host, "]"), ":", port);
}

std::string Url::text() const { return cat(tls ? "https://" : "http://", host_header(), path); }

Result<Url> parse_url(std::string_view text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    url.tls = true;
  } else {
    return bad_url(text, "begins with neither http:// nor https://");
  }
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = rest.substr(slash);

  std::string_view host;
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return bad_url(text, "has an address without its \"]\"");
    host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
    const bool right = std::ranges::all_of(host, [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ||
             c == ':' || c == '.';
    });
    if (host.empty() || !right) return bad_url(text, "has no IPv6 address between the brackets");
  } else {
    const size_t end = std::min(authority.find(':'), authority.size());
    host = authority.substr(0, end);
    authority.remove_prefix(end);
    const bool right = std::ranges::all_of(
        host, [](char c) { return is_alphanumeric(c) || c == '.' || c == '-' || c == '_'; });
    if (host.empty() || !right) return bad_url(text, "has no name or address of a host");
  }
  url.host = host;
  url.port = url.tls ? 443 : 80;
  if (!authority.empty()) {
    const std::optional<int64_t> port =
        authority.starts_with(':') ? parse_integer<int64_t>(authority.substr(1)) : std::nullopt;
    if (!port || *port < 1 || *port > 65535) return bad_url(text, "has no port from 1 to 65535");
    url.port = static_cast<uint16_t>(*port);
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  const bool right = std::ranges::all_of(path, [](char c) {
    return is_alphanumeric(c) ||
           std::string_view("/-._~%!$&'()*+,;=:@").find(c) != std::string_view::npos;
  });
  if (!right) return bad_url(text, "has a path with a character that belongs in no path");
  url.path = path;
  return url;
}

}  // namespace quern
