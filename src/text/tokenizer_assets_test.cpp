// Real tokenizers, where the assets folder is there: the recorded vectors of llama.cpp's test
// vocabularies (which the Hugging Face tokenizers give too) and files of one vocabulary in several
// formats held against each other.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <sstream>

#include "base/byte_reader.h"
#include "base/file.h"
#include "base/json.h"
#include "base/numbers.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

constexpr uint64_t kMaxBytes = 1 << 26;
constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";

fs::path assets() {
  if (const char* folder = std::getenv("QUERN_TEST_ASSETS")) return folder;
  return fs::path(QUERN_SOURCE_DIR) / "../shared/assets";
}

#define NEED(path)                                                    \
  if (!fs::exists(path)) {                                            \
    std::cout << "skipped: " << (path).string() << " is not there\n"; \
    GTEST_SKIP() << (path).string() << " is not there";               \
  }

std::string content(const fs::path& path) {
  auto text = read_file(path, kMaxBytes);
  EXPECT_TRUE(text) << text.error().message;
  return text ? *text : std::string();
}

struct Vector {
  std::string text;
  Ids ids;
};

/// NAME.inp holds texts between separators, NAME.out the ids of each on a line.
std::vector<Vector> read_vectors(const std::string& name) {
  std::vector<Vector> vectors;
  std::string texts = content(assets() / "tokenizers/ggml-vocab" / (name + ".inp"));
  std::istringstream lines(content(assets() / "tokenizers/ggml-vocab" / (name + ".out")));
  size_t from = 0;
  for (size_t end = texts.find(kSeparator); end != std::string::npos;
       end = texts.find(kSeparator, from)) {
    Vector vector{.text = texts.substr(from, end - from), .ids = {}};
    std::string line;
    std::getline(lines, line);
    std::istringstream numbers(line);
    for (std::string number; numbers >> number;) {
      vector.ids.push_back(*parse_integer<int32_t>(number));
    }
    vectors.push_back(std::move(vector));
    from = end + kSeparator.size();
  }
  return vectors;
}

void expect_vectors(const Result<Tokenizer>& tokenizer, const std::string& name) {
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const std::vector<Vector> vectors = read_vectors(name);
  EXPECT_GE(vectors.size(), 46u);
  for (const Vector& vector : vectors) {
    const auto ids = tokenizer->encode(vector.text, {.add_special_tokens = false});
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(*ids, vector.ids) << "\"" << vector.text << "\"";
  }
}

/// As much of a GGUF header as these tests need; the real reader lives on another floor.
Result<GgufVocabulary> read_gguf(const MappedFile& file) {
  ByteReader reader(file.bytes(), file.path().string());
  GgufVocabulary vocabulary;
  const auto text = [&]() -> Result<std::string_view> {
    ASSIGN_OR_RETURN(const uint64_t size, reader.take_number<uint64_t>("size"));
    return reader.take_text(size, "text");
  };
  const auto number = [&](uint32_t type) -> Result<int64_t> {
    const uint64_t size = type == 0 || type == 1 || type == 7 ? 1
                          : type == 2 || type == 3            ? 2
                          : type >= 4 && type <= 6            ? 4
                                                              : 8;
    ASSIGN_OR_RETURN(const auto bytes, reader.take(size, "number"));
    int64_t value = 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  };
  RETURN_IF_ERROR(reader.take(4 + 4 + 8, "header"));
  ASSIGN_OR_RETURN(const uint64_t count, reader.take_number<uint64_t>("count"));
  std::map<std::string_view, int64_t> numbers;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const std::string_view key, text());
    ASSIGN_OR_RETURN(const uint32_t type, reader.take_number<uint32_t>("type"));
    if (type == 8) {
      ASSIGN_OR_RETURN(const std::string_view value, text());
      if (key == "tokenizer.ggml.model") vocabulary.model = std::string(value);
      if (key == "tokenizer.ggml.pre") vocabulary.pre = std::string(value);
    } else if (type == 9) {
      ASSIGN_OR_RETURN(const uint32_t item_type, reader.take_number<uint32_t>("type"));
      ASSIGN_OR_RETURN(const uint64_t items, reader.take_number<uint64_t>("count"));
      for (uint64_t k = 0; k < items; ++k) {
        if (item_type == 8) {
          ASSIGN_OR_RETURN(const std::string_view value, text());
          if (key == "tokenizer.ggml.tokens") vocabulary.tokens.push_back(value);
          if (key == "tokenizer.ggml.merges") vocabulary.merges.push_back(value);
          continue;
        }
        ASSIGN_OR_RETURN(const int64_t value, number(item_type));
        if (key == "tokenizer.ggml.token_type") {
          vocabulary.token_type.push_back(static_cast<int32_t>(value));
        }
        if (key == "tokenizer.ggml.scores") {
          float score = 0;
          std::memcpy(&score, &value, sizeof(score));
          vocabulary.scores.push_back(score);
        }
      }
    } else {
      ASSIGN_OR_RETURN(numbers[key], number(type));
    }
  }
  const auto id = [&](std::string_view key) -> std::optional<int64_t> {
    return numbers.contains(key) ? std::optional(numbers[key]) : std::nullopt;
  };
  vocabulary.bos_id = id("tokenizer.ggml.bos_token_id");
  vocabulary.eos_id = id("tokenizer.ggml.eos_token_id");
  vocabulary.unk_id = id("tokenizer.ggml.unknown_token_id");
  return vocabulary;
}

/// Both tokenizers give the same ids for `text` cut into stretches.
void expect_same(const Tokenizer& a, const Tokenizer& b, const std::string& text) {
  constexpr size_t kStretch = 997;
  const EncodeOptions bare{.add_special_tokens = false};
  for (size_t at = 0; at < text.size(); at += kStretch) {
    const std::string_view stretch = std::string_view(text).substr(at, kStretch);
    const Ids ids = *a.encode(stretch, bare);
    ASSERT_EQ(ids, *b.encode(stretch, bare)) << stretch;
    ASSERT_EQ(a.decode(ids), b.decode(ids));
  }
}

TEST(TokenizerAssets, Gpt2JsonVocabularyAndGgufGiveTheRecordedIds) {
  const fs::path folder = assets() / "tokenizers/gpt2";
  NEED(folder);
  expect_vectors(Tokenizer::open(folder / "tokenizer.json"), "ggml-vocab-gpt-2.gguf");
  expect_vectors(Tokenizer::open(folder / "vocab.json"), "ggml-vocab-gpt-2.gguf");
  const auto file = MappedFile::open(assets() / "tokenizers/ggml-vocab/ggml-vocab-gpt-2.gguf");
  ASSERT_TRUE(file) << file.error().message;
  expect_vectors(Tokenizer::from_gguf(*read_gguf(*file), "gpt-2.gguf"), "ggml-vocab-gpt-2.gguf");
}

TEST(TokenizerAssets, Llama2JsonModelAndGgufGiveTheRecordedIds) {
  const fs::path folder = assets() / "tokenizers/llama2";
  NEED(folder);
  const auto json = Tokenizer::open(folder / "tokenizer.json");
  const auto model = Tokenizer::open(folder / "tokenizer.model");
  const auto file = MappedFile::open(assets() / "tokenizers/ggml-vocab/ggml-vocab-llama-spm.gguf");
  ASSERT_TRUE(file) << file.error().message;
  const auto gguf = Tokenizer::from_gguf(*read_gguf(*file), "llama-spm.gguf");
  for (const auto& tokenizer : {json, model, gguf}) {
    expect_vectors(tokenizer, "ggml-vocab-llama-spm.gguf");
  }
  const std::string text =
      content(assets() / "text/wiki.test.raw").substr(0, 200'000) + "<s> a</s>b [INST]";
  expect_same(*json, *model, text);
  expect_same(*json, *gguf, text);
  EXPECT_EQ(*json->encode("Hello"), *model->encode("Hello"));
  EXPECT_EQ(*json->encode("Hello"), *gguf->encode("Hello"));
}

TEST(TokenizerAssets, QwenVocabularyIsRecognisedByItsMerges) {
  const fs::path file = assets() / "tokenizers/qwen/vocab.json";
  NEED(file);
  expect_vectors(Tokenizer::open(file), "ggml-vocab-qwen2.gguf");
  // The config of the model says the same and adds the chat tokens.
  const auto tokenizer = Tokenizer::from_vocab_merges(
      content(file), content(file.parent_path() / "merges.txt"), file.string(),
      content(file.parent_path() / "qwen2.5-tokenizer_config.json"));
  expect_vectors(tokenizer, "ggml-vocab-qwen2.gguf");
  EXPECT_EQ(tokenizer->token_id("<|im_start|>"), 151644);
  EXPECT_EQ(tokenizer->eos(), 151645);
}

TEST(TokenizerAssets, Llama3VocabularyIsRecognisedByItsMergesAndAddsBos) {
  const fs::path file = assets() / "tokenizers/llama3/encoder.json";
  NEED(file);
  const auto tokenizer = Tokenizer::open(file);
  expect_vectors(tokenizer, "ggml-vocab-llama-bpe.gguf");
  EXPECT_EQ(tokenizer->bos(), 128000);
  EXPECT_EQ(tokenizer->encode("Hi<|eot_id|>")->back(), 128009);
  EXPECT_EQ(tokenizer->encode("Hi")->front(), 128000);
  const auto ranks = Tokenizer::open(file.parent_path() / "tokenizer.model");
  ASSERT_FALSE(ranks);
  EXPECT_EQ(ranks.error().code, ErrorCode::kUnsupported);
}

TEST(TokenizerAssets, GgufOfLlama3ThatNamesNoFamilyIsRecognisedByItsMerges) {
  const fs::path folder = assets() / "tokenizers/llama3";
  NEED(folder / "vocab.bpe");
  const std::string vocabulary_json = content(folder / "encoder.json");
  const std::string merges = content(folder / "vocab.bpe");
  const auto json = parse_json(vocabulary_json, "encoder.json");
  ASSERT_TRUE(json) << json.error().message;
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.tokens.resize(json->size());
  for (auto entry = json->begin(); entry != json->end(); ++entry) {
    vocabulary.tokens.at(entry->get<size_t>()) = entry.key();  // a reference into `json`
  }
  for (size_t at = 0; at < merges.size();) {
    const size_t end = std::min(merges.find('\n', at), merges.size());
    const std::string_view line = std::string_view(merges).substr(at, end - at);
    if (!line.empty() && !line.starts_with("#version")) vocabulary.merges.push_back(line);
    at = end + 1;
  }
  for (const char* pre : {"", "default", "llama-bpe"}) {
    vocabulary.pre = pre;
    expect_vectors(Tokenizer::from_gguf(vocabulary, "m.gguf"), "ggml-vocab-llama-bpe.gguf");
  }
}

TEST(TokenizerAssets, StoriesVocabularyCountsThePublishedSentence) {
  const fs::path file = assets() / "models/stories260K/tok512.model";
  NEED(file);
  const auto tokenizer = Tokenizer::open(file);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const std::string text = "One day, a clever fox found a shiny key under the old oak tree.";
  const Ids ids = *tokenizer->encode(text);
  EXPECT_EQ(ids.size(), 35u);
  EXPECT_EQ(ids[0], 1);
  EXPECT_EQ(tokenizer->decode(ids, SkipSpecial::kYes), text);
}

TEST(TokenizerAssets, CharacterModelWithoutBytesHasUnknowns) {
  const fs::path file = assets() / "models/babyllama-tok105/tok105.model";
  NEED(file);
  const auto tokenizer = Tokenizer::open(file);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocab_size(), 105);
  EXPECT_EQ(*tokenizer->encode("ea"), (Ids{1, 3, 4, 5}));
  EXPECT_EQ(*tokenizer->encode("e\xE6\xBC\xA2\xE5\xAD\x97"
                               "a"),
            (Ids{1, 3, 4, 0, 5}));  // one unknown for the run
}

TEST(TokenizerAssets, UnigramIsRefusedByName) {
  const fs::path file = assets() / "tokenizers/sentencepiece/test_model.model";
  NEED(file);
  const auto tokenizer = Tokenizer::open(file);
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(tokenizer.error().message.find("unigram"), std::string::npos);
}

TEST(TokenizerAssets, LongTextRoundTrips) {
  const fs::path file = assets() / "text/war-and-peace.txt";
  NEED(file);
  const std::string text = content(file);
  for (const char* name : {"gpt2/tokenizer.json", "llama2/tokenizer.json", "qwen/vocab.json"}) {
    const auto tokenizer = Tokenizer::open(assets() / "tokenizers" / name);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    const auto ids = tokenizer->encode(text);
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(tokenizer->decode(*ids, SkipSpecial::kYes) == text, true) << name;
  }
}

}  // namespace
}  // namespace quern
