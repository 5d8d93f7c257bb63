// Every architecture against what transformers recorded of it, from both file formats, on both
// executors.

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "exec/cpu/isa.h"
#include "llm/golden_models.h"
#include "models/quantize.h"

namespace quern {
namespace {

/// Keeps the logits of one prompt position.
class KeepRow final : public PromptRowSink {
 public:
  explicit KeepRow(int64_t position) : position_(position) {}
  void on_row(int64_t position, std::span<const float> logits) override {
    if (position == position_) row.assign(logits.begin(), logits.end());
  }
  std::vector<float> row;

 private:
  int64_t position_;
};

std::vector<float> last_logits(Llm& llm, const std::vector<int32_t>& prompt) {
  // The row of a prompt's last token belongs to the answer: one more token makes it a prompt's row.
  std::vector<int32_t> longer = prompt;
  longer.push_back(0);
  Request request = greedy_request(longer, 1);
  const auto keep = std::make_shared<KeepRow>(static_cast<int64_t>(prompt.size()) - 1);
  request.prompt_rows = keep;
  const Result<RequestResult> result = llm.answer(std::move(request));
  EXPECT_TRUE(result) << result.error().message;
  return keep->row;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  }
  return largest;
}

/// KL(a || b) of the softmaxes, in nats.
double divergence(const std::vector<float>& a, const std::vector<float>& b) {
  const auto log_sum = [](const std::vector<float>& x) {
    const double most = *std::ranges::max_element(x);
    double sum = 0;
    for (const float value : x) sum += std::exp(double{value} - most);
    return most + std::log(sum);
  };
  const double sum_a = log_sum(a), sum_b = log_sum(b);
  double out = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_a = double{a[i]} - sum_a;
    out += std::exp(log_a) * (log_a - (double{b[i]} - sum_b));
  }
  return out;
}

class Parity : public testing::TestWithParam<std::string> {
 protected:
  static std::vector<ReferenceLogits> cases() {
    const std::string folder = GetParam().substr(0, GetParam().find('/'));
    const auto read = read_reference_logits(std::string(QUERN_SOURCE_DIR) + "/models/golden/" +
                                            folder + "/reference/logits.jsonl");
    EXPECT_TRUE(read) << read.error().message;
    return *read;
  }

  static std::unique_ptr<Llm> load(const Model& model, const std::string& executor,
                                   std::optional<DType> dtype,
                                   Activations activations = Activations::kAuto) {
    RunOptions options = small_run(dtype);
    options.executor = executor;
    options.exec.activations = activations;
    options.extra_wanted_rows = 32;
    options.enable_prefix_caching = false;
    // A rounded cache turns the last bit of a sum into a whole step of its own type.
    options.kv_cache_dtype = DType::of<F32>();
    auto llm = Llm::load(model, options);
    EXPECT_TRUE(llm) << (llm ? "" : llm.error().message);
    return *std::move(llm);
  }
};

TEST_P(Parity, LogitsAndGreedyTokensAreThoseOfTransformersInF32) {
  const Model model = golden_model(GetParam());
  for (const std::string executor : {"reference", "cpu"}) {
    const auto llm = load(model, executor, DType::of<F32>());
    double worst = 0;
    for (const ReferenceLogits& c : cases()) {
      worst =
          std::max(worst, largest_difference(last_logits(*llm, c.prompt_token_ids), c.logits_last));
      // The plain executor needs a while for long answers: the first tokens tell as much.
      const size_t count =
          executor == "cpu" ? c.greedy.size() : std::min<size_t>(16, c.greedy.size());
      const auto result =
          llm->answer(greedy_request(c.prompt_token_ids, static_cast<int64_t>(count)));
      ASSERT_TRUE(result) << result.error().message;
      EXPECT_EQ(
          result->token_ids,
          std::vector<int32_t>(c.greedy.begin(), c.greedy.begin() + static_cast<ptrdiff_t>(count)))
          << executor;
    }
    EXPECT_LT(worst, 1e-3) << executor;
  }
}

TEST_P(Parity, TheCpuComputesEachFormatAsTheReferenceDoes) {
  const Model model = golden_model(GetParam());
  for (const DType dtype :
       {DType::of<BF16>(), DType::of<F16>(), DType::of<Q8_0>(), DType::of<Q4_0>(),
        DType::of<Q4_1>(), DType::of<Q5_0>(), DType::of<W8A8>()}) {
    const auto reference = load(model, "reference", dtype);
    // Weights alone quantised: the same numbers in another order of summation.
    const auto exact = load(model, "cpu", dtype, Activations::kF32);
    const auto fast = load(model, "cpu", dtype);
    for (const ReferenceLogits& c : cases()) {
      const std::vector<float> expected = last_logits(*reference, c.prompt_token_ids);
      EXPECT_LT(largest_difference(last_logits(*exact, c.prompt_token_ids), expected), 5e-3)
          << dtype.name();
      EXPECT_LT(divergence(expected, last_logits(*fast, c.prompt_token_ids)), 0.5) << dtype.name();
    }
  }
}

// A folder that was quantised and a model that is quantised while loading are the same numbers, so
// that the answers have the same bits; and they are what the reference makes of the folder.
TEST(W8A8Parity, AFolderGivesTheBitsOfTheModelQuantisedWhileLoading) {
  const auto place = std::filesystem::temp_directory_path() / cat("quern-w8a8-", ::getpid());
  for (const std::string name : {"llama", "llama-tied", "qwen2", "gemma3"}) {
    const Model floats = golden_model(name);
    auto files = open_model_files(floats.files.location.folder.string(), {});
    const auto written =
        quantize_model(*std::move(files), place, {.dtype = DType::of<W8A8>(), .force = true});
    ASSERT_TRUE(written) << written.error().message;
    const auto folder = open_model(place.string(), {});
    ASSERT_TRUE(folder) << folder.error().message;
    const auto logits = [](const Model& model, const std::string& executor,
                           std::optional<DType> dtype, Activations activations) {
      RunOptions options = small_run(dtype);
      options.executor = executor;
      options.exec.activations = activations;
      options.extra_wanted_rows = 32;
      options.kv_cache_dtype = DType::of<F32>();
      const auto llm = Llm::load(model, options);
      EXPECT_TRUE(llm) << llm.error().message;
      return last_logits(**llm, {5, 9, 17, 3, 44, 8, 21, 30, 2, 11});
    };
    const auto as_stored = logits(*folder, "cpu", std::nullopt, Activations::kAuto);
    EXPECT_EQ(as_stored, logits(floats, "cpu", DType::of<W8A8>(), Activations::kAuto)) << name;
    const auto expected = logits(*folder, "reference", std::nullopt, Activations::kAuto);
    EXPECT_EQ(expected, logits(floats, "reference", DType::of<W8A8>(), Activations::kAuto)) << name;
    EXPECT_LT(largest_difference(logits(*folder, "cpu", std::nullopt, Activations::kF32), expected),
              5e-3)
        << name;
    EXPECT_GT(largest_difference(as_stored, expected), 0.0) << name;
    EXPECT_LT(divergence(expected, as_stored), 0.05) << name;
  }
  std::filesystem::remove_all(place);
}

INSTANTIATE_TEST_SUITE_P(Golden, Parity,
                         testing::Values("gpt2", "gpt2/model-f32.gguf", "llama",
                                         "llama/model-f32.gguf", "llama-tied", "qwen2",
                                         "qwen2/model-f32.gguf", "gemma3", "gemma3/model-f32.gguf"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

}  // namespace
}  // namespace quern
