// Ids and texts against what the tokenizers and sentencepiece libraries recorded
// (tools/record_tokenizer_goldens.py), the streaming detokenizer, and hostile input.

#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "base/json.h"
#include "text/detokenizer.h"
#include "text/gguf_vocabulary.h"
#include "text/utf8.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

const fs::path kTestdata = fs::path(QUERN_SOURCE_DIR) / "src/text/testdata";

std::string unhex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

struct Golden {
  std::string text;
  Json expected;
};

std::vector<Golden> goldens(const std::string& name) {
  std::vector<Golden> cases;
  std::ifstream lines(kTestdata / (name + ".jsonl"));
  for (std::string line; std::getline(lines, line);) {
    Json object = *parse_json(line, name);
    cases.push_back({unhex(object["hex"].get<std::string>()), object});
  }
  EXPECT_GT(cases.size(), 50u) << name;
  return cases;
}

std::vector<int32_t> ids_of(const Json& list) { return list.get<std::vector<int32_t>>(); }

Tokenizer open_golden(const std::string& name) {
  const fs::path json = kTestdata / (name + ".json");
  auto tokenizer = Tokenizer::open(fs::exists(json) ? json : kTestdata / (name + ".model"));
  EXPECT_TRUE(tokenizer) << (tokenizer ? "" : tokenizer.error().message);
  return *std::move(tokenizer);
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                     SkipSpecial skip) {
  Detokenizer detokenizer(tokenizer, skip);
  std::string text;
  for (const int32_t id : ids) {
    const std::string_view piece = detokenizer.push(id);
    EXPECT_TRUE(is_utf8(piece)) << "a piece ends inside a character";
    text += piece;
  }
  text += detokenizer.finish();
  return text;
}

class TokenizerGoldens : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerGoldens, EncodesAndDecodesAsTheLibrary) {
  const Tokenizer tokenizer = open_golden(GetParam());
  for (const Golden& golden : goldens(GetParam())) {
    const Json& expected = golden.expected;
    if (expected.contains("ids")) {
      EXPECT_EQ(*tokenizer.encode(golden.text), ids_of(expected["ids"])) << expected["hex"];
      EXPECT_EQ(*tokenizer.encode(golden.text, {.add_special_tokens = false}),
                ids_of(expected["bare"]))
          << expected["hex"];
      // Null: the library itself panics on these (Strip with nothing left to strip).
      const std::vector<int32_t> ids = ids_of(expected["ids"]);
      if (expected["text"].is_string()) {
        EXPECT_EQ(tokenizer.decode(ids), expected["text"].get<std::string>()) << expected["hex"];
      }
      if (expected["skipped"].is_string()) {
        EXPECT_EQ(tokenizer.decode(ids, SkipSpecial::kYes), expected["skipped"].get<std::string>());
      }
    }
    EXPECT_EQ(*tokenizer.encode(golden.text, {.add_special_tokens = false, .parse_special = false}),
              ids_of(expected["unparsed"]))
        << expected["hex"];
  }
}

TEST_P(TokenizerGoldens, StreamsWhatDecodeGives) {
  const Tokenizer tokenizer = open_golden(GetParam());
  for (const Golden& golden : goldens(GetParam())) {
    const std::vector<int32_t> ids = *tokenizer.encode(golden.text);
    for (const SkipSpecial skip : {SkipSpecial::kNo, SkipSpecial::kYes}) {
      EXPECT_EQ(streamed(tokenizer, ids, skip), tokenizer.decode(ids, skip))
          << golden.expected["hex"];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Recorded, TokenizerGoldens,
                         testing::Values("byte_level_normalizer", "gemma", "gpt2", "llama2",
                                         "llama3", "metaspace_always", "metaspace_first",
                                         "nfkc_contiguous", "normalized", "prefix", "qwen2",
                                         "roberta", "smollm", "split_contiguous", "split_next",
                                         "split_previous", "split_removed", "spm_bytes", "spm_char",
                                         "spm_rules", "suffix"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST(Tokenizer, ASpecialTokenInAPlainPartIsTextAndElsewhereItself) {
  const Tokenizer tokenizer = open_golden("smollm");
  std::optional<int32_t> special;
  for (int32_t id = 0; id < tokenizer.vocab_size() && !special; ++id) {
    if (tokenizer.is_special(id)) special = id;
  }
  ASSERT_TRUE(special);
  const std::string token(*tokenizer.token_text(*special));
  const std::string text = token + "user " + token + " end" + token;
  const size_t inner = token.size() + 5;
  const std::vector<ByteRange> plain = {{inner, inner + token.size() + 4}};
  const std::vector<int32_t> ids =
      *tokenizer.encode(text, {.add_special_tokens = false, .plain_text = plain});
  EXPECT_EQ(std::ranges::count(ids, *special), 2);
  EXPECT_EQ(ids.front(), *special);
  EXPECT_EQ(ids.back(), *special);
  EXPECT_EQ(tokenizer.decode(ids), text);
  // Without a special token in it, a plain part changes nothing.
  const std::vector<ByteRange> harmless = {{token.size(), token.size() + 4}};
  EXPECT_EQ(*tokenizer.encode(text, {.plain_text = harmless}), *tokenizer.encode(text));
}

TEST(Tokenizer, FiftyThousandOfOneLetterAreDoneAtOnce) {
  for (const char* name : {"gpt2", "llama2", "spm_bytes"}) {
    const Tokenizer tokenizer = open_golden(name);
    const auto start = std::chrono::steady_clock::now();
    const std::string text(50'000, 'a');
    EXPECT_EQ(tokenizer.decode(*tokenizer.encode(text, {.add_special_tokens = false})).size(),
              text.size());
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30)) << name;
  }
}

TEST(Tokenizer, BytesThatAreNoUtf8BecomeReplacementCharacters) {
  const Tokenizer tokenizer = open_golden("gpt2");
  EXPECT_EQ(tokenizer.decode(*tokenizer.encode("a\xff\xfe"
                                               "b\xe2\x82")),
            "a\xEF\xBF\xBD\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
}

TEST(Tokenizer, RefusesWhatItCannotDoByName) {
  const struct {
    const char* json;
    ErrorCode code;
    const char* culprit;
  } cases[] = {
      {R"({"model":{"type":"Unigram","vocab":[]}})", ErrorCode::kUnsupported, "Unigram"},
      {R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}})", ErrorCode::kBadFile, "b"},
      {R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"normalizer":{"type":"Shout"}})",
       ErrorCode::kUnsupported, "Shout"},
      {R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Chop"}})",
       ErrorCode::kUnsupported, "Chop"},
      {"{", ErrorCode::kBadFile, "x.json"},
      {"[]", ErrorCode::kBadFile, "x.json"},
  };
  for (const auto& [json, code, culprit] : cases) {
    const auto tokenizer = Tokenizer::from_tokenizer_json(json, "x.json");
    ASSERT_FALSE(tokenizer) << json;
    EXPECT_EQ(tokenizer.error().code, code) << tokenizer.error().message;
    EXPECT_NE(tokenizer.error().message.find(culprit), std::string::npos)
        << tokenizer.error().message;
  }
}

TEST(Tokenizer, ATruncatedSentencePieceModelIsABadFile) {
  const std::string whole = *read_file(kTestdata / "spm_bytes.model", 1 << 20);
  int refused = 0;
  for (size_t size = 0; size < whole.size(); size += 7) {
    const auto tokenizer =
        Tokenizer::from_sentencepiece(std::as_bytes(std::span(whole.data(), size)), "t.model");
    refused += !tokenizer;
  }
  EXPECT_GT(refused, 100);
}

fs::path assets() {
  const char* given = std::getenv("QUERN_TEST_ASSETS");
  return given != nullptr ? fs::path(given) : fs::path(QUERN_SOURCE_DIR) / "../shared/assets";
}

/// The 47 texts of a ggml vocabulary test and the ids that Hugging Face gives them.
void expect_vectors(const Tokenizer& tokenizer, const std::string& name) {
  const fs::path base = assets() / "tokenizers/ggml-vocab" / name;
  std::string inputs = *read_file(base.string() + ".inp", 1 << 20);
  std::ifstream outputs(base.string() + ".out");
  const std::string separator = "\n__ggml_vocab_test__\n";
  int count = 0;
  for (size_t begin = 0; begin < inputs.size(); ++count) {
    const size_t end = std::min(inputs.find(separator, begin), inputs.size());
    std::string line;
    std::getline(outputs, line);
    std::istringstream numbers(line);
    const std::vector<int32_t> expected(std::istream_iterator<int32_t>(numbers), {});
    const std::string text = inputs.substr(begin, end - begin);
    EXPECT_EQ(*tokenizer.encode(text, {.add_special_tokens = false, .parse_special = false}),
              expected)
        << name << " text " << count;
    begin = end + separator.size();
  }
  EXPECT_GE(count, 46) << name;
}

TEST(TokenizerAssets, RealVocabulariesGiveTheRecordedIds) {
  if (!fs::exists(assets() / "tokenizers")) {
    GTEST_SKIP() << "no assets folder at " << assets()
                 << " (QUERN_TEST_ASSETS): real vocabularies are not tested";
  }
  const fs::path folder = assets() / "tokenizers";
  expect_vectors(*Tokenizer::open(folder / "gpt2/tokenizer.json"), "ggml-vocab-gpt-2.gguf");
  expect_vectors(*Tokenizer::open(folder / "gpt2/vocab.json"), "ggml-vocab-gpt-2.gguf");
  expect_vectors(*Tokenizer::open(folder / "llama2/tokenizer.model"), "ggml-vocab-llama-spm.gguf");
}

}  // namespace
}  // namespace quern
