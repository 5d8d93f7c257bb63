// `quern quantize` from outside: what it writes, what it refuses, what it leaves behind.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "base/cat.h"
#include "base/json.h"
#include "process.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

Json parsed(const std::string& text) {
  const auto value = parse_json(text, "stdout");
  EXPECT_TRUE(value) << text;
  return value ? *value : Json();
}

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Runs quantize within a folder of its own and looks at what is there afterwards.
class Quantize : public testing::Test {
 protected:
  Quantize() : folder_(fs::temp_directory_path() / cat("quern_quantize_", ::getpid())) {
    fs::create_directory(folder_);
  }
  ~Quantize() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::set<std::string> names() const {
    std::set<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_)) out.insert(entry.path().filename());
    return out;
  }

  Json quantize(const std::string& in, const std::string& out,
                const std::vector<std::string>& flags) const {
    std::vector<std::string> words = {"quantize", in, path(out), "--json"};
    words.insert(words.end(), flags.begin(), flags.end());
    const ProcessResult result = run_quern(words);
    EXPECT_EQ(result.status, 0) << result.err;
    return parsed(result.out);
  }
  void expect_failure(std::vector<std::string> words, int status, const std::string& code,
                      const std::string& culprit) const {
    words.insert(words.begin(), "quantize");
    words.push_back("--json");
    const ProcessResult result = run_quern(words);
    EXPECT_EQ(result.status, status) << result.err;
    EXPECT_NE(result.last_error_line().find(culprit), std::string::npos) << result.err;
    EXPECT_EQ(parsed(result.out)["error"]["code"], code) << result.out;
  }

  fs::path folder_;
};

Json container(const std::string& path) {
  return parsed(run_quern({"show", path, "--container", "--json"}).out);
}

std::map<std::string, std::string> types(const Json& listing) {
  std::map<std::string, std::string> out;
  for (const Json& tensor : listing["tensors"]) out[tensor["name"]] = tensor["dtype"];
  return out;
}

Json greedy(const std::string& model) {
  const ProcessResult result =
      run_quern({"run", model, "--prompts", "-", "--dtype", "f32", "--activations", "f32"},
                "{\"prompt_token_ids\":[5,17,200,33,8],\"max_tokens\":24,\"temperature\":0,"
                "\"ignore_eos\":true}\n");
  EXPECT_EQ(result.status, 0) << result.err;
  return parsed(result.out)["token_ids"];
}

const std::vector<std::string> kGgufModels = {"gemma3", "gpt2", "llama", "qwen2"};

std::string golden_gguf(const std::string& name) {
  return repository_model("golden/" + name + "/model-f32.gguf");
}

TEST_F(Quantize, AnswersWithTheKeysOfTheContract) {
  const Json report = quantize(golden_gguf("llama"), "a.gguf", {"--dtype", "q8_0"});
  std::set<std::string> keys;
  for (const auto& [name, value] : report.items()) keys.insert(name);
  EXPECT_EQ(keys, (std::set<std::string>{"schema", "in_bytes", "out_bytes", "bits_per_weight",
                                         "tensors", "fallbacks", "seconds"}));
  EXPECT_EQ(report["in_bytes"], fs::file_size(golden_gguf("llama")));
  EXPECT_EQ(report["out_bytes"], fs::file_size(path("a.gguf")));
  EXPECT_GT(report["bits_per_weight"], 8.0);
  EXPECT_LT(report["bits_per_weight"], 12.0);  // the vectors of a tiny model weigh
  EXPECT_EQ(report["fallbacks"].size(), 0u);
  const auto stored = types(container(path("a.gguf")));
  EXPECT_EQ(report["tensors"].size(), stored.size());
  for (const Json& tensor : report["tensors"]) {
    EXPECT_EQ(tensor["from"], "f32");
    EXPECT_EQ(tensor["to"], stored.at(tensor["name"]) == "F32" ? "f32" : "q8_0");
  }
}

TEST_F(Quantize, MatricesTakeTheTypeVectorsAndMetadataStay) {
  for (const std::string& name : kGgufModels) {
    quantize(golden_gguf(name), "a.gguf", {"--dtype", "bf16", "--force"});
    Json before = container(golden_gguf(name));
    Json after = container(path("a.gguf"));
    EXPECT_EQ(after["metadata"]["general.file_type"], 32);
    before["metadata"].erase("general.file_type");
    after["metadata"].erase("general.file_type");
    EXPECT_EQ(after["metadata"], before["metadata"]) << name;
    ASSERT_EQ(after["tensors"].size(), before["tensors"].size());
    for (size_t i = 0; i < after["tensors"].size(); ++i) {
      const Json& tensor = after["tensors"][i];
      EXPECT_EQ(tensor["name"], before["tensors"][i]["name"]);
      EXPECT_EQ(tensor["shape"], before["tensors"][i]["shape"]);
      EXPECT_EQ(tensor["dtype"], tensor["shape"].size() == 1 ? "F32" : "BF16") << tensor;
    }
  }
}

TEST_F(Quantize, TheSameTypeIsTheSameModel) {
  for (const std::string& name : kGgufModels) {
    quantize(golden_gguf(name), "a.gguf", {"--dtype", "f32", "--force"});
    EXPECT_EQ(greedy(path("a.gguf")), greedy(golden_gguf(name))) << name;
  }
}

TEST_F(Quantize, AFolderBecomesAFileThatAnswersTheSame) {
  for (const std::string name : {"gemma3", "gpt2", "llama", "llama-tied", "qwen2"}) {
    const std::string folder = repository_model("golden/" + name);
    const Json report = quantize(folder, "a.gguf", {"--dtype", "f32", "--force"});
    EXPECT_EQ(greedy(path("a.gguf")), greedy(folder)) << name;
    if (name == "llama-tied") continue;  // it has no tokenizer
    const auto ids = [](const std::string& model) {
      return parsed(
          run_quern({"tokenize", model, "--json", "--text", "A fox, 12\n ran."}).out)["ids"];
    };
    EXPECT_EQ(ids(path("a.gguf")), ids(folder)) << name;
  }
  const Json report = quantize(repository_model("golden/llama"), "a.gguf",
                               {"--dtype", "q8_0", "--keep", "lm_head=f16", "--force"});
  const auto stored = types(container(path("a.gguf")));
  EXPECT_EQ(stored.at("output.weight"), "F16");
  EXPECT_EQ(stored.at("blk.0.attn_q.weight"), "Q8_0");
  EXPECT_EQ(stored.at("blk.0.attn_q.bias"), "F32");
}

// Encoding what was decoded must not change it a second time.
TEST_F(Quantize, AQuantisedFileIsCopiedBitByBit) {
  quantize(golden_gguf("llama"), "a.gguf", {"--dtype", "q4_1"});
  quantize(path("a.gguf"), "b.gguf", {"--dtype", "q4_1"});
  EXPECT_EQ(content(path("a.gguf")), content(path("b.gguf")));
}

TEST_F(Quantize, EveryTypeThatIsOfferedCanBeRunAgain) {
  for (const std::string type : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"}) {
    quantize(golden_gguf("llama"), "a.gguf", {"--dtype", type, "--force"});
    EXPECT_EQ(greedy(path("a.gguf")).size(), 24u) << type;
  }
}

TEST_F(Quantize, KeepNamesTheTypesOfSomeMatricesByEitherName) {
  const Json report = quantize(golden_gguf("llama"), "a.gguf",
                               {"--dtype", "q4_0", "--keep", "^output=f16", "--keep",
                                "layers\\.0\\.mlp=q8_0", "--keep", "ffn_down=bf16"});
  const auto stored = types(container(path("a.gguf")));
  EXPECT_EQ(stored.at("output.weight"), "F16");
  EXPECT_EQ(stored.at("blk.0.ffn_down.weight"), "Q8_0");
  EXPECT_EQ(stored.at("blk.1.ffn_down.weight"), "BF16");
  EXPECT_EQ(stored.at("blk.1.ffn_up.weight"), "Q4_0");
  EXPECT_EQ(stored.at("output_norm.weight"), "F32");
}

TEST_F(Quantize, RowsThatAreNoMultipleOfTheBlockFallBackAndAreNamed) {
  // Rows of the golden models are shorter than the 256 values of such a block.
  const Json report = quantize(golden_gguf("llama"), "a.gguf", {"--dtype", "q4_k"});
  ASSERT_FALSE(report["fallbacks"].empty());
  const auto stored = types(container(path("a.gguf")));
  for (const Json& fallback : report["fallbacks"]) {
    EXPECT_EQ(fallback["wanted"], "q4_k");
    EXPECT_EQ(fallback["used"], "q8_0");
    EXPECT_EQ(stored.at(fallback["name"]), "Q8_0");
  }
}

TEST_F(Quantize, WhatStandsAtTheTargetIsReplacedByForceAlone) {
  std::ofstream(path("a.gguf")) << "precious";
  const std::string in = golden_gguf("llama");
  expect_failure({in, path("a.gguf"), "--dtype", "q8_0"}, 2, "usage", "--force");
  EXPECT_EQ(content(path("a.gguf")), "precious");
  quantize(in, "a.gguf", {"--dtype", "q8_0", "--force"});
  EXPECT_EQ(content(path("a.gguf")).substr(0, 4), "GGUF");
  fs::create_directory(path("folder.gguf"));
  expect_failure({in, path("folder.gguf"), "--dtype", "q8_0", "--force"}, 2, "usage", "folder");
}

TEST_F(Quantize, TheModelItselfIsNeverTheTarget) {
  fs::copy_file(golden_gguf("llama"), path("m.gguf"));
  const std::string before = content(path("m.gguf"));
  fs::create_symlink(path("m.gguf"), path("link.gguf"));
  for (const std::string name : {"m.gguf", "link.gguf", "./m.gguf"}) {
    expect_failure({path("m.gguf"), path(name), "--dtype", "q8_0", "--force"}, 2, "usage",
                   "the model that is to be read");
  }
  EXPECT_EQ(content(path("m.gguf")), before);
}

TEST_F(Quantize, AFolderIsWrittenWhole) {
  const std::string in = repository_model("golden/llama");
  const Json report = quantize(in, "folder", {"--dtype", "f32"});
  EXPECT_EQ(report["out_bytes"], fs::file_size(path("folder") + "/model.safetensors"));
  EXPECT_EQ(greedy(path("folder")), greedy(in));
  const Json halves = quantize(in, "folder/", {"--dtype", "bf16", "--force"});
  EXPECT_EQ(parsed(content(path("folder") + "/config.json"))["dtype"], "bfloat16");
  EXPECT_EQ(greedy(path("folder")).size(), 24u);
  EXPECT_EQ(names(), std::set<std::string>{"folder"});
}

TEST_F(Quantize, AFolderIsReplacedOnlyWhereItIsAModels) {
  const std::string in = repository_model("golden/llama");
  const auto expect_usage = [&](const std::string& out, const std::string& culprit) {
    expect_failure({in, out, "--dtype", "bf16", "--force"}, 2, "usage", culprit);
  };
  fs::create_directory(path("home"));
  std::ofstream(path("home/letter.txt")) << "precious";
  expect_usage(path("home"), "not a model's folder");
  fs::create_directories(path("models/one"));
  std::ofstream(path("models/config.json")) << "{}";
  expect_usage(path("models"), "not a model's folder");
  expect_failure({in, path("home"), "--dtype", "bf16"}, 2, "usage", "--force");
  fs::copy(in, path("model"));
  expect_failure({path("model"), path("model"), "--dtype", "bf16", "--force"}, 2, "usage",
                 "the model that is to be read");
  EXPECT_EQ(content(path("home/letter.txt")), "precious");
}

TEST_F(Quantize, TypesThatTheTargetHasNoFormForAreRefused) {
  const std::string in = repository_model("golden/llama");
  expect_failure({in, path("folder"), "--dtype", "q8_0"}, 5, "unsupported", "q8_0");
  expect_failure({in, path("a.gguf"), "--dtype", "w8a8"}, 2, "usage", "w8a8");
  for (const std::string type : {"w8a8", "fp8_e4m3"}) {
    expect_failure({in, path("a.gguf"), "--dtype", "q8_0", "--keep", "ffn_up=" + type}, 5,
                   "unsupported", type);
  }
  expect_failure({golden_gguf("llama"), path("folder"), "--dtype", "f32"}, 5, "unsupported",
                 "Hugging Face folder");
  expect_failure({repository_model("golden/gpt2"), path("folder"), "--dtype", "w8a8"}, 5,
                 "unsupported", "c_attn");
  quantize(in, "w8a8", {"--dtype", "w8a8"});
  expect_failure({path("w8a8"), path("folder"), "--dtype", "f16"}, 5, "unsupported", "quantised");
  EXPECT_EQ(names(), std::set<std::string>{"w8a8"});
}

TEST_F(Quantize, AFolderOfW8A8RunsIsShownAndBecomesAFile) {
  quantize(repository_model("golden/llama"), "w8a8", {"--dtype", "w8a8"});
  const Json shown = parsed(run_quern({"show", path("w8a8"), "--json"}).out);
  EXPECT_EQ(shown["supported"], true);
  EXPECT_EQ(types(container(path("w8a8/model.safetensors")))["model.layers.0.mlp.up_proj.weight"],
            "I8");
  quantize(path("w8a8"), "a.gguf", {"--dtype", "f32"});
  EXPECT_EQ(greedy(path("w8a8")), greedy(path("a.gguf")));
  // Activations of eight bits, as the scheme has it, whether quantised before or while loading.
  const auto words = [&](const std::string& model, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"run", model, "--prompts", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result =
        run_quern(arguments,
                  "{\"prompt_token_ids\":[5,17,200,33,8],\"max_tokens\":24,\"temperature\":0,"
                  "\"ignore_eos\":true,\"logprobs\":1}\n");
    EXPECT_EQ(result.status, 0) << result.err;
    const Json answer = parsed(result.out);
    return Json{answer["token_ids"], answer["logprobs"]};
  };
  const Json answer = words(path("w8a8"), {});
  EXPECT_EQ(words(repository_model("golden/llama"), {"--dtype", "w8a8"}), answer);
  EXPECT_NE(words(path("w8a8"), {"--activations", "f32"})[1], answer[1]);
}

TEST_F(Quantize, WrongArgumentsAreNamed) {
  const std::string in = golden_gguf("llama"), out = path("a.gguf");
  expect_failure({in, out}, 2, "usage", "--dtype");
  expect_failure({in, out, "--dtype", "auto"}, 2, "usage", "--dtype");
  expect_failure({in, out, "--dtype", "q9"}, 2, "usage", "--dtype");
  expect_failure({in, "--dtype", "q8_0"}, 2, "usage", "needs");
  expect_failure({in, out, "--dtype", "q8_0", "--keep", "nothing=f16"}, 2, "usage", "--keep");
  expect_failure({in, out, "--dtype", "q8_0", "--keep", "(=f16"}, 2, "usage", "--keep");
  expect_failure({in, out, "--dtype", "q8_0", "--keep", "f16"}, 2, "usage", "--keep");
  expect_failure({in, out, "--dtype", "q8_0", "--keep", "x=q9"}, 5, "unsupported", "--keep");
  expect_failure({in, out, "--dtype", "q8_0", "--calibrate", "x"}, 5, "unsupported", "--calibrate");
  expect_failure({"/nonexistent.gguf", out, "--dtype", "q8_0"}, 3, "not_found", "nonexistent");
  EXPECT_TRUE(names().empty());
}

TEST_F(Quantize, AFailureWhileWritingLeavesNothing) {
  const std::string in = golden_gguf("llama");
  expect_failure({in, path("missing/a.gguf"), "--dtype", "q8_0"}, 3, "not_found", "missing");
  // A limit on the size of files stands for a full disk.
  const ProcessResult full = run_in_shell(
      cat("ulimit -f 8; \"$0\" quantize '", in, "' '", path("a.gguf"), "' --dtype f32"));
  EXPECT_EQ(full.status, 9) << full.err;
  EXPECT_NE(full.last_error_line().find("a.gguf: cannot write"), std::string::npos) << full.err;
  EXPECT_TRUE(names().empty());
}

}  // namespace
}  // namespace quern
