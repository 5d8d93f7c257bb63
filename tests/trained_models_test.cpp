// Small models that were really trained, run from outside by both executors: published text, tasks
// whose right answer is known, and the executors against each other. tools/convert_trained.py makes
// folders of them out of their own formats. With QUERN_TEST_FULL: every format on every instruction
// set of this CPU.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <sstream>

#include "base/cat.h"
#include "base/file.h"
#include "base/json.h"
#include "process.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using Words = std::vector<std::string>;

const std::string kExecutors[] = {"reference", "cpu"};
const std::string kStory =
    "Once upon a time, there was a little girl named Lily. She loved to play";

/// The reference never rounds activations and keeps keys and values as asked; so does the cpu here.
const Words kNothingRounded = {"--activations", "f32", "--kv-cache-dtype", "f32"};

fs::path assets() {
  const char* given = std::getenv("QUERN_TEST_ASSETS");
  return given != nullptr ? fs::path(given) : fs::path(QUERN_SOURCE_DIR) / "../shared/assets";
}

Words operator+(Words left, const Words& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

Json parsed(const std::string& text) {
  const auto value = parse_json(text, "the text");
  EXPECT_TRUE(value) << text;
  return value ? *value : Json();
}

Json golden(const std::string& name) {
  const auto text = read_file((assets() / "golden" / name).string(), 1 << 20);
  EXPECT_TRUE(text) << name;
  return text ? parsed(*text) : Json();
}

Json greedy(const Ids& prompt, size_t max_tokens) {
  return {{"prompt_token_ids", prompt},
          {"max_tokens", max_tokens},
          {"temperature", 0},
          {"ignore_eos", true}};
}

/// The answers of one process to all requests.
std::vector<Json> answers(const std::string& model, const std::vector<Json>& requests,
                          const Words& flags) {
  std::string lines;
  for (const Json& request : requests) lines += dump_json(request) + "\n";
  const ProcessResult result = run_quern(Words{"run", model, "--prompts", "-"} + flags, lines);
  EXPECT_EQ(result.status, 0) << result.err;
  std::vector<Json> objects;
  std::istringstream stream(result.out);
  for (std::string line; std::getline(stream, line);) objects.push_back(parsed(line));
  EXPECT_EQ(objects.size(), requests.size());
  objects.resize(requests.size());
  return objects;
}

Json answer(const std::string& model, const Json& request, const Words& flags) {
  return answers(model, {request}, flags)[0];
}

Json perplexity(const std::string& model, const std::string& text, const Words& flags) {
  const ProcessResult result = run_quern(Words{"perplexity", model, "-", "--json"} + flags, text);
  EXPECT_EQ(result.status, 0) << result.err;
  return parsed(result.out);
}

class TrainedModels : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!fs::is_directory(assets() / "models/stories260K")) {
      missing_ = cat("no trained models in ", assets().string(),
                     ": set QUERN_TEST_ASSETS to the folder of test assets");
    } else if (run_process({"/usr/bin/env", "python3", "--version"}).status != 0) {
      missing_ = "no python3, which tools/convert_trained.py needs";
    } else {
      std::string name = (fs::temp_directory_path() / "quern_trained_XXXXXX").string();
      ASSERT_NE(::mkdtemp(name.data()), nullptr) << name;
      folder_ = name;
      const ProcessResult result =
          run_process({"/usr/bin/env", "python3", QUERN_SOURCE_DIR "/tools/convert_trained.py",
                       assets().string(), name});
      ASSERT_EQ(result.status, 0) << result.err;
    }
  }
  static void TearDownTestSuite() {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  void SetUp() override {
    if (!missing_.empty()) GTEST_SKIP() << missing_;
  }

  static std::string model(const std::string& name) { return (folder_ / name).string(); }
  static std::string tiny_gguf() {
    return (assets() / "models/gguf-llama-2-tiny-random/llama-2-tiny-random.gguf").string();
  }

 private:
  static inline std::string missing_;
  static inline fs::path folder_;
};

TEST_F(TrainedModels, Stories260KTellsThePublishedStory) {
  const Json story = golden("stories260K.json");
  for (const std::string& executor : kExecutors) {
    const Json got = answer(model("stories260K"), greedy({1}, story["steps"].get<size_t>()),
                            {"--executor", executor, "--dtype", "f32"});
    EXPECT_EQ(got["text"], story["text"]) << executor;
  }
}

TEST_F(TrainedModels, Stories260KHasItsPerplexity) {
  for (const std::string& executor : kExecutors) {
    const Json got = perplexity(model("stories260K"),
                                "One day, a clever fox found a shiny key under the old oak tree.",
                                {"--executor", executor, "--dtype", "f32"});
    EXPECT_EQ(got["tokens"], 35) << executor;
    EXPECT_EQ(got["scored"], 34) << executor;
    EXPECT_NEAR(got["perplexity"].get<double>(), 4.9536, 0.001) << executor;
  }
}

// The context of 11 ends before the sixth letter of the answer, which is the one left over.
TEST_F(TrainedModels, NanoSortSorts) {
  std::mt19937 random(1);
  std::vector<Json> requests;
  std::vector<Ids> sorted;
  for (int i = 0; i < 200; ++i) {
    Ids letters(6);
    for (int32_t& letter : letters) letter = static_cast<int32_t>(random() % 3);
    requests.push_back(greedy(letters, 5));
    std::ranges::sort(letters);
    letters.pop_back();
    sorted.push_back(letters);
  }
  for (const std::string& executor : kExecutors) {
    const auto got =
        answers(model("gpt2-nano-sort"), requests, {"--executor", executor, "--dtype", "f32"});
    for (size_t i = 0; i < sorted.size(); ++i) {
      EXPECT_EQ(got[i]["token_ids"], Json(sorted[i])) << executor << " " << dump_json(requests[i]);
    }
  }
}

TEST_F(TrainedModels, InductionContinuesPatternsInEveryFormat) {
  const Json cases = golden("gpt2-induction.json");
  ASSERT_EQ(cases.size(), 40u);
  std::vector<Json> requests;
  for (const Json& c : cases) {
    requests.push_back(greedy(c["prompt_ids"].get<Ids>(), c["expected_ids"].size()));
  }
  for (const std::string& executor : kExecutors) {
    for (const std::string dtype : {"f32", "bf16", "q8_0"}) {
      const auto got =
          answers(model("gpt2-induction"), requests, {"--executor", executor, "--dtype", dtype});
      for (size_t i = 0; i < cases.size(); ++i) {
        EXPECT_EQ(got[i]["token_ids"], cases[i]["expected_ids"])
            << executor << " " << dtype << " " << cases[i]["prompt"];
      }
    }
  }
}

TEST_F(TrainedModels, BabyllamaTellsOneStoryOnBothExecutorsInEveryFormat) {
  for (const std::string dtype : {"f32", "bf16", "q8_0", "q4_0"}) {
    std::vector<Json> ids;
    for (const std::string& executor : kExecutors) {
      const Json got = answer(model("babyllama"), greedy({1}, 160),
                              Words{"--executor", executor, "--dtype", dtype} + kNothingRounded);
      EXPECT_TRUE(got["text"].get<std::string>().starts_with(kStory)) << executor << " " << dtype;
      ids.push_back(got["token_ids"]);
    }
    EXPECT_EQ(ids[0], ids[1]) << dtype;
  }
}

// Rounded activations may tip a near tie, so the text is compared with itself and the perplexity
// with what the reference computes from the same weights.
TEST_F(TrainedModels, BabyllamaIsHardlyWorseWithActivationsInInt8) {
  const std::string story = golden("stories260K.json")["text"].get<std::string>();
  for (const auto& [dtype, expected] : {std::pair{"q8_0", 1.3596}, {"q4_0", 1.4707}}) {
    const Words flags = {"--dtype", dtype, "--activations", "int8", "--threads"};
    EXPECT_NEAR(
        perplexity(model("babyllama"), story, flags + Words{"2"})["perplexity"].get<double>(),
        expected, 0.005)
        << dtype;
    const Json one = answer(model("babyllama"), greedy({1}, 160), flags + Words{"1"});
    const Json two = answer(model("babyllama"), greedy({1}, 160), flags + Words{"2"});
    EXPECT_EQ(one["text"], two["text"]) << dtype;
    EXPECT_TRUE(one["text"].get<std::string>().starts_with("Once upon a time, there was a little"))
        << one["text"];
  }
}

TEST_F(TrainedModels, TinyRandomLlamaAnswersAsLlamaCppRecorded) {
  const Json item = golden("llama-2-tiny-random.json")["items"][0];
  for (const std::string& executor : kExecutors) {
    const Json got =
        answer(tiny_gguf(), {{"prompt", item["text"]}, {"max_tokens", 24}, {"temperature", 0}},
               Words{"--executor", executor} + kNothingRounded);
    EXPECT_EQ(got["prompt_tokens"], item["prompt_ids"].size()) << executor;
    EXPECT_EQ(got["token_ids"], item["greedy_24"]) << executor;
  }
}

/// Random ids in vocabulary and context of the model, all of whose log-probabilities are wanted.
std::vector<Json> random_requests(const std::string& model) {
  const Json shown = parsed(run_quern({"show", model, "--json"}).out);
  const size_t length = std::min(shown["context_length"].get<size_t>() - 1, size_t{40});
  std::mt19937 random(1);
  std::vector<Json> requests;
  for (int i = 0; i < 4; ++i) {
    Ids ids(length);
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random() % shown["vocab_size"].get<uint32_t>());
    requests.push_back(greedy(ids, 1));
    requests.back()["prompt_logprobs"] = 0;
  }
  return requests;
}

double largest_difference(const std::vector<Json>& left, const std::vector<Json>& right) {
  double largest = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const Json &a = left[i]["prompt_logprobs"], &b = right[i]["prompt_logprobs"];
    if (a.size() < 2 || a.size() != b.size()) return INFINITY;
    for (size_t t = 1; t < a.size(); ++t) {
      largest = std::max(largest,
                         std::abs(a[t]["logprob"].get<double>() - b[t]["logprob"].get<double>()));
    }
  }
  return largest;
}

// A format too wide for the rows of a model gives way to the next that fits, on both sides alike.
TEST_F(TrainedModels, CpuEqualsReferenceInEveryFormatOnEveryInstructionSet) {
  if (std::getenv("QUERN_TEST_FULL") == nullptr) GTEST_SKIP() << "takes long: set QUERN_TEST_FULL";
  const Json isas = parsed(run_quern({"doctor", "--json"}).out)["cpu"]["isa"];
  ASSERT_FALSE(isas.empty());
  for (const std::string& path : {model("stories260K"), model("babyllama"), model("gpt2-induction"),
                                  model("gpt2-nano-sort"), tiny_gguf()}) {
    const std::vector<Json> requests = random_requests(path);
    for (const std::string dtype : {"f32", "bf16", "q8_0", "q4_0"}) {
      const Words flags = Words{"--dtype", dtype} + kNothingRounded;
      const auto expected = answers(path, requests, flags + Words{"--executor", "reference"});
      double worst = 0;
      for (const Json& isa : isas) {
        const auto got = answers(path, requests, flags + Words{"--isa", isa.get<std::string>()});
        const double difference = largest_difference(expected, got);
        const bool rounds = isa == "avx512bf16" && dtype == "bf16";  // activations to bf16
        EXPECT_LT(difference, rounds ? 0.2 : 1e-4) << path << " " << dtype << " " << isa;
        if (!rounds) worst = std::max(worst, difference);
      }
      std::printf("%s %s: largest difference of a log-probability %.1e\n",
                  fs::path(path).filename().c_str(), dtype.c_str(), worst);
    }
  }
}

}  // namespace
}  // namespace quern
