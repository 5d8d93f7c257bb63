// Folders of compressed-tensors' scheme W8A8: what is read of them, and what is refused.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>

#include "checkpoint/safetensors_writer.h"
#include "models/quantize.h"
#include "models/test_models.h"

namespace quern {
namespace {

constexpr std::string_view kWeight = "model.layers.0.mlp.down_proj.weight";
constexpr std::string_view kScale = "model.layers.0.mlp.down_proj.weight_scale";

struct Tensor {
  std::string type;
  std::vector<int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Tensor, std::less<>>;

/// The golden Llama as `quern quantize --dtype w8a8` writes it, with some tensors or the config
/// changed.
class W8A8Folder {
 public:
  W8A8Folder() {
    auto files = open_model_files(golden("llama").string(), {});
    const auto report =
        quantize_model(*std::move(files), folder(), {.dtype = DType::of<W8A8>(), .force = true});
    EXPECT_TRUE(report) << report.error().message;
  }
  std::filesystem::path folder() const { return folder_.path() / "model"; }

  void change(const std::function<void(Tensors&)>& how) const {
    Tensors tensors;
    {
      const auto checkpoint = Checkpoint::open(folder());
      ASSERT_TRUE(checkpoint) << checkpoint.error().message;
      for (const TensorInfo& tensor : checkpoint->tensors()) {
        const auto bytes = checkpoint->bytes(tensor);
        tensors[tensor.name] = {std::string(tensor.type_name),
                                tensor.shape,
                                {reinterpret_cast<const char*>(bytes.data()), bytes.size()}};
      }
    }
    how(tensors);
    std::vector<SafetensorsTensor> heads;
    std::string data;
    for (const auto& [name, tensor] : tensors) {
      heads.push_back({name, tensor.type, tensor.shape, tensor.bytes.size()});
      data += tensor.bytes;
    }
    std::ofstream(folder() / "model.safetensors", std::ios::binary)
        << safetensors_head(heads) << data;
  }
  void change_config(const std::function<void(Json& quantization)>& how) const {
    Json config = *parse_json(read_text(folder() / "config.json"), "config.json");
    how(config["quantization_config"]);
    std::ofstream(folder() / "config.json") << dump_json(config);
  }
  Result<Model> open() const { return open_model(folder().string(), {}); }

 private:
  TemporaryFolder folder_;
};

void expect_refused(const W8A8Folder& folder, ErrorCode code, std::string_view culprit,
                    std::string_view found) {
  const auto model = folder.open();
  ASSERT_FALSE(model) << culprit;
  EXPECT_EQ(model.error().code, code) << model.error().message;
  EXPECT_NE(model.error().message.find(culprit), std::string::npos) << model.error().message;
  EXPECT_NE(model.error().message.find(found), std::string::npos) << model.error().message;
}

std::string text_of(std::span<const float> values, DType type) {
  std::string bytes(values.size() * static_cast<size_t>(type.block_bytes()), '\0');
  type.encode_row(values, reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

std::vector<float> scales_of(const Tensor& tensor) {
  std::vector<float> scales(tensor.bytes.size() / 4);
  std::memcpy(scales.data(), tensor.bytes.data(), tensor.bytes.size());
  return scales;
}

TEST(W8A8, BytesAndScalesAreOneWeightOfTheModel) {
  const W8A8Folder folder;
  const auto model = folder.open();
  const auto from = open_model(golden("llama").string(), {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(model->weights->unused_tensors().empty());
  EXPECT_EQ(print_program(model->program), print_program(from->program));
  const DType w8a8 = DType::of<W8A8>();
  int products = 0;
  for (size_t i = 0; i < model->program.weights.size(); ++i) {
    const WeightId id{static_cast<int32_t>(i)};
    const WeightDecl& weight = model->program.weight(id);
    std::vector<float> values = decode_all(*from->weights, from->program, id);
    if (model->weights->stored_dtype(id) == w8a8) {
      ++products;
      const auto cols = static_cast<size_t>(weight.cols);
      std::vector<std::byte> row(static_cast<size_t>(w8a8.row_bytes(weight.cols))), room(row);
      for (int64_t r = 0; r < weight.rows; ++r) {
        const std::span<float> one(values.data() + r * weight.cols, cols);
        w8a8.encode_row(one, row.data());
        w8a8.decode_row(row.data(), one);
        const std::byte* const stored = model->weights->stored_row(id, r, room.data());
        ASSERT_EQ(std::memcmp(stored, row.data(), row.size()), 0) << weight.name << " row " << r;
      }
    }
    EXPECT_EQ(decode_all(*model->weights, model->program, id), values) << weight.name;
  }
  EXPECT_EQ(products, 14);
}

TEST(W8A8, ScalesMayBeHalves) {
  for (const DType type : {DType::of<F16>(), DType::of<BF16>()}) {
    const W8A8Folder folder;
    std::vector<float> scales;
    folder.change([&](Tensors& tensors) {
      Tensor& tensor = tensors.find(kScale)->second;
      scales = scales_of(tensor);
      tensor.type = type == DType::of<F16>() ? "F16" : "BF16";
      tensor.bytes = text_of(scales, type);
      type.decode_row(reinterpret_cast<const std::byte*>(tensor.bytes.data()), scales);
    });
    const auto model = folder.open();
    ASSERT_TRUE(model) << model.error().message;
    for (size_t i = 0; i < model->program.weights.size(); ++i) {
      const WeightId id{static_cast<int32_t>(i)};
      if (model->program.weight(id).name != kWeight) continue;
      std::vector<std::byte> room(1024);
      for (size_t r = 0; r < scales.size(); ++r) {
        float scale = 0;
        std::memcpy(&scale, model->weights->stored_row(id, static_cast<int64_t>(r), room.data()),
                    sizeof(scale));
        EXPECT_EQ(scale, scales[r]);
      }
    }
  }
}

TEST(W8A8, ScalesThatAreMissingMisshapenOrNotFiniteAreNamed) {
  const auto expect = [](const std::function<void(Tensor&)>& change, std::string_view found) {
    const W8A8Folder folder;
    folder.change([&](Tensors& tensors) { change(tensors.find(kScale)->second); });
    expect_refused(folder, ErrorCode::kBadFile, kScale, found);
  };
  expect([](Tensor& t) { t.shape = {64}; }, "[64]");
  expect([](Tensor& t) { t.shape = {1, 64}; }, "[1, 64]");
  expect([](Tensor& t) { t.shape = {32, 2}; }, "[32, 2]");
  expect([](Tensor& t) { t.type = "I32"; }, "I32");
  for (const float odd : {NAN, INFINITY, -INFINITY}) {
    expect(
        [&](Tensor& t) {
          std::vector<float> scales = scales_of(t);
          scales[63] = odd;
          t.bytes = text_of(scales, DType::of<F32>());
        },
        "row 63");
  }
  const W8A8Folder without;
  without.change([](Tensors& tensors) { tensors.erase(tensors.find(kScale)); });
  expect_refused(without, ErrorCode::kBadFile, kScale, "missing");
}

TEST(W8A8, ZeroPointsMustBeZero) {
  const std::string name = std::string(kWeight) + "_zero_point";
  const W8A8Folder folder;
  folder.change([&](Tensors& tensors) { tensors[name] = {"I8", {64, 1}, std::string(64, '\0')}; });
  const auto model = folder.open();
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(model->weights->unused_tensors().empty());
  folder.change([&](Tensors& tensors) { tensors[name].bytes[5] = 1; });
  expect_refused(folder, ErrorCode::kBadFile, name, "not zero");
}

TEST(W8A8, ConfigAndTensorsMustSayTheSame) {
  const W8A8Folder folder;
  folder.change_config([](Json& quantization) { quantization = nullptr; });
  expect_refused(folder, ErrorCode::kUnsupported, "_proj.weight", "I8");

  const W8A8Folder floats;
  floats.change([](Tensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (tensor.type != "I8") continue;
      tensor.type = "F16";
      tensor.bytes = std::string(2 * tensor.bytes.size(), '\0');
    }
  });
  expect_refused(floats, ErrorCode::kBadFile, "quantization_config", "no matrix is");

  // An ignored product may be a float one.
  const W8A8Folder mixed;
  mixed.change([](Tensors& tensors) {
    Tensor& tensor = tensors.find(kWeight)->second;
    tensor.type = "F16";
    tensor.bytes = std::string(2 * tensor.bytes.size(), '\0');
    tensors.erase(tensors.find(kScale));
  });
  EXPECT_TRUE(mixed.open());
}

TEST(W8A8, FieldsOfOtherSchemesAreRefusedByName) {
  const auto expect = [](std::string_view pointer, const Json& value, std::string_view culprit,
                         std::string_view found) {
    const W8A8Folder folder;
    folder.change_config([&](Json& quantization) {
      const Json::json_pointer place{std::string(pointer)};
      if (value.is_discarded()) {
        quantization[place.parent_pointer()].erase(place.back());
      } else {
        quantization[place] = value;
      }
    });
    expect_refused(folder, ErrorCode::kUnsupported, culprit, found);
  };
  const Json gone(Json::value_t::discarded);
  const std::string group = "/config_groups/group_0";
  const std::string weights = group + "/weights", inputs = group + "/input_activations";
  expect("/quant_method", "gptq", "quantization_config.quant_method", "gptq");
  expect("/quant_method", gone, "quantization_config.quant_method", "missing");
  expect("/format", "pack-quantized", "quantization_config.format", "pack-quantized");
  expect("/quantization_status", "frozen", "quantization_status", "frozen");
  expect("/kv_cache_scheme", Json{{"num_bits", 8}}, "kv_cache_scheme", "num_bits");
  expect("/sparsity_config", Json{{"format", "dense"}}, "sparsity_config", "dense");
  expect("/surprise", 1, "quantization_config.surprise", "not known");
  expect("/ignore", "lm_head", "quantization_config.ignore", "string");
  expect("/ignore", Json::array({1}), "quantization_config.ignore", "array");
  expect("/config_groups", Json::array(), "config_groups", "array");
  expect("/config_groups", Json::object(), "config_groups", "0 groups");
  expect("/config_groups/group_1", Json::object(), "config_groups", "2 groups");
  expect(group, 7, "group_0", "number");
  expect(group + "/targets", Json::array({"re:.*mlp.*"}), "group_0.targets", "mlp");
  expect(group + "/output_activations", Json::object(), "output_activations", "{}");
  expect(inputs, nullptr, "group_0.input_activations", "null");
  expect(inputs, gone, "group_0.input_activations", "missing");
  expect(inputs + "/strategy", "tensor", "input_activations.strategy", "tensor");
  expect(inputs + "/dynamic", false, "input_activations.dynamic", "false");
  expect(inputs + "/symmetric", false, "input_activations.symmetric", "false");
  expect(inputs + "/num_bits", 4, "input_activations.num_bits", "4");
  expect(weights + "/num_bits", 4, "weights.num_bits", "4");
  expect(weights + "/num_bits", "8", "weights.num_bits", "\"8\"");
  expect(weights + "/type", "float", "weights.type", "float");
  expect(weights + "/symmetric", false, "weights.symmetric", "false");
  expect(weights + "/strategy", "group", "weights.strategy", "group");
  expect(weights + "/strategy", gone, "weights.strategy", "missing");
  expect(weights + "/group_size", 128, "weights.group_size", "128");
  expect(weights + "/actorder", "group", "weights.actorder", "group");

  const W8A8Folder list;
  list.change_config([](Json& quantization) { quantization = Json::array({1}); });
  expect_refused(list, ErrorCode::kUnsupported, "quantization_config", "array");
}

TEST(W8A8, WhatOtherVersionsOfTheWriterAddIsRead) {
  const W8A8Folder folder;
  folder.change_config([](Json& quantization) {
    quantization["version"] = "0.12.2";
    quantization["sparsity_config"] = Json::object();
    quantization["transform_config"] = Json::object();
    quantization["ignore"] = Json::array({"lm_head", "re:.*head"});
    quantization["global_compression_ratio"] = 1.5;
    Json& group = quantization["config_groups"]["group_0"];
    group["format"] = "int-quantized";
    group["weights"]["observer"] = "mse";
    group["weights"]["scale_dtype"] = nullptr;
    group["weights"]["zp_dtype"] = nullptr;
    group["weights"].erase("block_structure");
  });
  const auto model = folder.open();
  EXPECT_TRUE(model) << model.error().message;
}

}  // namespace
}  // namespace quern
