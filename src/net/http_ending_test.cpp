// How connections end, by the server's side and by a client's at any moment.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>

#include "base/cat.h"
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

}  // namespace
}  // namespace quern
