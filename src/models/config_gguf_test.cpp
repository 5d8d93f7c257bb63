#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/test_files.h"
#include "models/architecture.h"
#include "models/generation_config.h"
#include "models/test_models.h"

namespace quern {
namespace {

std::string floats(const std::vector<float>& values) {
  std::string out(values.size() * sizeof(float), '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

/// A Llama of one layer whose only tensor is its table of embeddings [8, 16].
GgufTestWriter small_llama() {
  GgufTestWriter writer;
  writer.text("general.architecture", "llama")
      .u32("llama.context_length", 128)
      .u32("llama.embedding_length", 16)
      .u32("llama.block_count", 1)
      .u32("llama.feed_forward_length", 32)
      .u32("llama.attention.head_count", 4)
      .f32("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .tensor("token_embd.weight", 0, {16, 8}, floats(std::vector<float>(16 * 8)));
  return writer;
}

Result<ModelConfig> read(const GgufTestWriter& writer) {
  const TemporaryFolder folder;
  const auto checkpoint = Checkpoint::open(folder.write("model.gguf", writer.finish()));
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  return read_gguf_config(*checkpoint, "model.gguf");
}

void expect_refused(const GgufTestWriter& writer, ErrorCode code, std::string_view field) {
  const auto config = read(writer);
  ASSERT_FALSE(config) << field;
  EXPECT_EQ(config.error().code, code) << config.error().message;
  EXPECT_EQ(config.error().what, field) << config.error().message;
}

TEST(ConfigGguf, MetadataAndTensorsGiveTheNumbers) {
  const auto config = read(small_llama());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->architecture, "LlamaForCausalLM");
  EXPECT_EQ(config->vocab_size, 8);
  EXPECT_EQ(config->num_key_value_heads, 4);  // as many as heads where the file is mute
  EXPECT_EQ(config->head_dim, 4);
  EXPECT_EQ(config->rope.rope_theta, 10000.0);
  EXPECT_TRUE(config->tie_word_embeddings);  // there is no output.weight
  EXPECT_FALSE(config->attention_bias);
}

TEST(ConfigGguf, FrequencyDivisorsAreTakenFromTheFile) {
  const auto config = read(small_llama().tensor("rope_freqs.weight", 0, {2}, floats({1.0f, 8.0f})));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->rope.frequency_divisors, (std::vector<float>{1.0f, 8.0f}));
}

TEST(ConfigGguf, DivisorsThatAreNoPositiveNumbersAreRefused) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float bad : {0.0f, -1.0f, nan}) {
    expect_refused(small_llama().tensor("rope_freqs.weight", 0, {2}, floats({1.0f, bad})),
                   ErrorCode::kBadFile, "rope_freqs.weight");
  }
  expect_refused(small_llama().tensor("rope_freqs.weight", 0, {1}, floats({1.0f})),
                 ErrorCode::kBadFile, "rope_freqs.weight");
}

TEST(ConfigGguf, ValuesThatQuernCannotFollowAreRefusedByName) {
  constexpr auto kUnsupported = ErrorCode::kUnsupported;
  expect_refused(small_llama().text("llama.rope.scaling.type", "yarn"), kUnsupported,
                 "rope.scaling.type");
  expect_refused(small_llama().u32("llama.expert_count", 8), kUnsupported, "expert_count");
  expect_refused(small_llama().u32("llama.rope.dimension_count", 2), kUnsupported,
                 "rope.dimension_count");
  expect_refused(small_llama().f32("llama.logit_scale", 2.0f), kUnsupported, "logit_scale");
  expect_refused(small_llama().u32("llama.attention.value_length", 8), kUnsupported,
                 "attention.value_length");
  expect_refused(small_llama().boolean("llama.attention.causal", 0), kUnsupported,
                 "attention.causal");
  expect_refused(small_llama().numbers<uint32_t>("llama.attention.head_count_kv", 4, {2, 1}),
                 kUnsupported, "attention.head_count_kv");
}

TEST(ConfigGguf, AListOfEqualNumbersIsOneNumber) {
  const auto config =
      read(small_llama().numbers<uint32_t>("llama.attention.head_count_kv", 4, {2, 2}));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->num_key_value_heads, 2);
}

TEST(ConfigGguf, LinearScalingIsReadInBothSpellings) {
  for (const std::string_view key : {"llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
    const auto config = read(small_llama().f32(key, 4.0f));
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->rope.rope_type, RopeParameters::Type::kLinear);
    EXPECT_EQ(config->rope.factor, 4.0);
  }
}

TEST(ConfigGguf, MissingAndHostileNumbersAreRefused) {
  GgufTestWriter no_layers;
  no_layers.text("general.architecture", "llama").u32("llama.embedding_length", 16);
  expect_refused(no_layers, ErrorCode::kBadFile, "block_count");

  GgufTestWriter many;
  many.text("general.architecture", "llama")
      .u32("llama.context_length", 128)
      .u32("llama.embedding_length", 16)
      .u32("llama.block_count", 4000000000u)
      .u32("llama.feed_forward_length", 32)
      .u32("llama.attention.head_count", 4);
  expect_refused(many, ErrorCode::kBadFile, "block_count");

  GgufTestWriter nameless;
  expect_refused(nameless.u32("llama.block_count", 1), ErrorCode::kBadFile, "general.architecture");
  GgufTestWriter other;
  expect_refused(other.text("general.architecture", "mamba"), ErrorCode::kUnsupported,
                 "general.architecture");
}

TEST(ConfigGguf, AVocabularyAloneIsNoModel) {
  GgufTestWriter writer;
  writer.text("general.architecture", "gpt2")
      .u32("gpt2.context_length", 128)
      .u32("gpt2.embedding_length", 16)
      .u32("gpt2.block_count", 1)
      .u32("gpt2.feed_forward_length", 32)
      .u32("gpt2.attention.head_count", 4);
  expect_refused(writer, ErrorCode::kBadFile, "token_embd.weight");
}

// What both files of a golden model say must be the same model. rms_norm_eps is a float in GGUF;
std::vector<int32_t> ends_of(const GgufTestWriter& writer) {
  const TemporaryFolder folder;
  const auto checkpoint = Checkpoint::open(folder.write("model.gguf", writer.finish()));
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  return read_gguf_generation_config(*checkpoint).eos_token_ids;
}

TEST(ConfigGguf, EndOfATurnIsKnownByItsTextWhereNoKeyNamesIt) {
  const std::vector<std::string> tokens = {"a", "<eos>", "<end_of_turn>", "<eot>"};
  GgufTestWriter without = small_llama(), with = small_llama();
  without.texts("tokenizer.ggml.tokens", tokens).u32("tokenizer.ggml.eos_token_id", 1);
  with.texts("tokenizer.ggml.tokens", tokens)
      .u32("tokenizer.ggml.eos_token_id", 1)
      .u32("tokenizer.ggml.eot_token_id", 3);
  EXPECT_EQ(ends_of(without), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(ends_of(with), (std::vector<int32_t>{1, 3}));
}

// Llama 3's scaling comes as divisors there.
TEST(ConfigGguf, AgreesWithConfigJsonOnTheGoldenModels) {
  for (const std::string_view name : {"gpt2", "llama", "qwen2", "gemma3"}) {
    const auto json = open_model(golden(name).string(), {});
    const auto gguf = open_model((golden(name) / "model-f32.gguf").string(), {});
    ASSERT_TRUE(json) << json.error().message;
    ASSERT_TRUE(gguf) << gguf.error().message;
    Json a = config_json(json->config), b = config_json(gguf->config);
    for (const std::string_view epsilon : {"rms_norm_eps", "layer_norm_epsilon"}) {
      if (!a.contains(epsilon)) continue;
      EXPECT_FLOAT_EQ(a[epsilon].get<float>(), b[epsilon].get<float>()) << name;
      b[epsilon] = a[epsilon];
    }
    if (name == "llama") {
      ASSERT_EQ(json->program.ropes.size(), 1u);
      const auto& scaled = json->program.ropes[0].inverse_frequencies;
      const auto& divided = gguf->program.ropes[0].inverse_frequencies;
      ASSERT_EQ(scaled.size(), divided.size());
      for (size_t i = 0; i < scaled.size(); ++i) {
        EXPECT_NEAR(scaled[i], divided[i], 1e-6f * scaled[i]) << i;
      }
      a.erase("rope_parameters");
      b.erase("rope_parameters");
    }
    EXPECT_EQ(a, b) << name;
  }
}

}  // namespace
}  // namespace quern
