#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/event_loop.h"

namespace quern {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// The head of a request that has been read and checked: exactly one Host, at most one length, no
/// header that two readers could read differently.
struct HttpHead {
  std::string method;
  std::string path;      // percent-encoding as it came
  std::string query;     // after the "?"
  HttpHeaders headers;   // names in lower case
  std::string remote;    // "127.0.0.1:50000"
  int64_t begun_ns = 0;  // when its first byte came, by steady_clock()

  /// The value of a header, by its name in lower case; nullptr where there is none.
  const std::string* header(std::string_view name) const;
};

/// A whole answer.
struct HttpResponse {
  int status = 200;
  HttpHeaders headers = {};
  std::string body = {};
};

/// Where the answer to one request goes: one send(), or begin(), any number of write() and then
/// finish() or cut(). Everything on the loop's thread. After the client has left, and after the
/// answer has ended, every call is without effect.
class HttpReply {
 public:
  virtual ~HttpReply() = default;
  virtual void send(HttpResponse response) = 0;
  /// A body in chunks, sent as they are written.
  virtual void begin(int status, HttpHeaders headers) = 0;
  virtual void write(std::string_view bytes) = 0;
  virtual void finish() = 0;
  /// Ends the connection without the last chunk, and TLS without its goodbye, once what was written
  /// has gone out: the client sees that the answer is not whole.
  virtual void cut() = 0;
  /// Bytes written that the system has not taken yet.
  virtual uint64_t unsent_bytes() const = 0;
  /// What is to happen when the client leaves, or ends its side, before the answer is whole.
  virtual void on_gone(std::function<void()> call) = 0;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Before the body is read: an answer given here refuses the request, and its body is not read.
  virtual std::optional<HttpResponse> on_head(const HttpHead& head) = 0;
  virtual void on_request(HttpHead head, std::string body, std::shared_ptr<HttpReply> reply) = 0;
  /// The answer to what is no request, or is too large, in the shape of the handler's other errors.
  virtual HttpResponse on_bad_request(int status, std::string_view why) = 0;
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";  // an address, or a name that has one
  uint16_t port = 0;               // 0: a free one
  uint32_t most_header_bytes = 64 << 10;
  size_t most_headers = 100;
  uint64_t most_body_bytes = 32 << 20;
  uint64_t most_body_bytes_at_once = 256 << 20;  // of all connections together
  int64_t header_timeout_ms = 10'000;
  int64_t body_timeout_ms = 30'000;
  int64_t idle_timeout_ms = 60'000;
  int64_t send_timeout_ms = 30'000;  // for what one write holds to be taken
  int64_t most_connections = 16'384;
  std::string certificate_file = {}, key_file = {};  // PEM; both: TLS 1.2 or 1.3
};

/// An HTTP/1.1 server on one thread (RFC 9110 and 9112). A request whose length can be read in two
/// ways is refused, and its connection ends.
class HttpServer {
 public:
  /// kSystem where the address cannot be listened on, kNotFound or kBadFile for the certificate.
  /// `loop` and `handler` must outlive the server.
  static Result<std::unique_ptr<HttpServer>> listen(EventLoop& loop, HttpServerOptions options,
                                                    HttpHandler& handler);
  /// Closes what is open; no handler is called any more.
  ~HttpServer();

  uint16_t port() const;
  int64_t num_connections() const;
  /// Takes no new connection; those that are idle go, the others after their answer.
  void stop_accepting();

  struct Impl;

 private:
  explicit HttpServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace quern
