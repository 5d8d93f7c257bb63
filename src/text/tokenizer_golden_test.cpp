// Every tiny tokenizer of testdata against what the reference libraries said of it; see
// tools/record_tokenizer_goldens.py.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxBytes = 1 << 24;

fs::path testdata() { return fs::path(QUERN_SOURCE_DIR) / "src/text/testdata"; }

std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

/// Decodes one id at a time.
std::string stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, SkipSpecial skip) {
  Detokenizer detokenizer(tokenizer, skip);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.push(id);
  return text += detokenizer.finish();
}

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(testdata())) {
    const fs::path& path = entry.path();
    const std::string stem = path.stem().string();
    if (path.extension() != ".json" && path.extension() != ".model") continue;
    if (fs::exists(testdata() / (stem + ".jsonl"))) names.push_back(path.filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class TokenizerGolden : public testing::TestWithParam<std::string> {};

TEST_P(TokenizerGolden, GivesTheIdsAndTextsOfTheReference) {
  const fs::path file = testdata() / GetParam();
  const auto tokenizer = Tokenizer::open(file);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto lines = read_file(testdata() / (file.stem().string() + ".jsonl"), kMaxBytes);
  ASSERT_TRUE(lines) << lines.error().message;
  std::istringstream stream_of_lines(*lines);
  std::string line;
  int num_lines = 0;
  while (std::getline(stream_of_lines, line)) {
    ++num_lines;
    const auto golden = parse_json(line, "golden");
    ASSERT_TRUE(golden) << golden.error().message;
    const std::string text = from_hex((*golden)["hex"].get<std::string>());
    SCOPED_TRACE(line);
    const auto expect_ids = [&](const char* key, EncodeOptions options) {
      if (!golden->contains(key)) return;
      const auto ids = tokenizer->encode(text, options);
      ASSERT_TRUE(ids) << ids.error().message;
      EXPECT_EQ(*ids, (*golden)[key].get<std::vector<int32_t>>()) << key;
    };
    expect_ids("ids", {});
    expect_ids("bare", {.add_special_tokens = false});
    expect_ids("unparsed", {.add_special_tokens = false, .parse_special = false});
    const auto expect_text = [&](const char* key, SkipSpecial skip) {
      if (!golden->contains(key) || (*golden)[key].is_null()) return;
      const auto ids = (*golden)["ids"].get<std::vector<int32_t>>();
      const std::string wanted = (*golden)[key].get<std::string>();
      EXPECT_EQ(tokenizer->decode(ids, skip), wanted) << key;
      EXPECT_EQ(stream(*tokenizer, ids, skip), wanted) << key;
    };
    expect_text("text", SkipSpecial::kNo);
    expect_text("skipped", SkipSpecial::kYes);
  }
  EXPECT_GT(num_lines, 50);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden, testing::ValuesIn(golden_names()),
                         [](const auto& at) {
                           std::string name = at.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace quern
