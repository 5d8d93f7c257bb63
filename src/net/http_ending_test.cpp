// How connections end, by the server's side and by a client's at any moment.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>

#include "base/cat.h"
#include "net/beast.h"
#include "net/test_certificate.h"
#include "net/test_server.h"

namespace quern {
namespace {

int64_t num_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

bool empties(TestServer& server) {
  for (int i = 0; i < 10'000; ++i) {
    if (server.ask([](HttpServer& s) { return s.num_connections(); }) == 0) return true;
    ::usleep(1000);
  }
  return false;
}

TEST(HttpEnding, AClientThatEndsItsSideIsAnsweredAtOnceOrNotAtAll) {
  TestServer server;
  RawClient raw(server.port());
  raw.send("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  raw.end_sending();
  EXPECT_TRUE(raw.receive().ends_with("GET /echo "));

  // While an answer is awaited, the end of a side cannot be told from the client's leaving.
  RawClient waiting(server.port());
  waiting.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  waiting.end_sending();
  EXPECT_EQ(waiting.receive(), "");
  EXPECT_TRUE(server.comes_true([&] { return server.handler.gone == 1; }));
  EXPECT_TRUE(empties(server));
}

TEST(HttpEnding, AClientMayLeaveAfterAnyByteOfItsRequest) {
  TestServer server;
  const int64_t descriptors = num_descriptors();
  const std::string request =
      "POST /wait HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n4;a=b\r\ndefg\r\n0\r\nX: y\r\n\r\n";
  for (size_t size = 0; size <= request.size(); ++size) {
    RawClient leaving(server.port());
    leaving.send(request.substr(0, size));
    leaving.close();
    RawClient resetting(server.port());
    resetting.send(request.substr(0, size));
    resetting.reset();
  }
  EXPECT_TRUE(server.comes_true([&] { return server.handler.requests >= 1; }));
  EXPECT_TRUE(empties(server));
  EXPECT_LE(server.handler.requests, 2);
  EXPECT_EQ(server.handler.gone, server.handler.requests);
  EXPECT_EQ(num_descriptors(), descriptors);
}

TEST(HttpEnding, AClientMayResetAfterAnyByteOfItsAnswer) {
  TestServer server;
  const int64_t descriptors = num_descriptors();
  const auto leave_after = [&](const std::string& path, size_t size) {
    RawClient raw(server.port());
    raw.send(cat("GET ", path, " HTTP/1.1\r\nHost: h\r\n\r\n"));
    EXPECT_EQ(raw.receive({}, size).size(), size);
    raw.reset();
  };
  size_t whole = 0;
  {
    RawClient raw(server.port());
    raw.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    whole = raw.receive("\r\n0\r\n\r\n").size();
  }
  for (size_t size = 0; size <= whole; ++size) leave_after("/stream", size);
  for (const size_t size : {0, 1, 1000, 1'000'000, 5'000'000}) leave_after("/flood", size);
  EXPECT_TRUE(server.comes_true([&] { return server.handler.gone == 5; })) << server.handler.gone;
  EXPECT_TRUE(empties(server));
  EXPECT_EQ(num_descriptors(), descriptors);
}

/// A client over TLS that trusts anybody.
class TlsClient {
 public:
  explicit TlsClient(uint16_t port) {
    stream_.next_layer().connect({asio::ip::address_v4::loopback(), port});
    stream_.handshake(asio::ssl::stream_base::client);
  }
  void send(std::string_view bytes) {
    SystemError ignored;
    asio::write(stream_, asio::buffer(bytes), ignored);
  }
  /// Up to the end of the connection, and `end` is how it came.
  std::string receive() {
    std::string text;
    char bytes[4096];
    while (true) {
      const size_t size = stream_.read_some(asio::buffer(bytes), end);
      if (end) return text;
      text.append(bytes, size);
    }
  }
  SystemError end;

 private:
  asio::io_context context_;
  asio::ssl::context tls_{asio::ssl::context::tls_client};
  asio::ssl::stream<Tcp::socket> stream_{context_, tls_};
};

class HttpTlsEnding : public testing::Test {
 protected:
  HttpTlsEnding() {
    std::filesystem::create_directories(folder_);
    EXPECT_TRUE(write_test_certificate(folder_ / "cert.pem", folder_ / "key.pem"));
  }
  ~HttpTlsEnding() override { std::filesystem::remove_all(folder_); }

  HttpServerOptions options() const {
    return {.certificate_file = folder_ / "cert.pem", .key_file = folder_ / "key.pem"};
  }

 private:
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / cat("quern-tls-ending-", ::getpid());
};

TEST_F(HttpTlsEnding, WhatIsWholeEndsWithAGoodbyeAndWhatIsCutDoesNot) {
  TestServer server(options());
  const SystemError clean = asio::error::eof, truncated = asio::ssl::error::stream_truncated;
  const struct {
    std::string path;
    SystemError end;
  } cases[] = {{"/echo", clean}, {"/stream", clean}, {"/locked", clean}, {"/cut", truncated}};
  for (const auto& wanted : cases) {
    TlsClient client(server.port());
    client.send(cat("GET ", wanted.path, " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    EXPECT_NE(status_of(client.receive()), 0);
    EXPECT_EQ(client.end, wanted.end) << wanted.path;
  }
  TlsClient client(server.port());
  client.send("this is no request\r\n");
  EXPECT_EQ(status_of(client.receive()), 400);
  EXPECT_EQ(client.end, clean);
  EXPECT_TRUE(empties(server));
}

TEST_F(HttpTlsEnding, AnAnswerThatWasAwaitedEndsWithAGoodbyeToo) {
  TestServer server(options());
  TlsClient client(server.port());
  client.send("GET /wait HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(server.comes_true([&] { return server.handler.held.size() == 1; }));
  server.ask([&](HttpServer&) { server.handler.held.front()->send({.body = "late"}); });
  EXPECT_TRUE(client.receive().ends_with("late"));
  EXPECT_EQ(client.end, asio::error::eof);
}

TEST_F(HttpTlsEnding, WhoIsIdleIsToldGoodbye) {
  HttpServerOptions quick = options();
  quick.idle_timeout_ms = 150;
  TestServer server(quick);
  TlsClient over_time(server.port());
  EXPECT_EQ(over_time.receive(), "");
  EXPECT_EQ(over_time.end, asio::error::eof);

  TestServer stopping(options());
  TlsClient client(stopping.port());
  client.send("HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(stopping.comes_true([&] { return stopping.handler.requests == 1; }));
  stopping.ask([](HttpServer& s) { s.stop_accepting(); });
  EXPECT_EQ(status_of(client.receive()), 200);
  EXPECT_EQ(client.end, asio::error::eof);
}

TEST_F(HttpTlsEnding, ARefusalReachesAClientThatStillSendsItsBody) {
  HttpServerOptions small = options();
  small.most_body_bytes = 1000;
  TestServer server(small);
  TlsClient client(server.port());
  client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n");
  client.send(std::string(4'000'000, 'x'));
  EXPECT_EQ(status_of(client.receive()), 413);
  EXPECT_EQ(client.end, asio::error::eof);
}

TEST_F(HttpTlsEnding, WhoDoesNotAnswerTheGoodbyeHoldsNothing) {
  TestServer server(options());
  const int64_t descriptors = num_descriptors();
  TlsClient client(server.port());
  client.send("GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(status_of(client.receive()), 200);
  EXPECT_TRUE(empties(server));  // and the client is still there
  EXPECT_GT(num_descriptors(), descriptors);
}

}  // namespace
}  // namespace quern
