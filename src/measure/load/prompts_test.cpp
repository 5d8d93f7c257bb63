#include "measure/load/prompts.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "base/cat.h"
#include "measure/load/random_text.h"

namespace quern {
namespace {

int64_t num_words(const std::string& text) {
  std::istringstream stream(text);
  return std::distance(std::istream_iterator<std::string>(stream), {});
}

std::string first_words(const std::string& text, int count) {
  std::istringstream stream(text);
  std::string out, word;
  for (int i = 0; i < count && stream >> word; ++i) out += word + " ";
  return out;
}

std::vector<LoadPrompt> prompts_of(std::string_view dataset, const PromptOptions& options) {
  const auto read = find_dataset(dataset)->read(options);
  EXPECT_TRUE(read) << read.error().message;
  return read ? read->prompts : std::vector<LoadPrompt>();
}

/// A file of its own for a test.
class TextFile {
 public:
  explicit TextFile(const std::string& content) {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            cat("quern_", test->name(), "_", ::getpid(), ".json");
    std::ofstream(path_) << content;
  }
  ~TextFile() { std::filesystem::remove(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string failure_of(std::string_view dataset, const std::string& content,
                       PromptOptions options = {}) {
  const TextFile file(content);
  options.path = file.path();
  const auto read = find_dataset(dataset)->read(options);
  if (read) return "none";
  EXPECT_EQ(read.error().code, ErrorCode::kBadFile);
  return read.error().message;
}

void expect_in(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << text << " lacks " << part;
  }
}

TEST(RandomPrompts, HaveTheLengthsThatWereAskedForAndNoTwoBeginAlike) {
  const auto prompts = prompts_of("random", {.count = 2000, .input_len = 6, .output_len = 3});
  std::set<std::string> beginnings;
  for (const LoadPrompt& prompt : prompts) {
    EXPECT_EQ(num_words(prompt.text), 6);
    EXPECT_EQ(prompt.input_tokens, 6);
    EXPECT_EQ(prompt.max_tokens, 3);
    beginnings.insert(first_words(prompt.text, 4));
  }
  EXPECT_EQ(beginnings.size(), prompts.size());
}

TEST(RandomPrompts, AreTheSeedsAndSharePrefixesOnlyWhereAsked) {
  const auto texts = [](const PromptOptions& options) {
    std::vector<std::string> out;
    for (const LoadPrompt& prompt : prompts_of("random", options)) out.push_back(prompt.text);
    return out;
  };
  const PromptOptions one{.count = 3, .input_len = 20, .seed = 1};
  const PromptOptions two{.count = 3, .input_len = 20, .seed = 2};
  EXPECT_EQ(texts(one), texts(one));
  EXPECT_NE(first_words(texts(one)[0], 4), first_words(texts(two)[0], 4));

  const auto shared = texts({.count = 3, .input_len = 5, .prefix_len = 7});
  EXPECT_EQ(num_words(shared[0]), 12);
  EXPECT_EQ(first_words(shared[0], 7), first_words(shared[1], 7));
  EXPECT_NE(first_words(shared[0], 11), first_words(shared[1], 11));
}

TEST(RandomPrompts, ShortOnesAreCutAndARatioSpreadsLengthsEvenly) {
  EXPECT_EQ(num_words(prompts_of("random", {.count = 1, .input_len = 1})[0].text), 1);
  const auto prompts =
      prompts_of("random", {.count = 3000, .input_len = 10, .output_len = 4, .range_ratio = 0.5});
  std::map<int64_t, int> lengths;
  for (const LoadPrompt& prompt : prompts) ++lengths[num_words(prompt.text)];
  EXPECT_EQ(lengths.begin()->first, 5);
  EXPECT_EQ(lengths.rbegin()->first, 15);
  for (const auto& [length, count] : lengths) EXPECT_NEAR(count, 3000 / 11, 80) << length;
}

TEST(RandomPrompts, MoreThanMemoryIsRefusedBeforeItIsTaken) {
  const auto read = find_dataset("random")->read({.count = 1'000'000, .input_len = 1'000'000});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kDoesNotFit);
}

TEST(RandomPrompts, AreFittedToATokenizer) {
  // Bytes are the tokens here, so that words are several each.
  std::string vocabulary;
  for (int c = 'a'; c <= 'z'; ++c) {
    vocabulary += cat("\"", static_cast<char>(c), "\":", c - 'a', ",");
  }
  const auto tokenizer = Tokenizer::from_tokenizer_json(
      cat(R"({"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,)",
          R"("decoder":null,"model":{"type":"BPE","dropout":null,"unk_token":"?",)",
          R"("continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,)",
          R"("byte_fallback":false,"vocab":{)", vocabulary, R"("?":26},"merges":[]}})"),
      "test");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  for (const LoadPrompt& prompt :
       prompts_of("random", {.count = 20, .input_len = 200, .tokenizer = &*tokenizer})) {
    EXPECT_EQ(prompt.input_tokens, static_cast<int64_t>(prompt.text.size()));
    EXPECT_NEAR(prompt.input_tokens, 200, 6);
  }
}

TEST(CustomPrompts, AreLinesAndComeAgainWhereThereAreTooFew) {
  const TextFile file(
      "{\"prompt\":\"one\"}\n\n{\"prompt\":\"two words\",\"output_tokens\":7,\"x\":1}\n");
  const auto read = find_dataset("custom")->read({.count = 5, .path = file.path()});
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->repeat);
  ASSERT_EQ(read->prompts.size(), 5u);
  EXPECT_EQ(read->prompts[1].text, "two words");
  EXPECT_EQ(read->prompts[0].max_tokens, 128);
  EXPECT_EQ(read->prompts[1].max_tokens, 7);
  EXPECT_EQ(read->prompts[4].text, "one");
  EXPECT_EQ(prompts_of("custom", {.count = 2, .output_len = 3, .path = file.path()})[1].max_tokens,
            3);
}

TEST(CustomPrompts, ABadLineIsNamedWithItsField) {
  expect_in(failure_of("custom", "{\"prompt\":\"a\"}\n{\"prompt\":7}\n"), {"line 2", "prompt"});
  expect_in(failure_of("custom", "{\"promt\":\"a\"}\n"), {"line 1", "prompt"});
  expect_in(failure_of("custom", "{\"prompt\":\"a\",\"output_tokens\":0}\n"),
            {"line 1", "output_tokens", "0"});
  expect_in(failure_of("custom", "{\"prompt\":\n"), {"line 1", "JSON"});
  expect_in(failure_of("custom", "[1]\n"), {"line 1", "object"});
  expect_in(failure_of("custom", "\n"), {"no prompts"});
  const auto missing = find_dataset("custom")->read({.path = "/nonexistent.jsonl"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
}

TEST(TracePrompts, ArriveAtTheirTimestampsAndShareTheBlocksThatTheTraceShares) {
  const TextFile file(
      "{\"timestamp\":1000,\"input_length\":600,\"output_length\":4,\"hash_ids\":[1,2]}\n"
      "{\"timestamp\":1500.5,\"input_length\":520,\"output_length\":5,\"hash_ids\":[1,3]}\n"
      "{\"timestamp\":2000,\"input_length\":3,\"output_length\":6}\n");
  const auto read = find_dataset("trace")->read({.path = file.path()});
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->have_arrivals);
  const auto& prompts = read->prompts;
  ASSERT_EQ(prompts.size(), 3u);
  EXPECT_EQ(prompts[1].arrival_ns, 500'500'000);
  EXPECT_EQ(prompts[2].max_tokens, 6);
  EXPECT_EQ(num_words(prompts[0].text), 600);
  EXPECT_EQ(num_words(prompts[1].text), 520);
  EXPECT_EQ(num_words(prompts[2].text), 3);
  EXPECT_EQ(first_words(prompts[0].text, 512), first_words(prompts[1].text, 512));
  EXPECT_NE(first_words(prompts[0].text, 516), first_words(prompts[1].text, 516));
  EXPECT_EQ(prompts_of("trace", {.count = 2, .path = file.path()}).size(), 2u);
}

TEST(TracePrompts, ABadLineIsNamedWithItsField) {
  const std::string good = "{\"timestamp\":5,\"input_length\":1,\"output_length\":1}\n";
  expect_in(failure_of("trace", good + "{\"timestamp\":4,\"input_length\":1,\"output_length\":1}"),
            {"line 2", "timestamp", "4", "5"});
  expect_in(failure_of("trace", "{\"input_length\":1,\"output_length\":1}"),
            {"line 1", "timestamp"});
  expect_in(failure_of("trace", "{\"timestamp\":1,\"input_length\":0,\"output_length\":1}"),
            {"line 1", "input_length", "0"});
  expect_in(
      failure_of("trace", "{\"timestamp\":1,\"input_length\":999999999999,\"output_length\":1}"),
      {"line 1", "input_length"});
  expect_in(failure_of("trace", good + good.substr(0, good.size() - 2) + ",\"hash_ids\":[\"a\"]}"),
            {"line 2", "hash_ids"});
  expect_in(failure_of("trace", good, {.count = 2}), {"1", "2", "--num-prompts"});
}

TEST(ShareGptPrompts, AreFirstTurnsOfConversationsThatAreNeitherTinyNorLong) {
  const std::string text(40, 'x'), answer(80, 'y'), huge(9000, 'z');
  const auto entry = [](const std::string& prompt, const std::string& said) {
    return cat(R"({"id":"a","conversations":[{"from":"human","value":")", prompt,
               R"("},{"from":"gpt","value":")", said, R"("},{"from":"human","value":"more"}]})");
  };
  const TextFile file(cat("[", entry(text, answer), ",", entry("hi", answer), ",",
                          entry(huge, answer),
                          R"(,{"id":"b","conversations":[]},{"x":[{"value":3}],)",
                          R"("conversations":[{"from":"human","value":"alone"}]}])"));
  const auto prompts = prompts_of("sharegpt", {.count = 3, .path = file.path()});
  ASSERT_EQ(prompts.size(), 3u);  // the one that fits, again and again
  EXPECT_EQ(prompts[0].text, text);
  EXPECT_EQ(prompts[2].text, text);
  EXPECT_EQ(prompts[0].input_tokens, 10);
  EXPECT_EQ(prompts[0].max_tokens, 20);
  EXPECT_EQ(
      prompts_of("sharegpt", {.count = 1, .output_len = 2, .path = file.path()})[0].max_tokens, 2);
}

TEST(ShareGptPrompts, ABadFileIsNamedWithItsEntryAndField) {
  expect_in(failure_of("sharegpt", "{}"), {"array"});
  expect_in(failure_of("sharegpt", "7"), {"array"});
  expect_in(failure_of("sharegpt", "[{}, 7]"), {"entry 2", "object"});
  expect_in(failure_of("sharegpt", "[{\"conversations\":3}]"), {"entry 1", "conversations"});
  expect_in(failure_of("sharegpt", "[{\"conversations\":[3]}]"), {"entry 1", "conversations"});
  expect_in(failure_of("sharegpt", "[{\"conversations\":[{\"value\":3}]}]"), {"entry 1", "value"});
  expect_in(failure_of("sharegpt", "[{\"conversations\":["), {"JSON"});
  expect_in(failure_of("sharegpt", "[]"), {"no conversation"});
}

TEST(Datasets, AreFoundByName) {
  EXPECT_EQ(find_dataset("sonnet"), nullptr);
  EXPECT_EQ(dataset_names(), "random, custom, sharegpt, trace");
}

}  // namespace
}  // namespace quern
