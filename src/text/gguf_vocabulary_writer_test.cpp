#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/cat.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

fs::path golden(std::string_view name) {
  return fs::path(QUERN_SOURCE_DIR) / "models" / "golden" / name;
}

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "quern-vocabulary-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

  /// A byte-level tokenizer.json whose pre-tokenizer and normalizer are these.
  void write_tokenizer(std::string_view pre_tokenizer, std::string_view normalizer = "null") {
    std::string vocab;
    int id = 0;
    for (char c = '!'; c <= '~'; ++c) {
      const std::string escaped = c == '"' || c == '\\' ? cat("\\", c) : std::string(1, c);
      vocab += cat(id == 0 ? "" : ",", "\"", escaped, "\":", id);
      ++id;
    }
    std::ofstream(path_ / "tokenizer.json")
        << "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":" << normalizer
        << ",\"pre_tokenizer\":" << pre_tokenizer
        << ",\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},"
           "\"model\":{\"type\":\"BPE\",\"vocab\":{"
        << vocab << "},\"merges\":[]}}";
  }

 private:
  fs::path path_;
};

constexpr std::string_view kGpt2Cuts =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";

TEST(GgufVocabularyWriter, TheWayBackGivesTheSameIds) {
  for (const std::string name : {"gemma3", "gpt2", "llama", "qwen2"}) {
    const auto tokenizer = Tokenizer::open(golden(name));
    ASSERT_TRUE(tokenizer);
    const auto texts = make_gguf_vocabulary(golden(name), tokenizer->vocab_size());
    ASSERT_TRUE(texts) << texts.error().message;
    const auto again = Tokenizer::from_gguf(texts->view(), name);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->bos(), tokenizer->bos()) << name;
    EXPECT_EQ(again->eos(), tokenizer->eos()) << name;
    for (const std::string text : {"The little fox ran 12 miles.", "a\n\n b\t", "<|stop|>x<eos>"}) {
      EXPECT_EQ(*again->encode(text), *tokenizer->encode(text)) << name << ": " << text;
    }
    for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
      EXPECT_EQ(again->is_special(id), tokenizer->is_special(id)) << name << " " << id;
      EXPECT_EQ(again->decode(std::vector{id}), tokenizer->decode(std::vector{id})) << name;
    }
  }
}

TEST(GgufVocabularyWriter, NamesTheFamilyThatCutsAlike) {
  const auto pre = [](std::string_view name) {
    const auto texts = make_gguf_vocabulary(golden(name), 288);
    return texts ? texts->pre : texts.error().message;
  };
  EXPECT_EQ(pre("gpt2"), "gpt-2");
  EXPECT_EQ(pre("llama"), "llama-bpe");
  EXPECT_EQ(pre("qwen2"), "qwen2");
}

TEST(GgufVocabularyWriter, RowsWithoutATokenAreUnused) {
  const auto texts = make_gguf_vocabulary(golden("gpt2"), 300);
  ASSERT_TRUE(texts) << texts.error().message;
  ASSERT_EQ(texts->tokens.size(), 300u);
  EXPECT_EQ(texts->tokens[299], "[PAD299]");
  EXPECT_EQ(texts->token_type[299], 5);
  EXPECT_EQ(texts->token_type[287], 3);
}

TEST(GgufVocabularyWriter, RefusesWhatGgufHasNoWordsFor) {
  Folder folder;
  folder.write_tokenizer(kGpt2Cuts);
  ASSERT_TRUE(make_gguf_vocabulary(folder.path(), 94));

  folder.write_tokenizer(R"({"type":"Whitespace"})");
  EXPECT_EQ(make_gguf_vocabulary(folder.path(), 94).error().code, ErrorCode::kUnsupported);
  folder.write_tokenizer(kGpt2Cuts, R"({"type":"Lowercase"})");
  const auto lowered = make_gguf_vocabulary(folder.path(), 94);
  ASSERT_FALSE(lowered);
  EXPECT_EQ(lowered.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(lowered.error().message.find("gpt-2"), std::string::npos) << lowered.error().message;
}

TEST(GgufVocabularyWriter, AMissingTokenizerIsNamed) {
  const Folder folder;
  const auto texts = make_gguf_vocabulary(folder.path(), 10);
  ASSERT_FALSE(texts);
  EXPECT_EQ(texts.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace quern
