#pragma once

#include <string>
#include <string_view>

#include "net/http_server.h"

namespace quern {

/// How the answer to one request goes over the wire (RFC 9112): its body whole, in chunks, or up to
/// the end of the connection. Each call adds bytes to `out`.
struct AnswerFraming {
  bool is_http_11 = true;     // what the request spoke
  bool keep_alive = true;     // another request may follow
  bool without_body = false;  // HEAD asked for the head alone
  bool chunked = false;       // since begin()

  void whole(std::string& out, HttpResponse response) const;
  void begin(std::string& out, int status, HttpHeaders headers);
  void piece(std::string& out, std::string_view bytes) const;
  void end(std::string& out) const;
};

}  // namespace quern
