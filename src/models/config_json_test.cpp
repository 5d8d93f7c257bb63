#include <gtest/gtest.h>

#include "base/cat.h"
#include "models/architecture.h"
#include "models/test_models.h"

namespace quern {
namespace {

Result<ModelConfig> read(std::string_view text) {
  return read_config_json(*parse_json(text, "config.json"), "config.json");
}

/// The object with members of `more` added or replaced.
std::string with(std::string_view base, std::string_view more) {
  Json out = *parse_json(base, "base");
  const Json added = *parse_json(more, "more");
  for (const auto& [key, value] : added.items()) out[key] = value;
  return out.dump();
}

constexpr std::string_view kLlama = R"({"architectures":["LlamaForCausalLM"],"vocab_size":100,
  "hidden_size":64,"intermediate_size":96,"num_hidden_layers":3,"num_attention_heads":4})";
constexpr std::string_view kGpt2 = R"({"architectures":["GPT2LMHeadModel"],"vocab_size":100,
  "n_embd":48,"n_layer":2,"n_head":3,"n_positions":64})";
constexpr std::string_view kGemma3 = R"({"architectures":["Gemma3ForCausalLM"],"vocab_size":100,
  "hidden_size":64,"intermediate_size":96,"num_hidden_layers":12,"num_attention_heads":4,
  "num_key_value_heads":1,"head_dim":32,"sliding_window":16})";
constexpr std::string_view kQwen2 = R"({"architectures":["Qwen2ForCausalLM"],"vocab_size":100,
  "hidden_size":64,"intermediate_size":96,"num_hidden_layers":4,"num_attention_heads":4,
  "num_key_value_heads":2})";

void expect_refused(std::string_view text, ErrorCode code, std::string_view field,
                    std::string_view part = "") {
  const auto config = read(text);
  ASSERT_FALSE(config) << text;
  EXPECT_EQ(config.error().code, code) << config.error().message;
  EXPECT_EQ(config.error().what, field) << config.error().message;
  EXPECT_NE(config.error().message.find(part), std::string::npos) << config.error().message;
}

TEST(ConfigJson, MissingKeysTakeTransformersDefaults) {
  const auto llama = read(R"({"architectures":["LlamaForCausalLM"]})");
  ASSERT_TRUE(llama) << llama.error().message;
  EXPECT_EQ(llama->vocab_size, 32000);
  EXPECT_EQ(llama->hidden_size, 4096);
  EXPECT_EQ(llama->intermediate_size, 11008);
  EXPECT_EQ(llama->num_hidden_layers, 32);
  EXPECT_EQ(llama->num_key_value_heads, 32);
  EXPECT_EQ(llama->head_dim, 128);
  EXPECT_EQ(llama->max_position_embeddings, 2048);
  EXPECT_EQ(llama->rms_norm_eps, 1e-6);
  EXPECT_EQ(llama->rope.rope_theta, 10000.0);
  EXPECT_FALSE(llama->tie_word_embeddings);
  EXPECT_FALSE(llama->attention_bias);

  const auto gpt2 = read(R"({"model_type":"gpt2"})");
  ASSERT_TRUE(gpt2) << gpt2.error().message;
  EXPECT_EQ(gpt2->vocab_size, 50257);
  EXPECT_EQ(gpt2->intermediate_size, 3072);
  EXPECT_EQ(gpt2->hidden_act, Activation::kGeluTanh);
  EXPECT_TRUE(gpt2->tie_word_embeddings);

  const auto qwen2 = read(R"({"model_type":"qwen2"})");
  ASSERT_TRUE(qwen2) << qwen2.error().message;
  EXPECT_EQ(qwen2->num_key_value_heads, 32);
  EXPECT_TRUE(qwen2->attention_bias);
  EXPECT_FALSE(qwen2->attention_output_bias);
  EXPECT_EQ(qwen2->sliding_window, 0);
  EXPECT_EQ(qwen2->window(31), 0);  // windows are off unless switched on

  const auto gemma3 = read(R"({"model_type":"gemma3_text"})");
  ASSERT_TRUE(gemma3) << gemma3.error().message;
  EXPECT_EQ(gemma3->head_dim, 256);
  EXPECT_EQ(gemma3->rope.rope_theta, 1e6);
  EXPECT_EQ(gemma3->local_rope.rope_theta, 1e4);
  EXPECT_EQ(gemma3->query_pre_attn_scalar, 256.0);
  EXPECT_EQ(gemma3->window(4), 4096);
  EXPECT_EQ(gemma3->window(5), 0);
  EXPECT_TRUE(gemma3->tie_word_embeddings);
}

TEST(ConfigJson, OldAndNewSpellingOfRopeGiveTheSameNumbers) {
  const auto old = read(with(kLlama, R"({"rope_theta":500000.0,"torch_dtype":"bfloat16",
      "rope_scaling":{"type":"llama3","factor":32.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
                      "original_max_position_embeddings":8192}})"));
  const auto now = read(with(kLlama, R"({"dtype":"bfloat16",
      "rope_parameters":{"rope_type":"llama3","rope_theta":500000.0,"factor":32.0,
                         "low_freq_factor":1.0,"high_freq_factor":4.0,
                         "original_max_position_embeddings":8192}})"));
  ASSERT_TRUE(old) << old.error().message;
  ASSERT_TRUE(now) << now.error().message;
  EXPECT_EQ(config_json(*old), config_json(*now));
  EXPECT_EQ(old->rope.rope_type, RopeParameters::Type::kLlama3);
  EXPECT_EQ(old->rope.rope_theta, 500000.0);
  EXPECT_EQ(old->rope.factor, 32.0);
}

TEST(ConfigJson, OldAndNewSpellingOfGemmaLayersGiveTheSameNumbers) {
  const auto old = read(with(kGemma3, R"({"sliding_window_pattern":3,"rope_theta":2e6,
      "rope_local_base_freq":20000,"rope_scaling":{"rope_type":"linear","factor":8}})"));
  const auto now = read(with(kGemma3, R"({"layer_types":["sliding_attention","sliding_attention",
      "full_attention","sliding_attention","sliding_attention","full_attention",
      "sliding_attention","sliding_attention","full_attention","sliding_attention",
      "sliding_attention","full_attention"],
      "rope_parameters":{"full_attention":{"rope_type":"linear","factor":8,"rope_theta":2e6},
                         "sliding_attention":{"rope_type":"default","rope_theta":20000}}})"));
  ASSERT_TRUE(old) << old.error().message;
  ASSERT_TRUE(now) << now.error().message;
  EXPECT_EQ(config_json(*old), config_json(*now));
  EXPECT_EQ(now->local_rope.rope_theta, 20000.0);
  EXPECT_EQ(now->local_rope.rope_type, RopeParameters::Type::kDefault);
  EXPECT_EQ(now->rope.rope_type, RopeParameters::Type::kLinear);
}

TEST(ConfigJson, OwnHeadSizeAndFeedForwardWidthAreRead) {
  const auto llama = read(with(kLlama, R"({"head_dim":32,"num_key_value_heads":1})"));
  ASSERT_TRUE(llama) << llama.error().message;
  EXPECT_EQ(llama->head_dim, 32);
  EXPECT_EQ(llama->num_key_value_heads, 1);
  EXPECT_EQ(read(with(kGpt2, R"({"n_inner":null})"))->intermediate_size, 4 * 48);
  EXPECT_EQ(read(with(kGpt2, R"({"n_inner":80})"))->intermediate_size, 80);
}

TEST(ConfigJson, BiasFlagsCoverAllFourProducts) {
  const auto config = read(with(kLlama, R"({"attention_bias":true,"mlp_bias":true})"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_TRUE(config->attention_bias && config->attention_output_bias && config->mlp_bias);
}

TEST(ConfigJson, QwenWindowsBeginAtMaxWindowLayers) {
  const auto config = read(
      with(kQwen2, R"({"use_sliding_window":true,"sliding_window":32,"max_window_layers":2})"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->window(1), 0);
  EXPECT_EQ(config->window(2), 32);
}

TEST(ConfigJson, NullIsNotTheSameAsAMissingKey) {
  EXPECT_EQ(read(with(kQwen2, R"({"num_key_value_heads":null})"))->num_key_value_heads, 4);
  EXPECT_EQ(read(with(kLlama, R"({"head_dim":null})"))->head_dim, 16);
  // No window, but layers that want one.
  expect_refused(with(kGemma3, R"({"sliding_window":null,"layer_types":["sliding_attention",
      "full_attention","full_attention","full_attention","full_attention","full_attention",
      "full_attention","full_attention","full_attention","full_attention","full_attention",
      "full_attention"]})"),
                 ErrorCode::kBadFile, "sliding_window");
  expect_refused(with(kQwen2, R"({"use_sliding_window":false,"layer_types":["full_attention",
      "full_attention","sliding_attention","sliding_attention"]})"),
                 ErrorCode::kBadFile, "sliding_window");
}

TEST(ConfigJson, ScalingOfAttentionIsRead) {
  const auto config =
      read(with(kGpt2, R"({"scale_attn_weights":false,"scale_attn_by_inverse_layer_idx":true})"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_FALSE(config->scale_attn_weights);
  EXPECT_TRUE(config->scale_attn_by_inverse_layer_idx);
}

TEST(ConfigJson, FieldsThatWouldChangeTheNumbersAreRefusedByName) {
  constexpr auto kUnsupported = ErrorCode::kUnsupported;
  expect_refused(with(kLlama, R"({"hidden_act":"relu"})"), kUnsupported, "hidden_act", "\"silu\"");
  expect_refused(with(kGpt2, R"({"activation_function":"tanh"})"), kUnsupported,
                 "activation_function");
  expect_refused(with(kGemma3, R"({"hidden_activation":"relu2"})"), kUnsupported,
                 "hidden_activation");
  for (const std::string_view type : {"dynamic", "yarn", "longrope", "mrope"}) {
    expect_refused(with(kLlama, cat(R"({"rope_scaling":{"type":")", type, R"(","factor":2.0}})")),
                   kUnsupported, "rope_type", type);
  }
  expect_refused(with(kLlama, R"({"partial_rotary_factor":0.5})"), kUnsupported,
                 "partial_rotary_factor");
  expect_refused(
      with(kLlama, R"({"rope_parameters":{"rope_theta":1e4,"partial_rotary_factor":0.5}})"),
      kUnsupported, "partial_rotary_factor");
  expect_refused(with(kLlama, R"({"sliding_window":128})"), kUnsupported, "sliding_window");
  expect_refused(with(kLlama, R"({"final_logit_softcapping":30.0})"), kUnsupported,
                 "final_logit_softcapping");
  expect_refused(with(kGemma3, R"({"attn_logit_softcapping":50.0})"), kUnsupported,
                 "attn_logit_softcapping");
  expect_refused(with(kGemma3, R"({"use_bidirectional_attention":true})"), kUnsupported,
                 "use_bidirectional_attention");
  expect_refused(with(kGpt2, R"({"add_cross_attention":true})"), kUnsupported,
                 "add_cross_attention");
  expect_refused(with(kQwen2, R"({"attention_bias":false})"), kUnsupported, "attention_bias");
  expect_refused(with(kLlama, R"({"quantization_config":{"quant_method":"gptq"}})"), kUnsupported,
                 "quantization_config.quant_method");
  expect_refused(with(kGemma3, R"({"layer_types":["full_attention","linear_attention"]})"),
                 kUnsupported, "layer_types", "sliding_attention");
  expect_refused(with(kLlama, R"({"clip_qkv":8})"), kUnsupported, "clip_qkv");
}

TEST(ConfigJson, NeutralValuesOfDangerousFieldsAreNoReasonToRefuse) {
  EXPECT_TRUE(read(with(kLlama, R"({"sliding_window":null,"partial_rotary_factor":1.0,
      "rope_scaling":null,"pretraining_tp":4,"rope_interleaved":false,"use_cache":false,
      "attention_dropout":0.1,"quantization_config":null,"is_llama_config":true})")));
  EXPECT_TRUE(read(with(kLlama, R"({"rope_scaling":{}})")));
  EXPECT_TRUE(read(with(kGpt2, R"({"reorder_and_upcast_attn":true,"n_ctx":64,
      "summary_type":"cls_index","add_cross_attention":false})")));
}

TEST(ConfigJson, UnknownFieldsAreIgnoredButSaid) {
  testing::internal::CaptureStderr();
  EXPECT_TRUE(read(with(kLlama, R"({"mystery_of_mine":3})")));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("mystery_of_mine"), std::string::npos);
}

TEST(ConfigJson, UnknownArchitectureListsTheKnownOnes) {
  expect_refused(R"({"architectures":["RWKVForCausalLM"]})", ErrorCode::kUnsupported,
                 "architectures", "LlamaForCausalLM");
  expect_refused(R"({"model_type":"mamba"})", ErrorCode::kUnsupported, "model_type",
                 "GPT2LMHeadModel");
  expect_refused("{}", ErrorCode::kBadFile, "architectures");
  EXPECT_EQ(read("[1]").error().code, ErrorCode::kBadFile);
}

TEST(ConfigJson, HostileNumbersAreRefusedBeforeAnythingIsBuilt) {
  constexpr auto kBad = ErrorCode::kBadFile;
  expect_refused(with(kLlama, R"({"num_hidden_layers":1000000000})"), kBad, "num_hidden_layers",
                 "1024");
  expect_refused(with(kLlama, R"({"num_hidden_layers":0})"), kBad, "num_hidden_layers");
  expect_refused(with(kLlama, R"({"hidden_size":-64})"), kBad, "hidden_size");
  expect_refused(with(kLlama, R"({"vocab_size":9223372036854775807})"), kBad, "vocab_size");
  expect_refused(with(kLlama, R"({"vocab_size":18446744073709551615})"), kBad, "vocab_size");
  expect_refused(with(kLlama, R"({"vocab_size":1e30})"), kBad, "vocab_size");
  expect_refused(with(kLlama, R"({"vocab_size":"100"})"), kBad, "vocab_size");
  expect_refused(with(kLlama, R"({"num_attention_heads":5})"), kBad, "hidden_size");
  expect_refused(with(kLlama, R"({"num_key_value_heads":3})"), kBad, "num_attention_heads");
  expect_refused(with(kLlama, R"({"num_attention_heads":8192,"head_dim":8192})"), kBad, "head_dim");
  expect_refused(with(kLlama, R"({"rms_norm_eps":-1})"), kBad, "rms_norm_eps");
  expect_refused(with(kLlama, R"({"rope_theta":0})"), kBad, "rope_theta");
  expect_refused(with(kLlama, R"({"rope_scaling":[1]})"), kBad, "rope_scaling");
  expect_refused(with(kLlama, R"({"rope_scaling":{"type":"linear"}})"), kBad, "factor");
  expect_refused(with(kLlama, R"({"rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":4,
                                  "high_freq_factor":4}})"),
                 kBad, "high_freq_factor");
  expect_refused(with(kGemma3, R"({"layer_types":["full_attention"]})"), kBad, "layer_types", "12");
  expect_refused(with(kGemma3, R"({"sliding_window_pattern":0})"), kBad, "sliding_window_pattern");
  expect_refused(with(kLlama, R"({"layer_types":["full_attention","sliding_attention",
                                  "full_attention"]})"),
                 kBad, "sliding_window");
}

TEST(ConfigJson, ProgramOfAnOddHeadSizeIsRefused) {
  const auto config = read(with(kLlama, R"({"head_dim":7})"));
  ASSERT_TRUE(config);
  const auto program = find_architecture("LlamaForCausalLM")->build(*config);
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().code, ErrorCode::kBadFile);
}

}  // namespace
}  // namespace quern
