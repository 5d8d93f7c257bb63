#include "models/checkpoint_weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "checkpoint/test_files.h"
#include "models/test_models.h"

namespace quern {
namespace {

/// A golden model's safetensors file with another header.
std::string with_header(const std::filesystem::path& file,
                        const std::function<Json(const Json&)>& change) {
  const std::string bytes = read_text(file);
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof(size));
  const Json header = *parse_json(std::string_view(bytes).substr(8, size), "header");
  return safetensors_file(change(header).dump(), std::string_view(bytes).substr(8 + size));
}

/// A golden model whose tensors are renamed, dropped or given other shapes.
class ChangedModel {
 public:
  ChangedModel(std::string_view name, const std::function<Json(const Json&)>& change) {
    folder_.copy(golden(name) / "config.json");
    folder_.write("model.safetensors", with_header(golden(name) / "model.safetensors", change));
  }
  Result<Model> open() const { return open_model(folder_.path().string(), {}); }

 private:
  TemporaryFolder folder_;
};

Json renamed(const Json& header, const std::function<std::string(const std::string&)>& rename) {
  Json out = Json::object();
  for (const auto& [name, value] : header.items()) out[rename(name)] = value;
  return out;
}

TEST(CheckpointWeights, BothFilesOfAModelGiveTheSameNumbers) {
  for (const std::string_view name : {"gpt2", "llama", "qwen2", "gemma3"}) {
    const auto one = open_model(golden(name).string(), {});
    const auto other = open_model((golden(name) / "model-f32.gguf").string(), {});
    ASSERT_TRUE(one) << one.error().message;
    ASSERT_TRUE(other) << other.error().message;
    ASSERT_EQ(one->program.weights.size(), other->program.weights.size());
    for (size_t i = 0; i < one->program.weights.size(); ++i) {
      const WeightId id{static_cast<int32_t>(i)};
      const std::string& weight = one->program.weight(id).name;
      ASSERT_EQ(weight, other->program.weight(id).name);
      const auto a = decode_all(*one->weights, one->program, id);
      const auto b = decode_all(*other->weights, other->program, id);
      // Adding one and taking it away again costs a rounding at the size of the sum.
      const float slack = other->weights->transform(id) == Transform::kSubtractOne ? 1e-6f : 0.0f;
      for (size_t j = 0; j < a.size(); ++j) ASSERT_NEAR(a[j], b[j], slack) << weight << " " << j;
    }
  }
}

TEST(CheckpointWeights, EveryTensorOfTheGoldenModelsIsUsed) {
  for (const std::string_view name : {"gpt2", "llama", "llama-tied", "qwen2", "gemma3"}) {
    const auto model = open_model(golden(name).string(), {});
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_TRUE(model->weights->unused_tensors().empty()) << name;
    EXPECT_EQ(model->files.checkpoint->tensors().size(), model->program.weights.size());
  }
}

TEST(CheckpointWeights, PermutedRowsAreStillRowsOfTheFile) {
  const auto one = open_model(golden("llama").string(), {});
  const auto other = open_model((golden("llama") / "model-f32.gguf").string(), {});
  ASSERT_TRUE(one && other);
  int permuted = 0;
  for (size_t i = 0; i < one->program.weights.size(); ++i) {
    const WeightId id{static_cast<int32_t>(i)};
    const WeightDecl& weight = one->program.weight(id);
    const Transform transform = other->weights->transform(id);
    const bool permutes =
        transform == Transform::kUnpermuteQueries || transform == Transform::kUnpermuteKeys;
    if (!permutes || weight.kind != WeightDecl::Kind::kMatrix) continue;
    ++permuted;
    for (int64_t row = 0; row < weight.rows; ++row) {
      const std::byte* a = one->weights->stored_row(id, row, nullptr);
      const std::byte* b = other->weights->stored_row(id, row, nullptr);
      ASSERT_NE(b, nullptr);
      ASSERT_EQ(std::memcmp(a, b, static_cast<size_t>(weight.cols) * 4), 0) << weight.name << row;
    }
  }
  EXPECT_EQ(permuted, 4);  // queries and keys of two layers
}

TEST(CheckpointWeights, AnyRangeOfRowsOfATransposedMatrixDecodes) {
  const auto model = open_model(golden("gpt2").string(), {});
  ASSERT_TRUE(model);
  const Program& program = model->program;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightId id{static_cast<int32_t>(i)};
    if (model->weights->transform(id) != Transform::kTranspose) continue;
    EXPECT_EQ(model->weights->stored_row(id, 0, nullptr), nullptr);
    const WeightDecl& weight = program.weight(id);
    const auto whole = decode_all(*model->weights, program, id);
    // As the file has it: [in, out].
    const auto* file = reinterpret_cast<const float*>(
        model->files.checkpoint->bytes(model->weights->tensor(id)).data());
    EXPECT_EQ(whole[1], file[weight.rows]);
    for (const int64_t first : {int64_t{0}, int64_t{5}, weight.rows - 3}) {
      std::vector<float> part(static_cast<size_t>(3 * weight.cols));
      model->weights->decode_rows(id, first, {part.data(), 3, weight.cols, weight.cols});
      for (size_t j = 0; j < part.size(); ++j) {
        ASSERT_EQ(part[j], whole[static_cast<size_t>(first * weight.cols) + j]);
      }
    }
    return;
  }
  FAIL() << "no transposed weight";
}

TEST(CheckpointWeights, FilesOfTheBaseModelLeaveThePrefixOut) {
  const ChangedModel changed("gpt2", [](const Json& header) {
    return renamed(header, [](const std::string& name) {
      return name.starts_with("transformer.") ? name.substr(12) : name;
    });
  });
  const auto model = changed.open();
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->weights->tensor({0}).name, "wte.weight");
}

TEST(CheckpointWeights, StoredMasksAndFrequenciesAreSkipped) {
  const ChangedModel gpt2("gpt2", [](Json header) {
    header["transformer.h.0.attn.bias"] =
        Json{{"dtype", "U8"}, {"shape", {0}}, {"data_offsets", {0, 0}}};
    return header;
  });
  const auto model = gpt2.open();
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(model->weights->unused_tensors().empty());
}

TEST(CheckpointWeights, AMissingTensorIsNamed) {
  const ChangedModel changed("llama", [](const Json& header) {
    return renamed(header, [](const std::string& name) {
      return name == "model.layers.1.mlp.up_proj.weight" ? "model.other" : name;
    });
  });
  const auto model = changed.open();
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kBadFile);
  EXPECT_EQ(model.error().what, "model.layers.1.mlp.up_proj.weight");
}

TEST(CheckpointWeights, AWrongShapeIsNamedWithBothShapes) {
  const ChangedModel changed("llama", [](Json header) {
    header["model.layers.0.mlp.up_proj.weight"]["shape"] = {32, 128};
    return header;
  });
  const auto model = changed.open();
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kBadFile);
  EXPECT_EQ(model.error().found, "[32, 128]");
  EXPECT_EQ(model.error().wanted, "[64, 64]");
}

TEST(CheckpointWeights, ATensorUnderTwoNamesIsRefused) {
  const ChangedModel changed("gpt2", [](const Json& header) {
    return renamed(header, [](const std::string& name) {
      return name == "transformer.h.1.ln_1.bias" ? "h.0.ln_1.bias" : name;
    });
  });
  const auto model = changed.open();
  ASSERT_FALSE(model);
  EXPECT_NE(model.error().message.find("h.0.ln_1.bias"), std::string::npos);
}

TEST(CheckpointWeights, ATypeThatQuernCannotComputeWithIsUnsupported) {
  const ChangedModel changed("llama", [](Json header) {
    header["model.layers.0.mlp.up_proj.weight"]["dtype"] = "I32";
    return header;
  });
  const auto model = changed.open();
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(model.error().message.find("q8_0"), std::string::npos);
}

TEST(CheckpointWeights, ATiedTableStoredAsTheHeadAloneIsFound) {
  const ChangedModel changed("qwen2", [](const Json& header) {
    return renamed(header, [](const std::string& name) {
      return name == "model.embed_tokens.weight" ? "lm_head.weight" : name;
    });
  });
  const auto model = changed.open();
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->weights->tensor({0}).name, "lm_head.weight");
  EXPECT_TRUE(model->config.tie_word_embeddings);
}

TEST(CheckpointWeights, AHeadOfOtherNumbersIsNotTied) {
  // The llama golden has a head of its own; its config here says that it is tied.
  const TemporaryFolder folder;
  Json config = *parse_json(read_text(golden("llama") / "config.json"), "config");
  config["tie_word_embeddings"] = true;
  folder.write("config.json", config.dump());
  folder.copy(golden("llama") / "model.safetensors");
  const auto model = open_model(folder.path().string(), {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_FALSE(model->config.tie_word_embeddings);
  const auto& head = std::get<Head>(model->program.steps.back());
  EXPECT_EQ(model->weights->tensor(head.weight).name, "lm_head.weight");
}

TEST(CheckpointWeights, ATensorOfGgufThatNothingUsesIsRefused) {
  // With one layer less declared, the tensors of the last one belong nowhere.
  std::string bytes = read_text(golden("qwen2") / "model-f32.gguf");
  constexpr std::string_view kKey = "qwen2.block_count";
  const size_t value = bytes.find(kKey) + kKey.size() + sizeof(uint32_t);  // behind its type
  ASSERT_EQ(bytes[value], 2);
  bytes[value] = 1;
  const TemporaryFolder folder;
  const auto model = open_model(folder.write("model.gguf", bytes).string(), {});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
  EXPECT_TRUE(model.error().what->starts_with("blk.1.")) << *model.error().what;
}

}  // namespace
}  // namespace quern
