#include "models/model.h"

#include <gtest/gtest.h>

#include "models/reference_logits.h"
#include "models/test_models.h"

namespace quern {
namespace {

TEST(OpenModel, ReadsTextPartsOfAFolder) {
  const auto model = open_model(golden("llama").string(), {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->files.architecture_name, "LlamaForCausalLM");
  EXPECT_EQ(model->generation.eos_token_ids, (std::vector<int32_t>{286, 287}));
  EXPECT_EQ(model->generation.temperature, 0.6);
  EXPECT_EQ(model->generation.top_p, 0.9);
  EXPECT_EQ(model->generation.do_sample, true);
  EXPECT_FALSE(model->generation.top_k);

  const auto templates = model->files.chat_templates();
  ASSERT_TRUE(templates);
  ASSERT_NE(templates->find(), nullptr);
  EXPECT_NE(templates->find()->find("<|start|>"), std::string::npos);
  const auto tokens = model->files.special_tokens();
  ASSERT_TRUE(tokens);
  EXPECT_EQ(*tokens, (SpecialTokens{{"bos_token", "<|begin|>"}, {"eos_token", "<|stop|>"}}));
}

TEST(OpenModel, ReadsTextPartsOfAGgufFile) {
  const auto model = open_model((golden("llama") / "model-f32.gguf").string(), {});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->files.architecture_name, "llama");
  EXPECT_EQ(model->generation.eos_token_ids, (std::vector<int32_t>{287}));
  const auto templates = model->files.chat_templates();
  ASSERT_TRUE(templates && templates->find() != nullptr);
  EXPECT_EQ(*templates->find(),
            *open_model(golden("llama").string(), {})->files.chat_templates()->find());
  EXPECT_EQ(model->files.special_tokens()->at("bos_token"), "<|begin|>");
}

TEST(OpenModel, BothTokenizersOfAModelGiveTheSameIds) {
  for (const std::string_view name : {"gpt2", "llama", "qwen2", "gemma3"}) {
    const auto one = open_model_files(golden(name).string(), {});
    const auto other = open_model_files((golden(name) / "model-f32.gguf").string(), {});
    ASSERT_TRUE(one && other);
    const auto a = one->tokenizer(), b = other->tokenizer();
    ASSERT_TRUE(a) << a.error().message;
    ASSERT_TRUE(b) << b.error().message;
    const std::string_view text = "The old man went to the sea, 12 birds; caf\u00e9.";
    const auto ids = (*a)->encode(text);
    ASSERT_TRUE(ids);
    EXPECT_EQ(*ids, *(*b)->encode(text)) << name;
    EXPECT_GT(ids->size(), 10u);
  }
}

TEST(OpenModel, WithoutATokenizerOnlyTextIsOutOfReach) {
  const auto model = open_model(golden("llama-tied").string(), {});
  ASSERT_TRUE(model) << model.error().message;
  for (int again = 0; again < 2; ++again) {
    const auto tokenizer = model->files.tokenizer();
    ASSERT_FALSE(tokenizer);
    EXPECT_EQ(tokenizer.error().code, ErrorCode::kNotFound);
    EXPECT_NE(tokenizer.error().message.find("tokenizer.json"), std::string::npos);
  }
  EXPECT_TRUE(model->files.chat_templates()->empty());
}

TEST(OpenModel, MissingConfigAndShardsAreNotFound) {
  const TemporaryFolder no_config;
  no_config.copy(golden("llama") / "model.safetensors");
  const auto first = open_model(no_config.path().string(), {});
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, ErrorCode::kNotFound);
  EXPECT_NE(first.error().message.find("config.json"), std::string::npos);

  const TemporaryFolder no_shard;
  for (const std::string_view name :
       {"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"}) {
    no_shard.copy(golden("llama-tied") / name);
  }
  const auto second = open_model(no_shard.path().string(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kNotFound);
  EXPECT_NE(second.error().message.find("model-00002-of-00002.safetensors"), std::string::npos);
}

TEST(OpenModel, MoreLayersThanTensorsAreRefusedBeforeBuilding) {
  const TemporaryFolder folder;
  Json config = *parse_json(read_text(golden("llama") / "config.json"), "config");
  config["num_hidden_layers"] = 1000;
  folder.write("config.json", config.dump());
  folder.copy(golden("llama") / "model.safetensors");
  const auto model = open_model(folder.path().string(), {});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kBadFile);
  EXPECT_EQ(model.error().what, "num_hidden_layers");
}

TEST(OpenModel, EndTokensComeFromConfigWhereGenerationConfigIsMute) {
  const auto ends = [](std::string_view generation, const Json& eos_in_config) {
    const TemporaryFolder folder;
    Json config = *parse_json(read_text(golden("llama") / "config.json"), "config");
    config.erase("eos_token_id");
    if (!eos_in_config.is_discarded()) config["eos_token_id"] = eos_in_config;
    folder.write("config.json", config.dump());
    folder.copy(golden("llama") / "model.safetensors");
    if (!generation.empty()) folder.write("generation_config.json", generation);
    const auto model = open_model(folder.path().string(), {});
    EXPECT_TRUE(model) << model.error().message;
    return model->generation.eos_token_ids;
  };
  const Json absent(Json::value_t::discarded);
  EXPECT_EQ(ends(R"({"eos_token_id":[3,4]})", 5), (std::vector<int32_t>{3, 4}));
  EXPECT_EQ(ends(R"({"temperature":0.5})", 5), (std::vector<int32_t>{5}));
  EXPECT_EQ(ends("", 5), (std::vector<int32_t>{5}));
  EXPECT_EQ(ends("", absent), (std::vector<int32_t>{2}));  // LlamaConfig's default
  EXPECT_TRUE(ends("", nullptr).empty());
  EXPECT_TRUE(ends(R"({"eos_token_id":-1})", 5).empty());
  EXPECT_EQ(ends(R"({"eos_token_id":[3,2147483647]})", 5), (std::vector<int32_t>{3}));
}

TEST(OpenModel, FilesOfAnUnknownArchitectureOpenButMakeNoModel) {
  const TemporaryFolder folder;
  folder.write("config.json", R"({"architectures":["RwkvForCausalLM"],"hidden_size":7})");
  folder.copy(golden("llama") / "model.safetensors");
  auto files = open_model_files(folder.path().string(), {});
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_EQ(files->architecture_name, "RwkvForCausalLM");
  EXPECT_EQ(files->config["hidden_size"], 7);
  const auto model = make_model(*std::move(files));
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
}

TEST(GenerationConfigFile, ValuesOutOfBoundsAreRefusedByName) {
  for (const auto& [text, field] : {std::pair{R"({"temperature":-1})", "temperature"},
                                    {R"({"top_p":2})", "top_p"},
                                    {R"({"top_k":"all"})", "top_k"},
                                    {R"({"eos_token_id":"</s>"})", "eos_token_id"},
                                    {R"({"eos_token_id":[1.5]})", "eos_token_id"}}) {
    const auto config = read_generation_config(*parse_json(text, "g"), "generation_config.json");
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, ErrorCode::kBadFile);
    EXPECT_EQ(config.error().what, field);
  }
}

TEST(ChatTemplateFiles, JinjaFileComesBeforeTheJsonFiles) {
  const TemporaryFolder folder;
  folder.write("tokenizer_config.json", R"({"chat_template":"in config"})");
  EXPECT_EQ(*read_folder_chat_templates(folder.path())->find(), "in config");
  folder.write("chat_template.json", R"({"chat_template":"in json"})");
  EXPECT_EQ(*read_folder_chat_templates(folder.path())->find(), "in json");
  folder.write("chat_template.jinja", "in jinja");
  EXPECT_EQ(*read_folder_chat_templates(folder.path())->find(), "in jinja");
}

TEST(ChatTemplateFiles, NamedTemplatesAreAllKept) {
  const auto templates =
      read_chat_templates(*parse_json(R"({"chat_template":[{"name":"default","template":"a"},
                                       {"name":"tool_use","template":"b"}]})",
                                      "t"),
                          "tokenizer_config.json");
  ASSERT_TRUE(templates);
  EXPECT_EQ(*templates->find(), "a");
  EXPECT_EQ(*templates->find("tool_use"), "b");
  EXPECT_EQ(templates->find("rag"), nullptr);
  EXPECT_FALSE(read_chat_templates(*parse_json(R"({"chat_template":7})", "t"), "t"));
  EXPECT_FALSE(read_chat_templates(*parse_json(R"({"chat_template":[{"name":"x"}]})", "t"), "t"));
}

TEST(ReferenceLogitsFile, GoldenLinesAreWhole) {
  for (const std::string_view name : {"gpt2", "llama", "llama-tied", "qwen2", "gemma3"}) {
    const auto lines = read_reference_logits(golden(name) / "reference" / "logits.jsonl");
    ASSERT_TRUE(lines) << lines.error().message;
    const auto model = open_model(golden(name).string(), {});
    ASSERT_TRUE(model);
    EXPECT_EQ(lines->size(), 4u);
    for (const ReferenceLogits& line : *lines) {
      EXPECT_EQ(line.greedy.size(), 128u);
      EXPECT_EQ(static_cast<int64_t>(line.logits_last.size()), model->config.vocab_size);
      EXPECT_LE(line.prompt_token_ids.size() + 128, 192u);
    }
  }
}

}  // namespace
}  // namespace quern
