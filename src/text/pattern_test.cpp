#include "text/pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace quern {
namespace {

std::vector<TextSpan> matches(const std::string& expression, const std::string& text) {
  const auto pattern = Pattern::expression(expression, "t");
  EXPECT_TRUE(pattern) << pattern.error().message;
  PatternFuel fuel(text.size());
  std::vector<TextSpan> found;
  const auto done = pattern->find_all(text, fuel, found);
  EXPECT_TRUE(done) << done.error().message;
  return found;
}

// A search looks at windows of the text. Wherever a window ends, what it finds must be what the
// whole text has: the same small text behind a filler of each length.
TEST(Pattern, AWindowThatEndsAnywhereChangesNoMatch) {
  const std::string tail =
      "ab  cd\n\n  e12345'll \xC3\xA9\xE6\xBC\xA2 ,;--\r\n\t x$ aXbX   Zz ab  cd\n\n  e12345'll  ";
  constexpr const char* kExpressions[] = {
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
      R"((?i:'s|'ll)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+)",
      R"(\b)",
      R"($)",
      R"(^)",
      R"(\z)",
      R"(\Z)",
      R"(\B\w)",
      R"((?<=b)\s+)",
      R"(x*)",
      R"(b(?=X))",
      R"(b(?!X))",
      R"((?<!a)b)",
      R"([a-z]+?X)",
      R"(\s+$)",
      R"(.+)",
      R"(Zz|Q)",
      R"((?=e)|(?<=5))",
      R"(\R)"};
  for (const char* expression : kExpressions) {
    for (const std::string& unit : {std::string("."), std::string("a")}) {
      const std::string line = "\n\n|";
      const std::vector<TextSpan> wanted = matches(expression, line + tail);
      for (size_t size = 150; size < 420; ++size) {
        std::string filler;
        while (filler.size() < size) filler += unit;
        const size_t shift = filler.size();
        std::vector<TextSpan> got;
        for (const TextSpan& span : matches(expression, filler + line + tail)) {
          if (span.begin >= shift + line.size()) {
            got.push_back({span.begin - shift, span.end - shift});
          }
        }
        std::vector<TextSpan> rest;
        for (const TextSpan& span : wanted) {
          if (span.begin >= line.size()) rest.push_back(span);
        }
        ASSERT_EQ(got.size(), rest.size()) << expression << " after " << size;
        for (size_t i = 0; i < got.size(); ++i) {
          ASSERT_EQ(got[i].begin, rest[i].begin) << expression << " after " << size;
          ASSERT_EQ(got[i].end, rest[i].end) << expression << " after " << size;
        }
      }
    }
  }
}

TEST(Pattern, AMatchMayBeLongerThanAnyWindow) {
  for (const size_t size : {255u, 256u, 257u, 1023u, 1024u, 1025u, 70'000u}) {
    const std::string run(size, 'a');
    EXPECT_EQ(matches("[a-z]+", "1" + run + " b"),
              (std::vector<TextSpan>{{1, 1 + size}, {size + 2, size + 3}}));
    EXPECT_EQ(matches("\\s+(?!\\S)", std::string(size, ' ') + "x"),
              (std::vector<TextSpan>{{0, size - 1}}));
    EXPECT_EQ(matches("x", run + "x" + run), (std::vector<TextSpan>{{size, size + 1}}));
    EXPECT_EQ(matches("a(?=[^x]*x)", "b" + std::string(3, 'a') + std::string(size, '.') + "xa"),
              (std::vector<TextSpan>{{1, 2}, {2, 3}, {3, 4}}));
  }
}

}  // namespace
}  // namespace quern
