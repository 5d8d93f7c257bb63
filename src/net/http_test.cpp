// Client and server against each other, and the server against bytes that no client of ours sends,
// over real sockets of this machine.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "base/cat.h"
#include "base/clock.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/test_certificate.h"

namespace quern {
namespace {

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
  ~RawClient() { ::close(socket_); }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  /// Up to the end of the connection, or until the text ends with `end`.
  std::string receive(std::string_view end = {}) {
    std::string text;
    char bytes[4096];
    while (true) {
      const ssize_t size = ::recv(socket_, bytes, sizeof bytes, 0);
      if (size <= 0) return text;
      text.append(bytes, static_cast<size_t>(size));
      if (!end.empty() && text.ends_with(end)) return text;
    }
  }

 private:
  int socket_;
};

int status_of(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::atoi(answer.c_str() + 9) : 0;
}

/// Collects one exchange.
class Collected final : public HttpListener {
 public:
  explicit Collected(EventLoop& loop) : loop_(loop) {}
  void on_head(int code, int64_t) override { status = code; }
  void on_body(std::string_view bytes, int64_t) override { body += bytes; }
  void on_end(Result<void> result, int64_t) override {
    outcome = std::move(result);
    ended = true;
    loop_.stop();
  }

  int status = 0;
  std::string body;
  Result<void> outcome;
  bool ended = false;

 private:
  EventLoop& loop_;
};

TEST(Http, AClientHearsWhatTheServerSays) {
  TestServer server;
  const std::string body(1 << 20, 'b');
  const auto answer =
      fetch_http(server.url(), {.method = "POST", .path = "/echo?a=1", .body = body}, 2 << 20);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "POST /echo " + body);
}

TEST(Http, AnAnswerLongerThanWasAskedForIsAnError) {
  TestServer server;
  EXPECT_FALSE(fetch_http(server.url(), {.method = "POST", .path = "/e", .body = "12345"}, 8));
}

TEST(Http, AConnectionIsUsedAgain) {
  TestServer server;
  EventLoop loop;
  HttpClient client(loop, server.url());
  for (int i = 0; i < 5; ++i) {
    Collected heard(loop);
    client.start({.path = "/echo"}, heard);
    loop.run();
    EXPECT_TRUE(heard.outcome);
    EXPECT_EQ(heard.body, "GET /echo ");
  }
  EXPECT_EQ(server.ask([](HttpServer& s) { return s.num_connections(); }), 1);
}

TEST(Http, AStreamComesWholeAndNothingComesAfterItsEnd) {
  TestServer server;
  const auto answer = fetch_http(server.url(), {.path = "/stream"}, 1000);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "one two three");
  RawClient old(server.port());
  old.send("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.receive().ends_with("\r\n\r\none two three"));
}

TEST(Http, AnAnswerThatIsCutIsNoAnswer) {
  TestServer server;
  EXPECT_FALSE(fetch_http(server.url(), {.path = "/cut"}, 1000));
  EXPECT_FALSE(fetch_http(server.url(), {.path = "/forget"}, 1000));
  RawClient raw(server.port());
  raw.send("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(raw.receive().ends_with("4\r\nhalf\r\n"));
}

TEST(Http, AServerThatIsNotThereIsNamed) {
  uint16_t port = 0;
  {
    TestServer server;
    port = server.port();
  }
  const auto answer = fetch_http({.host = "127.0.0.1", .port = port, .path = ""}, {}, 10);
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message.find(cat(port)), std::string::npos) << answer.error().message;
}

TEST(Http, APortInUseIsRefusedByName) {
  TestServer server;
  EventLoop loop;
  TestHandler handler;
  const auto second = HttpServer::listen(loop, {.port = server.port()}, handler);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kSystem);
  EXPECT_NE(second.error().message.find(cat(server.port())), std::string::npos);
}

TEST(Http, WhatCanBeReadInTwoWaysIsRefused) {
  TestServer server;
  const std::string head = "POST /echo HTTP/1.1\r\nHost: h\r\n";
  const struct {
    std::string text;
    int status;
  } cases[] = {
      {head + "Content-Length: 3\r\n\r\nabc", 200},
      {head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
      {head + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
      {head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400},
      {head + "Content-Length: 3, 3\r\n\r\nabc", 400},
      {head + "Content-Length: +3\r\n\r\nabc", 400},
      {head + "Content-Length: -3\r\n\r\nabc", 400},
      {head + "Content-Length: 0x3\r\n\r\nabc", 400},
      {head + "Content-Length: 99999999999999999999\r\n\r\n", 400},
      {head + "Content-Length: 4294967296\r\n\r\n", 413},
      {head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
      {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {head + "Transfer-Encoding: gzip\r\n\r\nabc", 400},
      {head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
      {head + "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400},
      {head + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400},
      {head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc", 400},
      {head + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", 415},
      {head + "Expect: miracles\r\nContent-Length: 3\r\n\r\nabc", 417},
      {head + "Content-Length : 3\r\n\r\nabc", 400},
      {head + "Host: other\r\n\r\n", 400},
      {"GET /echo HTTP/1.1\r\n\r\n", 400},
      {"GET echo HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://h/echo HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /echo HTTP/2.0\r\nHost: h\r\n\r\n", 400},
      {"GET /echo\r\n\r\n", 400},
      {"\x16\x03\x01\x02\x00 a TLS greeting\r\n\r\n", 400},
      {head + "X: " + std::string(70'000, 'x') + "\r\n\r\n", 431},
      {head +
           [] {
             std::string many;
             for (int i = 0; i < 120; ++i) many += cat("X-", i, ": 1\r\n");
             return many;
           }() +
           "\r\n",
       431},
      {"GET /locked HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", 401},
  };
  for (const auto& wanted : cases) {
    RawClient raw(server.port());
    raw.send(wanted.text);
    const std::string answer = raw.receive(wanted.status == 200 ? "abc" : "");
    EXPECT_EQ(status_of(answer), wanted.status) << wanted.text.substr(0, 200) << "\n" << answer;
  }
}

TEST(Http, ARequestMeansTheSameHoweverItIsCut) {
  TestServer server;
  const std::string text =
      "POST /a?b=c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: h\r\n\r\n";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    RawClient raw(server.port());
    raw.send(text.substr(0, cut));
    raw.send(text.substr(cut));
    const std::string answer = raw.receive("GET /second ");
    EXPECT_NE(answer.find("POST /a abcdefg"), std::string::npos) << cut;
    EXPECT_TRUE(answer.ends_with("GET /second ")) << cut << answer;
  }
}

TEST(Http, AClientIsToldToGoOnBeforeALargeBody) {
  TestServer server;
  RawClient raw(server.port());
  raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(raw.receive("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  raw.send("abc");
  EXPECT_EQ(status_of(raw.receive("abc")), 200);
}

TEST(Http, WhatStandsAroundChunksIsBounded) {
  TestServer server;
  RawClient raw(server.port());
  raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=" +
           std::string(1 << 20, 'x'));
  EXPECT_EQ(status_of(raw.receive()), 431);
}

TEST(Http, AHeadRequestGetsNoBody) {
  TestServer server;
  RawClient raw(server.port());
  raw.send("HEAD /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string answer = raw.receive();
  EXPECT_NE(answer.find("content-length: 11\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
}

TEST(Http, AClientThatLeavesIsNoticed) {
  TestServer server;
  {
    RawClient raw(server.port());
    raw.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_TRUE(server.comes_true([&] { return server.handler.requests == 1; }));
    EXPECT_EQ(server.handler.gone, 0);
  }
  EXPECT_TRUE(server.comes_true([&] { return server.handler.gone == 1; }));

  // Whatever it has sent after its request.
  {
    RawClient raw(server.port());
    raw.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_TRUE(server.comes_true([&] { return server.handler.requests == 2; }));
  }
  EXPECT_TRUE(server.comes_true([&] { return server.handler.gone == 2; }));

  EventLoop loop;
  HttpClient client(loop, server.url());
  Collected heard(loop);
  const uint64_t exchange = client.start({.path = "/wait"}, heard);
  loop.at(steady_clock().now_ns() + 50'000'000, [&] { client.abort(exchange); });
  loop.run();
  EXPECT_FALSE(heard.ended);
  EXPECT_TRUE(server.comes_true([&] { return server.handler.gone == 3; }));
  EXPECT_EQ(server.ask([](HttpServer& s) { return s.num_connections(); }), 0);
}

TEST(Http, WhoIsSlowIsSentAway) {
  TestServer server({.header_timeout_ms = 150,
                     .body_timeout_ms = 150,
                     .idle_timeout_ms = 150,
                     .send_timeout_ms = 300});
  RawClient idle(server.port());
  EXPECT_EQ(idle.receive(), "");
  RawClient head(server.port());
  head.send("GET /echo HTTP/1.1\r\nHo");
  EXPECT_EQ(status_of(head.receive()), 408);
  RawClient body(server.port());
  body.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(status_of(body.receive()), 408);
  RawClient reader(server.port());
  reader.send("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n");  // and takes nothing of it
  EXPECT_TRUE(server.comes_true([&] { return server.handler.gone == 1; }));
}

TEST(Http, ConnectionsAboveTheBoundAreTurnedAway) {
  TestServer server({.most_connections = 2});
  RawClient first(server.port()), second(server.port());
  first.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  second.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(server.comes_true([&] { return server.handler.requests == 2; }));
  RawClient third(server.port());
  EXPECT_EQ(status_of(third.receive()), 503);
}

TEST(Http, WhenItStopsAcceptingAnswersStillEnd) {
  TestServer server;
  RawClient idle(server.port()), busy(server.port());
  busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(server.comes_true([&] { return server.handler.requests == 1; }));
  server.ask([](HttpServer& s) { s.stop_accepting(); });
  EXPECT_EQ(idle.receive(), "");
  server.ask([&](HttpServer&) { server.handler.held.front()->send({.body = "late"}); });
  EXPECT_TRUE(busy.receive().ends_with("late"));
}

TEST(Http, TlsCarriesTheSame) {
  const auto folder = std::filesystem::temp_directory_path() / cat("quern-tls-", ::getpid());
  std::filesystem::create_directories(folder);
  const std::string certificate = folder / "cert.pem", key = folder / "key.pem";
  ASSERT_TRUE(write_test_certificate(certificate, key));
  {
    TestServer server({.certificate_file = certificate, .key_file = key});
    const HttpRequest request{.method = "POST", .path = "/echo", .body = std::string(100'000, 'x')};
    const auto unverified =
        fetch_http(server.url(true), request, 1 << 20, {.verify_certificate = false});
    ASSERT_TRUE(unverified) << unverified.error().message;
    EXPECT_EQ(unverified->body, "POST /echo " + request.body);
    // Nobody has signed it but itself.
    EXPECT_FALSE(fetch_http(server.url(true), request, 1 << 20));
    EXPECT_FALSE(fetch_http(server.url(false), request, 1 << 20));
  }
  EventLoop loop;
  TestHandler handler;
  const auto missing =
      HttpServer::listen(loop, {.certificate_file = folder / "none.pem", .key_file = key}, handler);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  const auto swapped =
      HttpServer::listen(loop, {.certificate_file = key, .key_file = certificate}, handler);
  ASSERT_FALSE(swapped);
  EXPECT_EQ(swapped.error().code, ErrorCode::kBadFile);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace quern
