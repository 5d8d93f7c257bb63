#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// Where a server is.
struct Url {
  bool tls = false;
  std::string host;  // a name, an IPv4 address, or an IPv6 address without its brackets
  uint16_t port = 0;
  std::string path;  // "" or "/..." without a final slash

  /// "http://127.0.0.1:8000/v1"
  std::string text() const;
  /// What the Host header says: "127.0.0.1:8000", "[::1]:8000".
  std::string host_header() const;
  /// Whether it is on this machine by its name alone.
  bool is_loopback() const;
};

/// Reads "http://HOST[:PORT][/PATH]" or https. kUsage for anything else: a user name, a query, a
/// fragment, a character that does not belong there. Source: RFC 3986.
Result<Url> parse_url(std::string_view text);

}  // namespace quern
