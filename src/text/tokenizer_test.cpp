#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/json.h"
#include "text/bpe_model.h"
#include "text/characters.h"
#include "text/detokenizer.h"
#include "text/gguf_vocabulary.h"
#include "text/utf8.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

fs::path testdata(const std::string& name) {
  return fs::path(QUERN_SOURCE_DIR) / "src/text/testdata" / name;
}

Tokenizer open(const std::string& name) {
  auto tokenizer = Tokenizer::open(testdata(name));
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *std::move(tokenizer);
}

/// A character-level model of a, b and ab with parts that tests exchange.
Json tiny() {
  return *parse_json(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[],
      "normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":{"type":"Fuse"},
      "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
      "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
      "vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})",
                     "tiny");
}

Error refusal(const Json& json) {
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  EXPECT_FALSE(tokenizer);
  return tokenizer ? Error{} : tokenizer.error();
}

/// A folder of its own, gone with the test.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("quern_text_" + unique())) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  void write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  const fs::path& path() const { return path_; }

 private:
  static std::string unique() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    return std::string(test->name()) + "_" + std::to_string(::getpid());
  }
  fs::path path_;
};

TEST(Tokenizer, MergesByRankAndLeavesUnknownCharactersOut) {
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(tiny()), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("abba?ab"), (Ids{2, 1, 0, 2}));
  EXPECT_EQ(tokenizer->decode(Ids{2, 1, 0}), "abba");
  EXPECT_EQ(tokenizer->vocab_size(), 3);
  EXPECT_EQ(tokenizer->kind(), "bpe");
}

TEST(Tokenizer, IdOutsideTheVocabularyHasNoText) {
  const Tokenizer tokenizer = open("gpt2.json");
  const Ids ids = *tokenizer.encode("One day");
  Ids padded = {-1, 1'000'000'000};
  padded.insert(padded.end(), ids.begin(), ids.end());
  padded.push_back(static_cast<int32_t>(tokenizer.vocab_size()));
  EXPECT_EQ(tokenizer.decode(padded), "One day");
  EXPECT_FALSE(tokenizer.token_text(-1).has_value());
  EXPECT_FALSE(tokenizer.is_special(1'000'000'000));
}

TEST(Tokenizer, SpecialTokenInTextIsATokenOrPlainTextAsAsked) {
  const Tokenizer tokenizer = open("gpt2.json");
  const int32_t end = *tokenizer.token_id("<|end|>");
  EXPECT_TRUE(tokenizer.is_special(end));
  EXPECT_EQ(*tokenizer.encode("<|end|>"), Ids{end});
  const Ids plain = *tokenizer.encode("<|end|>", {.parse_special = false});
  EXPECT_GT(plain.size(), 1u);
  for (const int32_t id : plain) EXPECT_FALSE(tokenizer.is_special(id));
  EXPECT_EQ(tokenizer.decode(plain), "<|end|>");
}

TEST(Tokenizer, SpecialTokenInAPlainPartIsTextAndElsewhereItself) {
  const Tokenizer tokenizer = open("smollm.json");
  const std::string token = "<|end|>";
  const int32_t special = *tokenizer.token_id(token);
  const std::string text = token + "user " + token + " end" + token;
  const size_t inner = token.size() + 5;
  const std::vector<ByteRange> plain = {{inner, inner + token.size() + 4}};
  const Ids ids = *tokenizer.encode(text, {.add_special_tokens = false, .plain_text = plain});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), special), 2);
  EXPECT_EQ(ids.front(), special);
  EXPECT_EQ(ids.back(), special);
  EXPECT_EQ(tokenizer.decode(ids), text);
  // Without a special token in it, a plain part changes nothing.
  const std::vector<ByteRange> harmless = {{token.size(), token.size() + 4}};
  EXPECT_EQ(*tokenizer.encode(text, {.plain_text = harmless}), *tokenizer.encode(text));
}

TEST(Tokenizer, MergesNeverMakeASpecialTokenFromPlainText) {
  Json json = tiny();
  json["added_tokens"] = {{{"id", 2}, {"content", "ab"}, {"special", true}}};
  for (const bool ignore_merges : {false, true}) {
    json["model"]["ignore_merges"] = ignore_merges;
    const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_EQ(*tokenizer->encode("ab"), Ids{2});
    EXPECT_EQ(*tokenizer->encode("ab", {.parse_special = false}), (Ids{0, 1}));
    EXPECT_EQ(*tokenizer->encode("ab"), Ids{2});
  }
}

TEST(Tokenizer, FiftyThousandTimesOneLetterIsFast) {
  for (const char* name : {"gpt2.json", "llama2.json", "gemma.json", "spm_bytes.model"}) {
    const Tokenizer tokenizer = open(name);
    const std::string text(50'000, 'a');
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tokenizer.encode(text);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(tokenizer.decode(*ids, SkipSpecial::kYes), text) << name;
    // A quadratic algorithm takes minutes; the bound has room for sanitizers and a busy machine.
    EXPECT_LT(seconds.count(), 10) << name;
  }
}

TEST(Tokenizer, RunsOfCombiningMarksAreFast) {
  const Tokenizer tokenizer = open("qwen2.json");
  std::string text = "a";
  for (int i = 0; i < 50'000; ++i) text += i % 2 == 0 ? "\xCC\x81" : "\xCC\x96";
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(tokenizer.encode(text));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 10);
}

TEST(Tokenizer, EncodesTheSameFromManyThreads) {
  const Tokenizer tokenizer = open("llama3.json");
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) texts.push_back("word" + std::to_string(i) + " the key 'll " + "x");
  std::vector<Ids> alone;
  for (const std::string& text : texts) alone.push_back(*tokenizer.encode(text));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size(); ++i) {
        const size_t at = (i * (2 * t + 1)) % texts.size();
        wrong[t] += *tokenizer.encode(texts[at]) != alone[at];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Tokenizer, RefusesAMergeWhoseResultIsNotInTheVocabulary) {
  Json json = tiny();
  json["model"]["merges"].push_back("b a");
  const Error error = refusal(json);
  EXPECT_EQ(error.code, ErrorCode::kBadFile);
  EXPECT_NE(error.message.find("\"ba\", which is not in the vocabulary"), std::string::npos)
      << error.message;
  json["model"]["merges"] = {{"a", "c"}};
  EXPECT_EQ(refusal(json).code, ErrorCode::kBadFile);
  json["model"]["merges"] = {"a b a"};
  EXPECT_EQ(refusal(json).code, ErrorCode::kBadFile);
}

TEST(Tokenizer, RefusesUnknownComponentsByName) {
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    Json json = tiny();
    json[part] = {{"type", "Frobnicate"}};
    const Error error = refusal(json);
    EXPECT_EQ(error.code, ErrorCode::kUnsupported) << part;
    EXPECT_NE(error.message.find("Frobnicate"), std::string::npos) << error.message;
  }
  Json json = tiny();
  json["model"]["type"] = "Unigram";
  const Error error = refusal(json);
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_NE(error.message.find("Unigram"), std::string::npos);
}

TEST(Tokenizer, RefusesAnUndeclaredSpecialToken) {
  Json json = tiny();
  json["post_processor"] = *parse_json(
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
          {"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{}})",
      "t");
  Error error = refusal(json);
  EXPECT_EQ(error.code, ErrorCode::kBadFile);
  EXPECT_NE(error.message.find("<s>"), std::string::npos);
  // Declared, but as an id that no token has.
  json["post_processor"]["special_tokens"]["<s>"] = {
      {"id", "<s>"}, {"ids", {77}}, {"tokens", {"<s>"}}};
  error = refusal(json);
  EXPECT_EQ(error.code, ErrorCode::kBadFile);
  EXPECT_NE(error.message.find("77"), std::string::npos);

  Json unknown = tiny();
  unknown["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(refusal(unknown).code, ErrorCode::kBadFile);
}

TEST(Tokenizer, ATemplateMayRepeatTheTextAFewTimes) {
  Json json = tiny();
  json["post_processor"] = *parse_json(
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a","type_id":0}}],"pair":[],
          "special_tokens":{"a":{"id":"a","ids":[0],"tokens":["a"]}}})",
      "t");
  const Json text = *parse_json(R"({"Sequence":{"id":"A","type_id":0}})", "t");
  Json& single = json["post_processor"]["single"];
  single.push_back(text);
  single.push_back(single[0]);
  single.push_back(text);
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("abb"), (Ids{0, 2, 1, 0, 2, 1}));
  EXPECT_EQ(*tokenizer->encode("abb", {.add_special_tokens = false}), (Ids{2, 1, 2, 1}));
  for (int i = 2; i < 17; ++i) single.push_back(text);
  const Error error = refusal(json);
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_NE(error.message.find("repeats the text 17 times"), std::string::npos) << error.message;
}

TEST(Tokenizer, AStretchOfTwoGigabytesIsBadInput) {
  const auto tokens = TokenTable::build(std::vector<TokenEntry>{{"a", 0}}, "t");
  ASSERT_TRUE(tokens);
  const auto model = BpeModel::build(*tokens, {}, {}, "t");
  ASSERT_TRUE(model);
  // Pages that nobody touches take no memory.
  void* pages =
      ::mmap(nullptr, INT32_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  BpeScratch scratch;
  Ids ids;
  const auto done = model->encode({static_cast<const char*>(pages), INT32_MAX},
                                  BpeModel::WordForm::kText, nullptr, scratch, ids);
  ::munmap(pages, INT32_MAX);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kBadInput);
}

TEST(Tokenizer, ChecksTruncationAndPaddingAndAppliesNeither) {
  Json json = tiny();
  json["truncation"] = {
      {"direction", "Right"}, {"max_length", 2}, {"strategy", "LongestFirst"}, {"stride", 0}};
  json["padding"] = {
      {"strategy", {{"Fixed", 9}}}, {"direction", "Left"}, {"pad_id", 0},
      {"pad_type_id", 0},           {"pad_token", "a"},    {"pad_to_multiple_of", 8}};
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("abbb"), (Ids{2, 1, 1}));

  Json stride = json;
  stride["truncation"]["stride"] = 2;
  EXPECT_NE(refusal(stride).message.find("stride"), std::string::npos);
  Json strategy = json;
  strategy["padding"]["strategy"] = "Sometimes";
  EXPECT_EQ(refusal(strategy).code, ErrorCode::kBadFile);
}

TEST(Tokenizer, RefusesDamagedFiles) {
  const auto text = dump_json(tiny());
  for (size_t size = 0; size < text.size(); size += 7) {
    EXPECT_FALSE(Tokenizer::from_tokenizer_json(text.substr(0, size), "t.json"));
  }
  Json json = tiny();
  json["model"]["vocab"]["b"] = -1;
  EXPECT_EQ(refusal(json).code, ErrorCode::kBadFile);
  json["model"]["vocab"]["b"] = 2'000'000'000;
  EXPECT_NE(refusal(json).message.find("2000000000"), std::string::npos);
  json["model"]["vocab"]["b"] = "1";
  EXPECT_EQ(refusal(json).code, ErrorCode::kBadFile);
  const std::string twice = R"({"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}})";
  const auto tokenizer = Tokenizer::from_tokenizer_json(twice, "t.json");
  ASSERT_FALSE(tokenizer);
  EXPECT_NE(tokenizer.error().message.find("stands twice"), std::string::npos);
}

TEST(Tokenizer, RefusesAPatternThatIsNoneAndOneThatMeansSomethingElseHere) {
  const auto with_pattern = [](const char* pattern) {
    Json json = tiny();
    json["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", pattern}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
    return json;
  };
  EXPECT_EQ(refusal(with_pattern("(a")).code, ErrorCode::kBadFile);
  for (const char* pattern : {"[a&&[^b]]", "[a[^b]]", "(?~a)", "\\X", "a\\Kb", "(?R)", "(*FAIL)",
                              "\\k<n>", "a{2}+", "[\\W]"}) {
    EXPECT_EQ(refusal(with_pattern(pattern)).code, ErrorCode::kUnsupported) << pattern;
  }
}

TEST(Tokenizer, APatternThatBacktracksForeverIsAnErrorNotAHang) {
  Json json = tiny();
  json["pre_tokenizer"] = {{"type", "Split"},
                           {"pattern", {{"Regex", "(a+)+$x|(a|a)*c"}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto ids = tokenizer->encode(std::string(20'000, 'a') + "b");
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, ErrorCode::kBadInput);
}

TEST(Tokenizer, APatternThatLooksToTheEndFromEverywhereIsAnErrorNotAHang) {
  for (const char* pattern : {"a(?=[^x]*x)|a", "a(?=[^x]*x)", "(?=[^x]*x)a|a", "a(?![^x]*x)|a"}) {
    Json json = tiny();
    json["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", pattern}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
    const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_EQ(tokenizer->encode(std::string(2'000, 'a') + "x")->size(), 2'000u) << pattern;
    const auto ids = tokenizer->encode(std::string(1'000'000, 'a'));
    ASSERT_FALSE(ids) << pattern;
    EXPECT_EQ(ids.error().code, ErrorCode::kBadInput);
  }
  Json json = tiny();
  json["pre_tokenizer"] = {{"type", "Split"},
                           {"pattern", {{"Regex", "(?<=a{300})b"}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  EXPECT_EQ(refusal(json).code, ErrorCode::kUnsupported);
}

TEST(Tokenizer, NormalizersThatBlowUpATextAreStopped) {
  Json json = tiny();
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array()}};
  for (int i = 0; i < 20; ++i) {
    json["normalizer"]["normalizers"].push_back(
        {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aaaaaaaaaaaaaaaa"}});
  }
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto ids = tokenizer->encode("a");
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, ErrorCode::kBadInput);
}

TEST(Tokenizer, DecodersThatDoubleATokenLeaveItAsItIsBeforeTheyFillTheMemory) {
  Json json = tiny();
  json["decoder"] = {{"type", "Sequence"}, {"decoders", Json::array()}};
  const auto add_steps = [&](int count) {
    for (int i = 0; i < count; ++i) {
      json["decoder"]["decoders"].push_back(
          {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
    }
  };
  add_steps(10);
  const auto some = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  ASSERT_TRUE(some) << some.error().message;
  EXPECT_EQ(some->decode(Ids{0}), std::string(1024, 'a'));
  add_steps(26);
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->decode(Ids{0}).size(), 1u << 20);
}

TEST(Tokenizer, NormalizedAddedTokensShareOneLimit) {
  Json json = tiny();
  json["normalizer"] = {{"type", "Prepend"}, {"prepend", std::string(1'000'000, 'a')}};
  for (int i = 0; i < 60; ++i) {
    json["added_tokens"].push_back(
        {{"id", 3 + i}, {"content", "t" + std::to_string(i)}, {"normalized", true}});
  }
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  for (int i = 60; i < 70; ++i) {
    json["added_tokens"].push_back(
        {{"id", 3 + i}, {"content", "t" + std::to_string(i)}, {"normalized", true}});
  }
  const Error error = refusal(json);
  EXPECT_EQ(error.code, ErrorCode::kBadFile);
  EXPECT_EQ(error.found, "t67");
}

TEST(Tokenizer, PiecesShareOneLimitOfNormalizedText) {
  Json json = tiny();
  json["normalizer"] = {{"type", "Prepend"}, {"prepend", std::string(9 << 20, 'b')}};
  json["added_tokens"] = {{{"id", 3}, {"content", "<s>"}, {"special", true}}};
  const auto tokenizer = Tokenizer::from_tokenizer_json(dump_json(json), "t.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto ids = tokenizer->encode("a<s>a<s>");
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, ErrorCode::kBadInput);
  EXPECT_NE(ids.error().message.find("normalizers"), std::string::npos) << ids.error().message;
  json["normalizer"]["prepend"] = std::string(17 << 20, 'b');
  EXPECT_EQ(Tokenizer::from_tokenizer_json(dump_json(json), "t.json")->encode("a").error().code,
            ErrorCode::kBadInput);
}

TEST(Tokenizer, DeeplyNestedSequencesAreRefused) {
  std::string open_part, close_part;
  for (int i = 0; i < 100'000; ++i) {
    open_part += R"({"type":"Sequence","normalizers":[)";
    close_part += "]}";
  }
  const std::string json = R"({"model":{"type":"BPE","vocab":{},"merges":[]},"normalizer":)" +
                           open_part + close_part + "}";
  const auto tokenizer = Tokenizer::from_tokenizer_json(json, "t.json");
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kBadFile);
}

TEST(Tokenizer, OpensAFolderAndTellsFilesApartByContent) {
  const Folder folder;
  const auto nothing = Tokenizer::open(folder.path());
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, ErrorCode::kNotFound);

  folder.write("vocab.json", R"({"a":0,"b":1,"ab":2,"<|endoftext|>":3})");
  const auto no_merges = Tokenizer::open(folder.path());
  ASSERT_FALSE(no_merges);
  EXPECT_EQ(no_merges.error().code, ErrorCode::kNotFound);
  EXPECT_NE(no_merges.error().message.find("merges.txt"), std::string::npos);
  folder.write("merges.txt", "#version: 0.2\r\na b\r\n");
  EXPECT_EQ(*Tokenizer::open(folder.path())->encode("ab<|endoftext|>b"), (Ids{2, 3, 1}));

  // Named anything, a file is what it holds.
  fs::copy(testdata("spm_bytes.model"), folder.path() / "tokenizer.model");
  EXPECT_EQ(Tokenizer::open(folder.path())->kind(), "sentencepiece-bpe");
  fs::copy(testdata("gpt2.json"), folder.path() / "strange.bin");
  EXPECT_EQ(Tokenizer::open(folder.path() / "strange.bin")->kind(), "bpe-byte-level");
  folder.write("tokenizer.json", "{}");
  EXPECT_EQ(Tokenizer::open(folder.path()).error().code, ErrorCode::kBadFile);
  EXPECT_EQ(Tokenizer::open(folder.path() / "missing").error().code, ErrorCode::kNotFound);

  folder.write("a.gguf", "GGUF....");
  EXPECT_TRUE(looks_like_gguf(folder.path() / "a.gguf"));
  EXPECT_EQ(Tokenizer::open(folder.path() / "a.gguf").error().code, ErrorCode::kUnsupported);
  folder.write("ranks", "IQ== 0\nIg== 1\n");
  const auto ranks = Tokenizer::open(folder.path() / "ranks");
  ASSERT_FALSE(ranks);
  EXPECT_NE(ranks.error().message.find("tiktoken"), std::string::npos);
}

TEST(Tokenizer, ConfigBesideAVocabularyNamesItsSpecialTokens) {
  const std::string vocab = R"({"a":0,"b":1,"ab":2})";
  const std::string config =
      R"({"tokenizer_class":"GPT2Tokenizer","bos_token":"<s>","eos_token":{"content":"</s>"},
          "add_bos_token":true,"add_eos_token":true,"model_max_length":1e30,
          "added_tokens_decoder":{"5":{"content":"<s>","special":true}}})";
  const auto tokenizer = Tokenizer::from_vocab_merges(vocab, "a b\n", "vocab.json", config);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("ab"), (Ids{5, 2, 6}));
  EXPECT_EQ(tokenizer->bos(), 5);
  EXPECT_EQ(tokenizer->eos(), 6);
  EXPECT_EQ(tokenizer->decode(Ids{5, 2, 6}, SkipSpecial::kYes), "ab");

  const auto other = Tokenizer::from_vocab_merges(vocab, "a b\n", "vocab.json",
                                                  R"({"tokenizer_class":"T5Tokenizer"})");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kUnsupported);
}

TEST(Tokenizer, ManySpecialTokensInAConfigAreEachCountedOnceAndFast) {
  std::string list;
  constexpr int kCount = 100'000;
  for (int i = 0; i < kCount; ++i) list += "\"<" + std::to_string(i) + ">\",";
  const std::string config = R"({"additional_special_tokens":[)" + list + R"("<0>","<7>"]})";
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer =
      Tokenizer::from_vocab_merges(R"({"a":0,"b":1,"ab":2})", "a b\n", "vocab.json", config);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocab_size(), 3 + kCount);
  EXPECT_EQ(*tokenizer->encode("<7>ab"), (Ids{10, 2}));
  // Looking through the list for each token takes many times as long.
  EXPECT_LT(seconds.count(), 10);
}

TEST(SentencePiece, AddsBosAndFindsControlPiecesInText) {
  const Tokenizer tokenizer = open("spm_bytes.model");
  const Ids bare = *tokenizer.encode("One day", {.add_special_tokens = false});
  Ids framed = *tokenizer.encode("One day");
  ASSERT_EQ(framed.size(), bare.size() + 1);
  EXPECT_EQ(framed[0], *tokenizer.bos());
  EXPECT_EQ(*tokenizer.token_id("<s>"), *tokenizer.bos());
  const Ids with_token = *tokenizer.encode("<s>One day</s>", {.add_special_tokens = false});
  framed.push_back(*tokenizer.eos());
  EXPECT_EQ(with_token, framed);
  EXPECT_EQ(tokenizer.decode(framed, SkipSpecial::kYes), "One day");
}

TEST(SentencePiece, RefusesDamagedModels) {
  std::ifstream file(testdata("spm_rules.model"), std::ios::binary);
  const std::string model((std::istreambuf_iterator<char>(file)), {});
  ASSERT_TRUE(Tokenizer::from_sentencepiece(std::as_bytes(std::span(model)), "m"));
  for (size_t size = 0; size < model.size(); ++size) {
    // A cut between two pieces leaves a smaller model, but never one without its settings.
    const auto cut = model.substr(0, size);
    const auto tokenizer = Tokenizer::from_sentencepiece(std::as_bytes(std::span(cut)), "m");
    if (tokenizer) {
      EXPECT_TRUE(tokenizer->encode("One day ABC"));
    }
  }
}

GgufVocabulary tiny_gguf() {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.pre = "default";
  vocabulary.tokens = {"<unk>",
                       "<s>",
                       "</s>",
                       "\xE2\x96\x81",
                       "a",
                       "b",
                       "ab",
                       "\xE2\x96\x81"
                       "ab"};
  vocabulary.scores = {0, 0, 0, -3, -4, -5, -1, -2};
  vocabulary.token_type = {2, 3, 3, 1, 1, 1, 1, 1};
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  vocabulary.unk_id = 0;
  return vocabulary;
}

TEST(GgufTokenizer, MergesByScoreWithAPrefixSpaceAndBos) {
  const auto tokenizer = Tokenizer::from_gguf(tiny_gguf(), "m.gguf");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("ab b"), (Ids{1, 7, 3, 5}));
  EXPECT_EQ(*tokenizer->encode("ab?\?</s>"), (Ids{1, 7, 0, 2}));
  EXPECT_EQ(tokenizer->decode(Ids{1, 7, 3, 5}, SkipSpecial::kYes), "ab b");
}

TEST(GgufTokenizer, GemmaHasNoPrefixSpaceAndRunsOfSpaces) {
  GgufVocabulary vocabulary = tiny_gguf();
  vocabulary.add_space_prefix = false;
  vocabulary.tokens.push_back("  ");
  vocabulary.scores.push_back(-1000);
  vocabulary.token_type.push_back(4);
  const auto tokenizer = Tokenizer::from_gguf(vocabulary, "m.gguf");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("ab   b"), (Ids{1, 6, 8, 3, 5}));
  EXPECT_EQ(tokenizer->decode(Ids{6, 8, 3, 5}), "ab   b");
}

TEST(GgufTokenizer, SmollmSplitsDigitsOneByOne) {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "smollm";
  vocabulary.tokens = {"1", "2", "12", "[PAD3]"};
  vocabulary.token_type = {1, 1, 1, 5};
  vocabulary.merges = {"1 2"};
  const auto smollm = Tokenizer::from_gguf(vocabulary, "m.gguf");
  ASSERT_TRUE(smollm) << smollm.error().message;
  EXPECT_EQ(*smollm->encode("12"), (Ids{0, 1}));
  EXPECT_EQ(smollm->decode(Ids{0, 3, 1}), "12");  // padding has no text
  vocabulary.pre = "gpt-2";
  EXPECT_EQ(*Tokenizer::from_gguf(vocabulary, "m.gguf")->encode("12"), Ids{2});
  vocabulary.pre = "martian";
  const auto martian = Tokenizer::from_gguf(vocabulary, "m.gguf");
  ASSERT_FALSE(martian);
  EXPECT_EQ(martian.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(martian.error().message.find("martian"), std::string::npos);
  EXPECT_NE(martian.error().message.find("smollm"), std::string::npos);
}

TEST(GgufTokenizer, RefusesListsOfDifferentLengthsAndIdsOutsideThem) {
  GgufVocabulary vocabulary = tiny_gguf();
  vocabulary.scores.pop_back();
  EXPECT_EQ(Tokenizer::from_gguf(vocabulary, "m").error().code, ErrorCode::kBadFile);
  vocabulary = tiny_gguf();
  vocabulary.token_type.push_back(1);
  EXPECT_EQ(Tokenizer::from_gguf(vocabulary, "m").error().code, ErrorCode::kBadFile);
  vocabulary = tiny_gguf();
  vocabulary.bos_id = 8;
  EXPECT_EQ(Tokenizer::from_gguf(vocabulary, "m").error().code, ErrorCode::kBadFile);
  vocabulary = tiny_gguf();
  vocabulary.tokens.clear();
  EXPECT_EQ(Tokenizer::from_gguf(vocabulary, "m").error().code, ErrorCode::kBadFile);
  vocabulary = tiny_gguf();
  vocabulary.model = "bert";
  EXPECT_EQ(Tokenizer::from_gguf(vocabulary, "m").error().code, ErrorCode::kUnsupported);
}

TEST(Detokenizer, NeverGivesPartOfACharacter) {
  const Tokenizer tokenizer = open("gpt2.json");
  const std::string text =
      "na"
      "\xC3\xAF"
      "ve "
      "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7\xE2\x80\x8D\xF0\x9F"
      "\x91\xA6 \xE4\xBD\xA0\xE5\xA5\xBD x";
  Detokenizer detokenizer(tokenizer);
  std::string joined;
  const Ids ids = *tokenizer.encode(text);
  for (const int32_t id : ids) {
    const std::string_view piece = detokenizer.push(id);
    EXPECT_TRUE(is_utf8(piece));
    joined += piece;
  }
  joined += detokenizer.finish();
  EXPECT_EQ(joined, text);
}

TEST(Detokenizer, BrokenBytesBecomeReplacementCharactersAsInDecode) {
  for (const char* name : {"gpt2.json", "llama2.json"}) {
    const Tokenizer tokenizer = open(name);
    Ids ids = *tokenizer.encode("\xF0\x9F\x91\x8D ok \xF0\x9F\x91\x8D\xF0\x9F\x91\x8D",
                                {.add_special_tokens = false});
    for (size_t drop = 0; drop < ids.size(); ++drop) {
      Ids broken = ids;
      broken.erase(broken.begin() + static_cast<std::ptrdiff_t>(drop));
      Detokenizer detokenizer(tokenizer);
      std::string joined;
      for (const int32_t id : broken) joined += detokenizer.push(id);
      joined += detokenizer.finish();
      EXPECT_EQ(joined, tokenizer.decode(broken, SkipSpecial::kYes));
      EXPECT_TRUE(is_utf8(joined));
    }
  }
}

TEST(Detokenizer, ContextKeepsTheSpaceThatTheFrontOfATextLoses) {
  const Tokenizer tokenizer = open("llama2.json");
  const Ids prompt = *tokenizer.encode("One");
  const Ids answer = *tokenizer.encode("day", {.add_special_tokens = false});
  Detokenizer alone(tokenizer);
  std::string text;
  for (const int32_t id : answer) text += alone.push(id);
  EXPECT_EQ(text += alone.finish(), "day");
  Detokenizer behind(tokenizer, SkipSpecial::kYes, prompt);
  text.clear();
  for (const int32_t id : answer) text += behind.push(id);
  EXPECT_EQ(text += behind.finish(), " day");
}

TEST(Detokenizer, ContextThatWasHeldBackIsNotGivenAgain) {
  // Bytes wait until the run of them ends, so those of the prompt come out with the answer.
  const Tokenizer tokenizer = open("llama2.json");
  const Ids prompt = *tokenizer.encode("x \xF0\x9F\x91\x8D");
  const Ids more = *tokenizer.encode(
      "\xF0\x9F\x91\x8D"
      "a",
      {.add_special_tokens = false});
  Detokenizer detokenizer(tokenizer, SkipSpecial::kYes, prompt);
  std::string text;
  for (size_t i = 1; i < more.size(); ++i) text += detokenizer.push(more[i]);
  EXPECT_EQ(text += detokenizer.finish(),
            "\xF0\x9F\x91\x8D"
            "a");
}

TEST(Utf8, ReplacesInvalidBytesAsPythonDoes) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(replace_invalid_utf8("a\xFF"
                                 "b"),
            "a" + r + "b");
  EXPECT_EQ(replace_invalid_utf8("\xE4\xBD"
                                 "b"),
            r + "b");                                                  // cut off by a letter
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x91"), r);                  // by the end
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF"), r + r);                  // overlong
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), r + r + r);          // a surrogate
  EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
  EXPECT_EQ(replace_invalid_utf8("\xE0\x80"), r + r);
  EXPECT_EQ(replace_invalid_utf8("ok \xE2\x96\x81"), "ok \xE2\x96\x81");
}

TEST(Characters, ByteAlphabetGoesBothWays) {
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(byte_level_byte(byte_level_character(static_cast<unsigned char>(byte))), byte);
  }
  EXPECT_EQ(byte_level_character(' '), char32_t{0x120});
  EXPECT_EQ(byte_level_byte(' '), -1);
  EXPECT_EQ(byte_level_byte(0x144), -1);
}

}  // namespace
}  // namespace quern
