#include "models/architecture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "models/test_models.h"

namespace quern {
namespace {

/// A small config of every part an architecture can have.
ModelConfig small_config(const Architecture& architecture) {
  ModelConfig config = architecture.defaults();
  config.architecture = architecture.name;
  config.vocab_size = 32;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_hidden_layers = 7;
  config.num_attention_heads = 4;
  config.num_key_value_heads = architecture.owns("num_key_value_heads") ? 2 : 4;
  config.head_dim = 4;
  config.max_position_embeddings = 64;
  config.tie_word_embeddings = false;
  config.attention_bias = config.attention_bias || architecture.owns("attention_bias");
  config.attention_output_bias = architecture.owns("attention_bias");
  config.mlp_bias = architecture.owns("mlp_bias");
  EXPECT_TRUE(complete_config(config, "test"));
  return config;
}

std::string without_layer(std::string name) {
  const size_t digit = name.find_first_of("0123456789");
  const size_t layer = name.find("layers.") != std::string::npos ? name.find("layers.") + 7
                       : name.find(".h.") != std::string::npos   ? name.find(".h.") + 3
                                                                 : std::string::npos;
  if (layer == std::string::npos || digit == std::string::npos) return name;
  return name.replace(layer, name.find('.', layer) - layer, "*");
}

TEST(Architectures, AreFoundByEveryNameTheyHave) {
  for (const Architecture* architecture : architectures()) {
    EXPECT_EQ(find_architecture(architecture->name), architecture);
    EXPECT_EQ(find_architecture(architecture->base_name), architecture);
    EXPECT_EQ(find_gguf_architecture(architecture->gguf_name), architecture);
  }
  EXPECT_EQ(find_architecture("NoSuchForCausalLM"), nullptr);
  EXPECT_TRUE(std::ranges::is_sorted(architectures(), {}, &Architecture::name));
}

TEST(Architectures, EveryWeightHasOneRuleAndEveryRuleAWeight) {
  for (const Architecture* architecture : architectures()) {
    const auto program = architecture->build(small_config(*architecture));
    ASSERT_TRUE(program) << program.error().message;
    std::set<std::string> used;
    for (const WeightDecl& weight : program->weights) used.insert(without_layer(weight.name));
    std::set<std::string> ruled, in_gguf;
    for (const TensorRule& rule : architecture->tensors) {
      EXPECT_TRUE(ruled.emplace(rule.name).second) << rule.name;
      EXPECT_TRUE(in_gguf.emplace(rule.gguf).second) << rule.gguf;
      EXPECT_EQ(rule.name.find('*') == std::string_view::npos,
                rule.gguf.find('*') == std::string_view::npos);
    }
    EXPECT_EQ(used, ruled) << architecture->name;
    EXPECT_TRUE(ruled.contains(std::string(architecture->embeddings)));
    EXPECT_TRUE(ruled.contains(std::string(architecture->head)));
  }
}

TEST(Architectures, TiedHeadIsTheTableItself) {
  for (const Architecture* architecture : architectures()) {
    ModelConfig config = small_config(*architecture);
    const auto untied = architecture->build(config);
    config.tie_word_embeddings = true;
    const auto tied = architecture->build(config);
    ASSERT_TRUE(untied && tied);
    EXPECT_EQ(tied->weights.size() + 1, untied->weights.size());
    const auto& head = std::get<Head>(tied->steps.back());
    EXPECT_EQ(tied->weight(head.weight).name, architecture->embeddings);
  }
}

TEST(Architectures, EachBuildsAProgramOfOneKvLayerPerLayer) {
  for (const Architecture* architecture : architectures()) {
    const ModelConfig config = small_config(*architecture);
    const auto program = architecture->build(config);
    ASSERT_TRUE(program);
    EXPECT_EQ(program->kv_layers.size(), 7u);
    EXPECT_EQ(program->context_length, 64);
    EXPECT_EQ(program->logits.width, 32);
    EXPECT_EQ(program->architecture, architecture->name);
  }
}

TEST(Gemma3, WindowLayersAndFullLayersHaveRopesAndGroupsOfTheirOwn) {
  ModelConfig config = small_config(*find_architecture("Gemma3ForCausalLM"));
  const auto program = find_architecture("Gemma3ForCausalLM")->build(config);
  ASSERT_TRUE(program);
  ASSERT_EQ(program->kv_groups.size(), 2u);
  EXPECT_EQ(program->kv_groups[0].window, 4096);
  EXPECT_EQ(program->kv_groups[1].window, 0);
  std::vector<int32_t> groups;
  for (const KvLayer& layer : program->kv_layers) groups.push_back(layer.group);
  EXPECT_EQ(groups, (std::vector<int32_t>{0, 0, 0, 0, 0, 1, 0}));
  std::vector<float> bases;
  for (const Step& step : program->steps) {
    if (const auto* rotate = std::get_if<Rotate>(&step)) {
      bases.push_back(program->ropes[static_cast<size_t>(rotate->rope)].inverse_frequencies.back());
    }
  }
  ASSERT_EQ(bases.size(), 7u);
  EXPECT_NEAR(bases[0], 1.0 / 100.0, 1e-6);   // 10,000 ^ (2 / 4)
  EXPECT_NEAR(bases[5], 1.0 / 1000.0, 1e-7);  // 1,000,000 ^ (2 / 4)
}

TEST(Gpt2, ScalesByTheInverseOfTheLayerWhereAsked) {
  ModelConfig config = small_config(*find_architecture("GPT2LMHeadModel"));
  config.scale_attn_by_inverse_layer_idx = true;
  const auto program = find_architecture("GPT2LMHeadModel")->build(config);
  ASSERT_TRUE(program);
  std::vector<float> scales;
  for (const Step& step : program->steps) {
    if (const auto* attend = std::get_if<Attend>(&step)) scales.push_back(attend->scale);
  }
  EXPECT_EQ(scales.front(), 0.5f);  // 1 / sqrt(4)
  EXPECT_EQ(scales.back(), 0.5f / 7.0f);
}

}  // namespace
}  // namespace quern
