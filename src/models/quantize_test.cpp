#include "models/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

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

std::vector<float> weights_of(const Model& model) {
  std::vector<float> all;
  for (size_t i = 0; i < model.program.weights.size(); ++i) {
    const auto values =
        decode_all(*model.weights, model.program, WeightId{static_cast<int32_t>(i)});
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

// Permuted, transposed and shifted on the way into the file, and back on the way out.
TEST(QuantizeModel, AFolderBecomesAFileOfTheSameWeights) {
  const TemporaryFolder folder;
  for (const std::string name : {"gemma3", "gpt2", "llama", "llama-tied", "qwen2"}) {
    const auto out = folder.path() / (name + ".gguf");
    quantize(golden(name), out, {.dtype = DType::of<F32>()});
    const auto from = open_model(golden(name).string(), {});
    const auto to = open_model(out.string(), {});
    ASSERT_TRUE(to) << to.error().message;
    EXPECT_EQ(print_program(to->program), print_program(from->program));
    // One added to a weight around zero and taken away again leaves a rounding.
    EXPECT_TRUE(std::ranges::equal(weights_of(*to), weights_of(*from), [&](float a, float b) {
      return name == "gemma3" ? std::abs(a - b) < 1e-6f : a == b;
    })) << name;
    EXPECT_EQ(to->config.vocab_size, from->config.vocab_size);
    const auto ends = [](const Model& model) {
      return std::set(model.generation.eos_token_ids.begin(), model.generation.eos_token_ids.end());
    };
    EXPECT_TRUE(std::ranges::includes(ends(*to), ends(*from))) << name;
    const auto templates = to->files.chat_templates();
    ASSERT_TRUE(templates);
    EXPECT_EQ(templates->sources, from->files.chat_templates()->sources) << name;
  }
}

TEST(QuantizeModel, AFolderOfTheSameTypeHoldsTheSameNumbers) {
  const TemporaryFolder folder;
  for (const std::string name : {"gemma3", "gpt2", "llama", "llama-tied", "qwen2"}) {
    quantize(golden(name), folder.path() / name, {.dtype = DType::of<F32>()});
    const auto from = open_model(golden(name).string(), {});
    const auto to = open_model((folder.path() / name).string(), {});
    ASSERT_TRUE(to) << to.error().message;
    EXPECT_EQ(weights_of(*to), weights_of(*from)) << name;
    const auto tokenizer = from->files.tokenizer();
    EXPECT_EQ(tokenizer.has_value(), to->files.tokenizer().has_value());
    if (!tokenizer) continue;
    EXPECT_EQ(*(*to->files.tokenizer())->encode("A fox."), *(*tokenizer)->encode("A fox."));
  }
}

TEST(QuantizeModel, W8A8IsWithinHalfAStepOfEachRow) {
  const TemporaryFolder folder;
  const auto out = folder.path() / "w8a8";
  const QuantizeOptions options{.dtype = DType::of<W8A8>()};
  const QuantizeReport report = quantize(golden("llama"), out, options);
  EXPECT_LT(report.bits_per_weight, 20.0);  // head and embeddings of a tiny model weigh
  const auto from = Checkpoint::open(golden("llama"));
  const auto to = Checkpoint::open(out / "model.safetensors");
  ASSERT_TRUE(to) << to.error().message;
  int products = 0;
  for (const TensorInfo& tensor : from->tensors()) {
    const TensorInfo* written = to->find(tensor.name);
    ASSERT_NE(written, nullptr) << tensor.name;
    const TensorInfo* scale = to->find(tensor.name + "_scale");
    EXPECT_EQ(scale != nullptr, tensor.name.ends_with("_proj.weight")) << tensor.name;
    if (scale == nullptr) {
      EXPECT_TRUE(std::ranges::equal(to->bytes(*written), from->bytes(tensor))) << tensor.name;
      continue;
    }
    ++products;
    const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
    EXPECT_EQ(written->type_name, "I8");
    EXPECT_EQ(written->shape, tensor.shape);
    ASSERT_EQ(scale->shape, (std::vector<int64_t>{rows, 1}));
    std::vector<float> scales(static_cast<size_t>(rows)), values(static_cast<size_t>(rows * cols));
    DType::of<F32>().decode_row(to->bytes(*scale).data(), scales);
    DType::of<F32>().decode_row(from->bytes(tensor).data(), values);
    for (size_t i = 0; i < values.size(); ++i) {
      const auto level = static_cast<float>(static_cast<int8_t>(to->bytes(*written)[i]));
      const float step = scales[i / static_cast<size_t>(cols)];
      ASSERT_LE(std::abs(level * step - values[i]), 0.5001f * step) << tensor.name << " " << i;
    }
  }
  EXPECT_EQ(products, 14);
  const Json config = *parse_json(read_text(out / "config.json"), "config.json");
  const Json& quantization = config["quantization_config"];
  EXPECT_EQ(quantization["quant_method"], "compressed-tensors");
  EXPECT_EQ(quantization["format"], "int-quantized");
  EXPECT_EQ(quantization["ignore"], Json::array({"lm_head"}));
  EXPECT_EQ(quantization["config_groups"]["group_0"]["weights"]["strategy"], "channel");
  EXPECT_EQ(quantization["config_groups"]["group_0"]["input_activations"]["strategy"], "token");
}

/// The error of quantizing a golden model with one text of its config.json replaced.
Error refusal(std::string_view model, std::string_view field, std::string_view value) {
  const TemporaryFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(golden(model))) {
    if (entry.is_regular_file()) folder.copy(entry.path());
  }
  Json config = *parse_json(read_text(folder.path() / "config.json"), "config.json");
  config[std::string(field)] = *parse_json(value, "value");
  folder.write("config.json", dump_json(config));
  auto files = open_model_files(folder.path().string(), {});
  const auto out = folder.path() / "a.gguf";
  int tensors = 0;
  const auto progress = [&](double) { return ++tensors > 0; };
  const auto report =
      quantize_model(*std::move(files), out, {.dtype = DType::of<F32>(), .progress = progress});
  EXPECT_FALSE(std::filesystem::exists(out));
  EXPECT_LE(tensors, 1) << "written before it was refused";
  return report ? Error{} : report.error();
}

TEST(QuantizeModel, RefusesAConfigThatGgufHasNoWordsFor) {
  const auto expect = [](std::string_view model, std::string_view field, std::string_view value,
                         std::string_view culprit) {
    const Error error = refusal(model, field, value);
    EXPECT_EQ(error.code, ErrorCode::kUnsupported) << error.message;
    EXPECT_NE(error.message.find(culprit), std::string::npos) << error.message;
  };
  expect("llama", "hidden_act", "\"gelu\"", "hidden_act");
  expect("gpt2", "scale_attn_by_inverse_layer_idx", "true", "scale_attn_by_inverse_layer_idx");
  expect("gemma3", "query_pre_attn_scalar", "64", "query_pre_attn_scalar");
}

}  // namespace
}  // namespace quern
