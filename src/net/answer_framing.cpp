#include "net/answer_framing.h"

#include <array>
#include <cstdio>

#include "base/cat.h"
#include "base/ensure.h"
#include "net/beast.h"

namespace quern {

namespace {

std::string head_text(int status, const HttpHeaders& headers) {
  std::string text = cat(
      "HTTP/1.1 ", status, " ",
      std::string_view(http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)))),
      "\r\n");
  for (const auto& [name, value] : headers) {
    ENSURE(value.find_first_of("\r\n") == std::string::npos, "header ", name, " has two lines");
    text += cat(name, ": ", value, "\r\n");
  }
  return text + "\r\n";
}

}  // namespace

void AnswerFraming::whole(std::string& out, HttpResponse response) const {
  response.headers.emplace_back("content-length", cat(response.body.size()));
  if (!keep_alive) response.headers.emplace_back("connection", "close");
  out += head_text(response.status, response.headers);
  if (!without_body) out += response.body;
}

void AnswerFraming::begin(std::string& out, int status, HttpHeaders headers) {
  chunked = is_http_11;
  if (chunked) {
    headers.emplace_back("transfer-encoding", "chunked");
  } else {
    keep_alive = false;
  }
  if (!keep_alive) headers.emplace_back("connection", "close");
  out += head_text(status, headers);
}

void AnswerFraming::piece(std::string& out, std::string_view bytes) const {
  if (bytes.empty() || without_body) return;
  if (chunked) {
    std::array<char, 24> size;
    const int length = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
    out.append(size.data(), static_cast<size_t>(length));
  }
  out += bytes;
  if (chunked) out += "\r\n";
}

void AnswerFraming::end(std::string& out) const {
  if (chunked && !without_body) out += "0\r\n\r\n";
}

}  // namespace quern
