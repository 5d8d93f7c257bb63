#include "models/weight_types.h"

#include <gtest/gtest.h>

#include "models/test_models.h"

namespace quern {
namespace {

constexpr DType kF32 = DType::of<F32>();
constexpr DType kF16 = DType::of<F16>();
constexpr DType kQ4 = DType::of<Q4_0>();
constexpr DType kQ8 = DType::of<Q8_0>();

/// Types by weight name.
std::map<std::string, DType> by_name(const Model& model, const WeightTypes& types) {
  std::map<std::string, DType> out;
  for (size_t i = 0; i < model.program.weights.size(); ++i) {
    out.emplace(model.program.weights[i].name, types.of[i]);
  }
  return out;
}

Model open_golden(std::string_view name) {
  auto model = open_model(golden(name).string(), {});
  EXPECT_TRUE(model) << model.error().message;
  return *std::move(model);
}

TEST(WeightTypes, AutoKeepsWhatIsStored) {
  const Model model = open_golden("llama");
  const auto choice = choose_weight_types(model.program, *model.weights, {}, {});
  ASSERT_TRUE(choice);
  for (const DType type : choice->types.of) EXPECT_EQ(type, kF32);
  EXPECT_TRUE(choice->fallbacks.empty());
}

TEST(WeightTypes, DTypeConcernsMatricesOnly) {
  const Model model = open_golden("llama");
  const auto choice = choose_weight_types(model.program, *model.weights, kQ4, {});
  ASSERT_TRUE(choice);
  for (size_t i = 0; i < model.program.weights.size(); ++i) {
    const bool matrix = model.program.weights[i].kind == WeightDecl::Kind::kMatrix;
    EXPECT_EQ(choice->types.of[i], matrix ? kQ4 : kF32) << model.program.weights[i].name;
  }
}

TEST(WeightTypes, FirstOverrideThatMatchesWins) {
  const Model model = open_golden("llama");
  const std::vector<DTypeOverride> overrides = {
      *parse_dtype_override("layers\\.0\\.mlp=q8_0"),
      *parse_dtype_override("mlp=f16"),
      *parse_dtype_override("^lm_head=f32"),
  };
  const auto choice = choose_weight_types(model.program, *model.weights, kQ4, overrides);
  ASSERT_TRUE(choice) << choice.error().message;
  const auto types = by_name(model, choice->types);
  EXPECT_EQ(types.at("model.layers.0.mlp.up_proj.weight"), kQ8);
  EXPECT_EQ(types.at("model.layers.1.mlp.up_proj.weight"), kF16);
  EXPECT_EQ(types.at("lm_head.weight"), kF32);
  EXPECT_EQ(types.at("model.layers.0.self_attn.q_proj.weight"), kQ4);
}

TEST(WeightTypes, OverridesMatchTheNamesOfTheFileToo) {
  auto model = open_model((golden("llama") / "model-f32.gguf").string(), {});
  ASSERT_TRUE(model) << model.error().message;
  const std::vector<DTypeOverride> overrides = {*parse_dtype_override("ffn_down=q8_0")};
  const auto choice = choose_weight_types(model->program, *model->weights, {}, overrides);
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_EQ(by_name(*model, choice->types).at("model.layers.0.mlp.down_proj.weight"), kQ8);
}

TEST(WeightTypes, OverridesThatMeanNothingAreUsageErrors) {
  const Model model = open_golden("llama");
  for (const std::string_view bad : {"(=q8_0", "nowhere=q8_0", "norm=q8_0"}) {
    const std::vector<DTypeOverride> overrides = {*parse_dtype_override(bad)};
    const auto choice = choose_weight_types(model.program, *model.weights, {}, overrides);
    ASSERT_FALSE(choice) << bad;
    EXPECT_EQ(choice.error().code, ErrorCode::kUsage) << choice.error().message;
  }
  EXPECT_EQ(parse_dtype_override("q8_0").error().code, ErrorCode::kUsage);
  EXPECT_EQ(parse_dtype_override("=q8_0").error().code, ErrorCode::kUsage);
  EXPECT_EQ(parse_dtype_override("x=q9").error().code, ErrorCode::kUnsupported);
}

TEST(WeightTypes, RowsThatAreNoWholeBlocksFallBackToF16) {
  // The down projections of the gpt2 golden have rows of 96, whole blocks; a Program with rows of
  // 48 has none.
  Model model = open_golden("gpt2");
  model.program.weights[0].cols = 48;
  const auto choice = choose_weight_types(model.program, *model.weights, kQ4, {});
  ASSERT_TRUE(choice);
  ASSERT_EQ(choice->fallbacks.size(), 1u);
  EXPECT_EQ(choice->fallbacks[0].name, "transformer.wte.weight");
  EXPECT_EQ(choice->fallbacks[0].wanted, kQ4);
  EXPECT_EQ(choice->fallbacks[0].used, kF16);
  EXPECT_EQ(choice->types.of[0], kF16);
}

TEST(WeightTypes, KvCacheTakesTheTypeOfMostBytes) {
  const Model model = open_golden("llama");
  const auto kv = [&](DType dtype) {
    const auto choice = choose_weight_types(model.program, *model.weights, dtype, {});
    return default_kv_dtype(model.program, choice->types);
  };
  EXPECT_EQ(kv(kF32), kF32);
  EXPECT_EQ(kv(DType::of<BF16>()), DType::of<BF16>());
  EXPECT_EQ(kv(kF16), kF16);
  EXPECT_EQ(kv(kQ8), kF16);
}

}  // namespace
}  // namespace quern
