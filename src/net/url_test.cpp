#include "net/url.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

TEST(Url, SaysWhereAServerIs) {
  const struct {
    std::string text, host, path;
    uint16_t port;
    bool tls;
  } cases[] = {
      {"http://127.0.0.1:8000", "127.0.0.1", "", 8000, false},
      {"http://localhost", "localhost", "", 80, false},
      {"https://a-b.example_c/v1/", "a-b.example_c", "/v1", 443, true},
      {"http://[::1]:9/x/y", "::1", "/x/y", 9, false},
      {"http://h:65535/%7Euser//", "h", "/%7Euser", 65535, false},
  };
  for (const auto& wanted : cases) {
    const Result<Url> url = parse_url(wanted.text);
    ASSERT_TRUE(url) << wanted.text;
    EXPECT_EQ(url->host, wanted.host);
    EXPECT_EQ(url->path, wanted.path);
    EXPECT_EQ(url->port, wanted.port);
    EXPECT_EQ(url->tls, wanted.tls);
    const Result<Url> again = parse_url(url->text());
    ASSERT_TRUE(again) << url->text();
    EXPECT_EQ(again->text(), url->text());
  }
  EXPECT_EQ(parse_url("http://[::1]:9")->host_header(), "[::1]:9");
}

TEST(Url, RefusesWhatTwoReadersCouldReadDifferently) {
  for (const char* text : {"",
                           "127.0.0.1:8000",
                           "ftp://h",
                           "http://",
                           "http://:80",
                           "http://h:",
                           "http://h:0",
                           "http://h:65536",
                           "http://h:+1",
                           "http://h:8000x",
                           "http://user@h",
                           "http://u:p@h/",
                           "http://h\\@evil",
                           "http://h/a b",
                           "http://h/?q",
                           "http://h/#f",
                           "http://[::1",
                           "http://[]",
                           "http://[g::1]",
                           "http://[::1]x",
                           "http://h\r\n",
                           "HTTP://h",
                           "http://h/\x7f"}) {
    const Result<Url> url = parse_url(text);
    EXPECT_FALSE(url) << text;
    if (url) continue;
    EXPECT_EQ(url.error().code, ErrorCode::kUsage) << text;
  }
}

TEST(Url, OnlyNamesOfThisMachineAreLoopback) {
  for (const char* here : {"http://localhost", "http://127.0.0.1:8000/v1", "https://[::1]:1"}) {
    EXPECT_TRUE(parse_url(here)->is_loopback()) << here;
  }
  for (const char* elsewhere : {"http://10.0.0.1", "http://localhost.example", "http://[::2]"}) {
    EXPECT_FALSE(parse_url(elsewhere)->is_loopback()) << elsewhere;
  }
}

}  // namespace
}  // namespace quern
