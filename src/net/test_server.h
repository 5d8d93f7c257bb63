// A server for tests, on a thread of its own, and a client that is only a socket.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/cat.h"
#include "base/ensure.h"
#include "net/http_server.h"
#include "net/url.h"

namespace quern {

/// Answers by the path of the request.
class TestHandler final : public HttpHandler {
 public:
  std::optional<HttpResponse> on_head(const HttpHead& head) override {
    if (head.path == "/locked") return HttpResponse{.status = 401, .body = "no"};
    return std::nullopt;
  }
  void on_request(HttpHead head, std::string body, std::shared_ptr<HttpReply> reply) override {
    ++requests;
    if (head.path == "/stream") {
      reply->begin(200, {{"content-type", "text/event-stream"}});
      for (const char* piece : {"one ", "", "two ", "three"}) reply->write(piece);
      reply->finish();
      reply->write("after the end");
    } else if (head.path == "/cut") {
      reply->begin(200, {});
      reply->write("half");
      reply->cut();
    } else if (head.path == "/forget") {
      // The reply goes without an answer.
    } else if (head.path == "/wait") {
      reply->on_gone([this] { ++gone; });
      held.push_back(std::move(reply));
    } else if (head.path == "/flood") {
      reply->begin(200, {});
      reply->write(std::string(16 << 20, 'x'));
      reply->on_gone([this] { ++gone; });
      held.push_back(std::move(reply));
    } else {
      reply->send({.status = 200,
                   .headers = {{"x-query", head.query}},
                   .body = cat(head.method, " ", head.path, " ", body)});
    }
  }
  HttpResponse on_bad_request(int status, std::string_view why) override {
    return {.status = status, .body = std::string(why)};
  }

  std::atomic<int> requests = 0, gone = 0;
  std::vector<std::shared_ptr<HttpReply>> held;
};

/// A server with a loop and a thread of its own.
class TestServer {
 public:
  explicit TestServer(HttpServerOptions options = {}) {
    std::promise<void> ready;
    thread_ = std::thread([this, options, &ready] {
      auto listening = HttpServer::listen(loop_, options, handler);
      ENSURE(listening.has_value(), listening ? "" : listening.error().message);
      server_ = *std::move(listening);
      port_ = server_->port();
      ready.set_value();
      loop_.run();
      server_.reset();
      handler.held.clear();
    });
    ready.get_future().wait();
  }
  ~TestServer() {
    loop_.stop();
    thread_.join();
  }

  uint16_t port() const { return port_; }
  Url url(bool tls = false) const {
    return {.tls = tls, .host = "127.0.0.1", .port = port_, .path = ""};
  }
  /// Runs a call on the loop's thread and waits for it.
  template <typename Call>
  auto ask(Call call) {
    std::packaged_task<decltype(call(*server_))()> task([&] { return call(*server_); });
    auto answer = task.get_future();
    loop_.post([&] { task(); });
    return answer.get();
  }
  /// Waits until something is so; false after ten seconds.
  template <typename Condition>
  bool comes_true(Condition condition) {
    for (int i = 0; i < 10'000; ++i) {
      if (ask([&](HttpServer&) { return condition(); })) return true;
      std::this_thread::yield();
      ::usleep(1000);
    }
    return false;
  }

  TestHandler handler;

 private:
  EventLoop loop_;
  std::unique_ptr<HttpServer> server_;
  uint16_t port_ = 0;
  std::thread thread_;
};

/// A socket of bytes.
class RawClient {
 public:
  explicit RawClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~RawClient() { close(); }

  void end_sending() { ::shutdown(socket_, SHUT_WR); }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  /// Ends the connection as a host does that knows nothing of it any more.
  void reset() {
    const linger none{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close();
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  /// Up to the end of the connection, or until the text ends with `end`, or has so many bytes.
  std::string receive(std::string_view end = {}, size_t most = SIZE_MAX) {
    std::string text;
    char bytes[4096];
    while (text.size() < most) {
      const ssize_t size = ::recv(socket_, bytes, std::min(sizeof bytes, most - text.size()), 0);
      if (size <= 0) break;
      text.append(bytes, static_cast<size_t>(size));
      if (!end.empty() && text.ends_with(end)) break;
    }
    return text;
  }

 private:
  int socket_;
};

inline int status_of(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::atoi(answer.c_str() + 9) : 0;
}

}  // namespace quern
