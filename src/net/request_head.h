#pragma once

#include <optional>
#include <string>

#include "net/beast.h"
#include "net/http_server.h"

namespace quern {

/// What the parser has made of a request's head, as the handler sees it.
HttpHead to_head(const http::request_header<>& message, std::string remote, int64_t begun_ns);

/// What is wrong with the head of a request, and the status to say it with.
struct BadHead {
  int status = 400;
  std::string why;
};

/// The checks that a parser does not make and two servers in a row may make differently.
std::optional<BadHead> find_fault(const HttpHead& head, bool is_http_11, size_t most_headers);

}  // namespace quern
