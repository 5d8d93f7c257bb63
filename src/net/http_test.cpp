// Client and server against each other, and the server against bytes that no client of ours sends,
// over real sockets of this machine.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/cat.h"
#include "base/clock.h"
#include "net/http_client.h"
#include "net/test_certificate.h"
#include "net/test_server.h"

namespace quern {
namespace {

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

TEST(Http, WhatIsWrongWithAHeadDoesNotDependOnHowItIsCut) {
  TestServer server({.most_header_bytes = 256});
  const std::string good = "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n";
  const struct {
    std::string text;
    int status;  // 0: the client ends its side before there is anything to say
  } cases[] = {
      {"G\x01T / HTTP/1.1\r\n", 400},
      {"GET / HTTP/1.1\n", 400},
      {"GET /echo HTTP/\n.1\r1Host: h\r\n\r\n\r\n\r\n" + good, 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n", 0},
      {"G\x01T / HTTP", 0},
      // Neither the first line nor the rest is above the bound alone.
      {"GET /" + std::string(150, 'x') + " HTTP/1.1\r\nHost: h\r\nX: " + std::string(150, 'x') +
           "\r\n\r\n",
       431},
      {"\r\n\r\n" + good, 200},
  };
  for (const auto& wanted : cases) {
    for (size_t cut = 0; cut < wanted.text.size(); ++cut) {
      RawClient raw(server.port());
      raw.send(wanted.text.substr(0, cut));
      raw.send(wanted.text.substr(cut));
      raw.end_sending();
      EXPECT_EQ(status_of(raw.receive()), wanted.status) << wanted.text << "\n" << cut;
    }
  }
}

TEST(Http, AnEmptyBodyInChunksMayComeByteByByte) {
  TestServer server;
  RawClient raw(server.port());
  raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (const char* byte = "0\r\n\r\n"; *byte != '\0'; ++byte) {
    raw.send({byte, 1});
    for (int i = 0; i < 3; ++i) server.ask([](HttpServer&) { return 0; });  // it reads meanwhile
  }
  EXPECT_EQ(status_of(raw.receive("POST /echo ")), 200);
}

TEST(Http, LineEndsBetweenRequestsAreNoRequest) {
  TestServer server;
  RawClient raw(server.port());
  for (int i = 0; i < 3; ++i) {
    raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\r\n");
    EXPECT_EQ(status_of(raw.receive("abc")), 200);
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
