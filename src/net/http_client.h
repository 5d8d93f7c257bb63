#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/event_loop.h"
#include "net/url.h"

namespace quern {

struct HttpRequest {
  std::string method = "GET";
  std::string path;  // below the path of the client's url
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
};

/// Hears how an exchange goes, on the loop's thread; times by steady_clock(). It must outlive the
/// exchange or its abort().
class HttpListener {
 public:
  virtual ~HttpListener() = default;
  /// A new connection was made for it, TLS included; not called where a kept one is used.
  virtual void on_connected(int64_t now_ns) { (void)now_ns; }
  /// The system is handed the request's bytes now; once more where a kept connection turns out to
  /// have been closed and a new one carries the request.
  virtual void on_sent(int64_t now_ns) { (void)now_ns; }
  virtual void on_head(int status, int64_t now_ns) { (void)status, (void)now_ns; }
  /// Part of the body, as it came.
  virtual void on_body(std::string_view bytes, int64_t now_ns) = 0;
  /// The last call: the answer is whole, or what went wrong.
  virtual void on_end(Result<void> outcome, int64_t now_ns) = 0;
};

struct HttpClientOptions {
  bool verify_certificate = true;
  int64_t connect_timeout_ms = 5'000;
  int64_t idle_timeout_ms = 600'000;  // without a byte of the answer
  uint64_t most_header_bytes = 64 << 10;
};

/// Sends requests to one server over connections that are kept and used again, as many at once as
/// were started. Everything happens on the loop's thread.
class HttpClient {
 public:
  HttpClient(EventLoop& loop, Url url, HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Looks the host up, waiting for it, so that no request has to. kSystem where there is none.
  Result<void> find_host();
  /// The exchange's number.
  uint64_t start(HttpRequest request, HttpListener& listener);
  /// Closes the connection of an exchange: its listener is not called again. Any number of times.
  void abort(uint64_t exchange);

  int64_t num_connections() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// One request whose answer is waited for, in a loop of its own; the body at most `most_bytes`.
struct HttpAnswer {
  int status = 0;
  std::string body;
};
Result<HttpAnswer> fetch_http(const Url& url, HttpRequest request, uint64_t most_bytes,
                              HttpClientOptions options = {});

}  // namespace quern
