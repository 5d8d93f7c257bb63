#include "models/quantize.h"

#include <gtest/gtest.h>

#include "models/test_models.h"

namespace quern {
namespace {

QuantizeReport quantize(const std::filesystem::path& in, const std::filesystem::path& out,
                        const QuantizeOptions& options) {
  auto files = open_model_files(in.string(), {});
  EXPECT_TRUE(files) << files.error().message;
  auto report = quantize_model(*std::move(files), out, options);
  EXPECT_TRUE(report) << report.error().message;
  return report ? *std::move(report) : QuantizeReport();
}

TEST(QuantizeModel, EndsWhereItIsToldToAndLeavesNothing) {
  const TemporaryFolder folder;
  const auto in = golden("llama") / "model-f32.gguf";
  int calls = 0;
  QuantizeOptions options{.dtype = DType::of<Q8_0>()};
  options.progress = [&](double) { return ++calls < 5; };
  EXPECT_TRUE(quantize(in, folder.path() / "a.gguf", options).interrupted);
  EXPECT_EQ(calls, 5);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(QuantizeModel, ProgressRisesToOne) {
  const TemporaryFolder folder;
  double last = 0;
  QuantizeOptions options{.dtype = DType::of<Q4_0>()};
  options.progress = [&](double fraction) {
    EXPECT_GE(fraction, last);
    last = fraction;
    return true;
  };
  quantize(golden("gpt2") / "model-f32.gguf", folder.path() / "a.gguf", options);
  EXPECT_GT(last, 0.95);
  EXPECT_LE(last, 1.0);
}

TEST(QuantizeModel, NumberOfThreadsChangesNothing) {
  const TemporaryFolder folder;
  for (const int threads : {1, 3}) {
    QuantizeOptions options{.dtype = DType::of<Q4_1>(), .threads = threads};
    quantize(golden("qwen2") / "model-f32.gguf", folder.path() / cat(threads, ".gguf"), options);
  }
  EXPECT_EQ(read_text(folder.path() / "1.gguf"), read_text(folder.path() / "3.gguf"));
}

}  // namespace
}  // namespace quern
