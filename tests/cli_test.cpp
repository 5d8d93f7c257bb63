// The contract of the command line, from outside: exit statuses, JSON, the prompts file.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/cat.h"
#include "base/json.h"
#include "process.h"

namespace quern {
namespace {

Json parsed(const std::string& text) {
  const auto value = parse_json(text, "stdout");
  EXPECT_TRUE(value) << text;
  return value ? *value : Json();
}

std::vector<Json> parsed_lines(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(parsed(line));
  return lines;
}

std::set<std::string> keys(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

/// Both halves of a failure: the last line of stderr and, with --json, the object on stdout.
void expect_failure(std::vector<std::string> words, int status, const std::string& code,
                    const std::string& culprit, const std::string& input = {}) {
  words.push_back("--json");
  const ProcessResult result = run_quern(words, input);
  EXPECT_EQ(result.status, status) << result.err;
  EXPECT_TRUE(result.last_error_line().starts_with("error: ")) << result.err;
  EXPECT_NE(result.last_error_line().find(culprit), std::string::npos) << result.err;
  const Json object = parsed(result.out);
  EXPECT_EQ(object["schema"], 1);
  EXPECT_EQ(object["error"]["code"], code) << result.out;
  EXPECT_EQ(keys(object["error"]),
            (std::set<std::string>{"code", "message", "what", "found", "wanted", "try"}));
}

std::string answers(std::vector<std::string> words, const std::string& lines) {
  words.insert(words.begin(), {"run", "demo", "--prompts", "-"});
  const ProcessResult result = run_quern(words, lines);
  EXPECT_EQ(result.status, 0) << result.err;
  return result.out;
}

TEST(Cli, FailuresHaveTheStatusAndTheWordOfTheirCause) {
  expect_failure({"fly"}, 2, "usage", "fly");
  expect_failure({"run", "demo", "--wings"}, 2, "usage", "--wings");
  expect_failure({"run", "demo", "x", "--threads", "zero"}, 2, "usage", "--threads");
  expect_failure({"run", "demo", "x", "--temperature", "-1"}, 2, "usage", "--temperature");
  expect_failure({"show", "/nonexistent/model"}, 3, "not_found", "/nonexistent/model");
  expect_failure({"run", "demo", "x", "--isa", "avx512fp16"}, 5, "unsupported", "avx512fp16");
  expect_failure({"run", "demo", "x", "--executor", "abacus"}, 5, "unsupported", "abacus");
  expect_failure({"run", "demo", "x", "--kv-cache-dtype", "w8a8"}, 5, "unsupported", "w8a8");
  expect_failure({"run", "demo", "x", "--cache-type-v", "q8_0"}, 2, "usage", "--cache-type-v");
  expect_failure({"run", "demo", "x", "-ctk", "f16", "-ctv", "q8_0"}, 2, "usage", "q8_0");
  expect_failure({"run", "demo", "x", "--executor", "reference", "--weight-cache", "/tmp"}, 5,
                 "unsupported", "--weight-cache");
  expect_failure({"run", "demo", "x", "--max-model-len", "1000000"}, 6, "does_not_fit", "1000000");
  expect_failure({"run", "demo", "x", "--memory-limit", "1M"}, 6, "does_not_fit", "MiB");
  expect_failure({"run", "demo", "--messages", "/nonexistent.json"}, 3, "not_found",
                 "/nonexistent.json");
}

TEST(Cli, ACorruptModelIsABadFile) {
  const auto path = std::filesystem::temp_directory_path() / "quern_cli_test_bad.gguf";
  std::ofstream(path) << "GGUF\x03";
  expect_failure({"show", path.string()}, 4, "bad_file", "quern_cli_test_bad.gguf");
  std::filesystem::remove(path);
}

TEST(Cli, HelpAndVersionAnswerOnStdout) {
  EXPECT_NE(run_quern({"--help"}).out.find("perplexity"), std::string::npos);
  EXPECT_EQ(run_quern({"--version"}).out.rfind("quern ", 0), 0u);
  for (const std::string command : {"run", "show", "plan", "bench model", "doctor"}) {
    std::vector<std::string> words;
    std::istringstream split(command);
    for (std::string word; split >> word;) words.push_back(word);
    words.push_back("--help");
    const ProcessResult result = run_quern(words);
    EXPECT_EQ(result.status, 0);
    EXPECT_NE(result.out.find("usage: quern " + command), std::string::npos) << result.out;
  }
}

TEST(Cli, RunJsonHasEveryKeyOfTheContract) {
  const ProcessResult result = run_quern({"run", "demo", "Tell me a story about a kite.", "--json",
                                          "--temperature", "0", "--max-tokens", "12", "--logprobs",
                                          "2", "--prompt-logprobs", "1", "--logits-hash"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json object = parsed(result.out);
  EXPECT_EQ(keys(object),
            (std::set<std::string>{"schema", "index", "id", "prompt_tokens", "cached_tokens",
                                   "completion_tokens", "token_ids", "text", "finish_reason",
                                   "stop_reason", "logprobs", "prompt_logprobs", "logits_hash",
                                   "timings", "prompt_token_ids", "model", "memory"}));
  EXPECT_EQ(object["completion_tokens"], 12);
  EXPECT_EQ(object["finish_reason"], "length");
  EXPECT_EQ(object["logprobs"].size(), 12u);
  EXPECT_EQ(object["logprobs"][0]["top"].size(), 2u);
  EXPECT_EQ(object["logprobs"][0]["token_id"], object["logprobs"][0]["top"][0][0]);
  EXPECT_TRUE(object["prompt_logprobs"][0].is_null());
  EXPECT_EQ(object["prompt_logprobs"].size(), object["prompt_tokens"].get<size_t>());
  EXPECT_EQ(object["logits_hash"][0].get<std::string>().size(), 16u);
  EXPECT_EQ(keys(object["timings"]),
            (std::set<std::string>{"load_ms", "queue_ms", "ttft_ms", "tpot_ms", "total_ms",
                                   "prompt_per_second", "predicted_per_second",
                                   "exec_to_first_token_ms"}));
  const Json& memory = object["memory"];
  EXPECT_EQ(memory["planned_bytes"].get<int64_t>(),
            memory["weights_bytes"].get<int64_t>() + memory["kv_bytes"].get<int64_t>() +
                memory["work_bytes"].get<int64_t>() + memory["other_bytes"].get<int64_t>());
  EXPECT_GE(memory["planned_bytes"].get<int64_t>(), memory["peak_rss_bytes"].get<int64_t>());
}

TEST(Cli, ABadLineFailsAloneAndTheOthersRun) {
  const std::string lines =
      "{\"prompt\":\"Once\",\"max_tokens\":3,\"id\":\"a\"}\n"
      "{\"prompt\":\"Once\",\"wings\":2,\"id\":7}\n"
      "not json\n"
      "{\"prompt_token_ids\":[5,99999999]}\n"
      "{\"prompt\":\"One day\",\"max_tokens\":2}\n";
  const ProcessResult result = run_quern({"run", "demo", "--prompts", "-"}, lines);
  EXPECT_EQ(result.status, 7);
  const std::vector<Json> out = parsed_lines(result.out);
  ASSERT_EQ(out.size(), 5u) << result.out;
  EXPECT_EQ(out[0]["completion_tokens"], 3);
  EXPECT_EQ(out[0]["id"], "a");
  EXPECT_EQ(out[1]["error"]["code"], "bad_input");
  EXPECT_EQ(out[1]["id"], 7);
  EXPECT_EQ(out[2]["error"]["code"], "bad_input");
  EXPECT_EQ(out[3]["error"]["code"], "bad_input");
  EXPECT_EQ(out[4]["index"], 4);
  EXPECT_EQ(out[4]["completion_tokens"], 2);
}

TEST(Cli, APromptLongerThanTheContextNamesBothNumbers) {
  Json ids = Json::array();
  for (int i = 0; i < 100; ++i) ids.push_back(5);
  const ProcessResult result = run_quern({"run", "demo", "--prompts", "-", "--max-model-len", "64"},
                                         dump_json({{"prompt_token_ids", ids}}) + "\n");
  EXPECT_EQ(result.status, 7);
  const std::string message = parsed(result.out)["error"]["message"];
  EXPECT_NE(message.find("100"), std::string::npos) << message;
  EXPECT_NE(message.find("64"), std::string::npos) << message;
}

/// Ids, log-probabilities and hashes of every line, without what may differ.
std::vector<Json> essence(const std::string& out) {
  std::vector<Json> lines;
  for (const Json& line : parsed_lines(out)) {
    lines.push_back({{"ids", line["token_ids"]},
                     {"logprobs", line["logprobs"]},
                     {"hash", line["logits_hash"]},
                     {"text", line["text"]}});
  }
  return lines;
}

std::string five_requests() {
  std::string lines;
  for (const std::string noun : {"fox", "boat", "lantern", "snail", "queen"}) {
    lines +=
        dump_json({{"messages",
                    {{{"role", "user"}, {"content", "Tell me a story about a " + noun + "."}}}},
                   {"max_tokens", 24},
                   {"seed", 3},
                   {"logprobs", 2},
                   {"logits_hash", true}}) +
        "\n";
  }
  return lines;
}

TEST(Cli, AnswersDoNotDependOnCompanyChunksThreadsOrCache) {
  const std::string lines = five_requests();
  const std::vector<Json> expected = essence(answers({}, lines));
  ASSERT_EQ(expected.size(), 5u);
  EXPECT_FALSE(expected[0]["ids"].empty());
  const std::vector<std::vector<std::string>> others = {
      {"--max-num-seqs", "1"},
      {"--max-num-batched-tokens", "7"},
      {"--threads", "1"},
      {"--no-enable-prefix-caching"},
      {"--scheduling", "static"},
      {"--no-kv-cache"},
      {"--no-fuse"},
      {"--isa", "avx2"},
  };
  for (const auto& flags : others) {
    EXPECT_EQ(essence(answers(flags, lines)), expected) << flags.front();
  }
}

TEST(Cli, AFlagFromTheEnvironmentCountsAndTheCommandLineWins) {
  EXPECT_EQ(run_quern({"run", "demo", "x"}, {}, {"QUERN_EXECUTOR=abacus"}).status, 5);
  EXPECT_EQ(run_quern({"run", "demo", "x", "--executor", "cpu", "--max-tokens", "1"}, {},
                      {"QUERN_EXECUTOR=abacus"})
                .status,
            0);
}

TEST(Cli, AValueIsTakenAsItIsWhateverItLooksLike) {
  const auto ids_of = [](std::vector<std::string> words, const std::string& input = {}) {
    words.insert(words.begin(), {"tokenize", "demo", "--json"});
    return parsed(run_quern(words, input).out)["ids"];
  };
  EXPECT_EQ(ids_of({"--text", "-m"}), ids_of({}, "-m"));
  EXPECT_EQ(ids_of({"--text=--json"}), ids_of({}, "--json"));
  EXPECT_EQ(ids_of({"--text="}), ids_of({}, ""));
  const auto prompt_of = [](const std::string& prompt) {
    const ProcessResult result =
        run_quern({"run", "demo", "--raw", "--json", "--max-tokens", "1", "--", prompt});
    return parsed(result.out)["prompt_token_ids"];
  };
  EXPECT_EQ(prompt_of("[a, b]"), ids_of({}, "[a, b]"));
  EXPECT_EQ(prompt_of("--json"), ids_of({}, "--json"));
}

TEST(Cli, ModelAsAFlagStandsWhereTheFirstArgumentWould) {
  expect_failure({"perplexity", "-m", "demo"}, 2, "usage", "needs");
  expect_failure({"run", "-m", "demo", "a", "b"}, 2, "usage", "\"b\"");
  EXPECT_EQ(run_quern({"perplexity", "-m", "demo", "-"}, "Once upon a time").status, 0);
}

TEST(Cli, WhatWouldBeWithoutEffectIsRefused) {
  expect_failure({"run", "demo", "a", "--prompt", "b"}, 2, "usage", "--prompt");
  expect_failure({"run", "demo", "a", "--prompts", "-"}, 2, "usage", "--prompts");
  expect_failure({"run", "demo", "a", "--unordered"}, 2, "usage", "--unordered");
  expect_failure({"show", "demo", "--batch", "8"}, 2, "usage", "--program");
  EXPECT_EQ(run_quern({"show", "demo", "--program", "--batch", "8"}).status, 2);
  expect_failure({"perplexity", "demo", "-", "--reference-dtype", "f32"}, 2, "usage",
                 "--reference");
  expect_failure({"tokenize", "demo", "--skip-special-tokens"}, 2, "usage", "--decode");
  expect_failure({"run", "demo", "a", "--raw", "--system", "b"}, 2, "usage", "--raw");
  expect_failure({"tokenize", "demo", "--text", "a", "--decode"}, 2, "usage", "--text");
  expect_failure({"perplexity", "demo", "-", "--ctx", "5000"}, 6, "does_not_fit", "5000", "a b c");
  expect_failure({"perplexity", "demo", "-", "--max-model-len", "5000"}, 6, "does_not_fit", "5000",
                 "a b c");
  expect_failure({"plan", "demo", "--memory-limit", "9223372036854775808"}, 2, "usage",
                 "--memory-limit");
  expect_failure({"plan", "demo", "--seed", "dice"}, 2, "usage", "--seed");
}

TEST(Cli, SeedIsAFlagOfTheModelAndRepeatsAnAnswer) {
  EXPECT_EQ(run_quern({"plan", "demo", "--seed", "1"}).status, 0);
  const std::vector<std::string> words = {"run", "demo", "A", "--temperature", "1", "-n", "12"};
  const ProcessResult once = run_quern(words, {}, {"QUERN_SEED=5"});
  EXPECT_NE(once.err.find("seed: 5"), std::string::npos) << once.err;
  EXPECT_EQ(run_quern(words, {}, {"QUERN_SEED=5"}).out, once.out);
  EXPECT_NE(run_quern(words, {}, {"QUERN_SEED=6"}).out, once.out);
}

TEST(Cli, AnAnswerThatCannotBeWrittenIsAFailure) {
  const ProcessResult result = run_in_shell("\"$0\" run demo hi -n 2 > /dev/full");
  EXPECT_EQ(result.status, 9);
  EXPECT_TRUE(result.last_error_line().starts_with("error: stdout")) << result.err;
}

TEST(Cli, ASignalEndsWhateverGoesOn) {
  // While it reads, while it measures, while it answers.
  for (const char* command : {"run demo -", "bench model -m demo -r 1000",
                              "run demo hi --ignore-eos --temperature 0 --no-kv-cache -n 1000"}) {
    const ProcessResult result =
        run_in_shell(cat("sleep 2 2> /dev/null | \"$0\" ", command,
                         " > /dev/null & sleep 1; kill -TERM $!; wait $!"));
    EXPECT_EQ(result.status, 143) << command << ": " << result.err;
  }
}

TEST(Cli, ABadLineIsCountedOnStderr) {
  const ProcessResult result = run_quern({"run", "demo", "--prompts", "-"},
                                         "{\"prompt\":\"a\",\"max_tokens\":2}\n{\"wings\":1}\n");
  EXPECT_EQ(result.status, 7);
  EXPECT_EQ(result.last_error_line(),
            "error: -: 1 of 2 lines are wrong; each says why in its place");
}

TEST(Cli, WhatWasAskedForIsAListEvenWhereItIsShort) {
  const std::string line =
      R"({"prompt_token_ids":[5],"max_tokens":1,"temperature":0,"prompt_logprobs":1})";
  const Json answer = parsed(answers({}, line + "\n"));
  ASSERT_TRUE(answer["prompt_logprobs"].is_array()) << answer.dump();
  EXPECT_EQ(answer["prompt_logprobs"], Json::array({nullptr}));
  EXPECT_TRUE(answer["logprobs"].is_null());
}

TEST(Cli, TemplatesSeeThatThereAreNoTools) {
  const auto folder = std::filesystem::temp_directory_path() / "quern_cli_test_template";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "messages.json") << "[]";
  std::ofstream(folder / "t.jinja") << "{{ 'tools' if tools is not none else 'no tools' }}";
  const ProcessResult rendered = run_quern({"template", (folder / "t.jinja").string(), "--messages",
                                            (folder / "messages.json").string()});
  EXPECT_EQ(rendered.out, "no tools") << rendered.err;
  std::filesystem::remove_all(folder);
}

TEST(Cli, AChatTemplateFileTakesThePlaceOfTheModels) {
  const auto folder = std::filesystem::temp_directory_path() / "quern_cli_test_chat_template";
  std::filesystem::create_directories(folder);
  const std::string good = (folder / "t.jinja").string(), bad = (folder / "bad.jinja").string();
  std::ofstream(good) << "{% for m in messages %}{{ m.content }}{% endfor %} and";
  std::ofstream(bad) << "{% for m in %}";
  const std::string turns =
      R"({"messages":[{"role":"user","content":"Once upon a time"}],"max_tokens":4,"temperature":0})";
  const Json chatted = parsed(answers({"--chat-template-file", good}, turns + "\n"));
  const std::string text = R"({"prompt":"Once upon a time and","max_tokens":4,"temperature":0})";
  EXPECT_EQ(chatted["token_ids"], parsed(answers({}, text + "\n"))["token_ids"]);
  EXPECT_NE(chatted["prompt_tokens"], parsed(answers({}, turns + "\n"))["prompt_tokens"]);
  expect_failure({"run", "demo", "x", "--chat-template-file", bad}, 7, "bad_input", bad);
  expect_failure({"run", "demo", "x", "--chat-template-file", "/nonexistent.jinja"}, 3, "not_found",
                 "/nonexistent.jinja");
  std::filesystem::remove_all(folder);
}

TEST(Cli, DemoWritesAStoryOfSixtyWordsOnStdoutAlone) {
  const ProcessResult result = run_quern({"demo"});
  ASSERT_EQ(result.status, 0) << result.err;
  std::istringstream words(result.out);
  const auto count = std::distance(std::istream_iterator<std::string>(words), {});
  EXPECT_GE(count, 60) << result.out;
  EXPECT_NE(result.err.find("tokens"), std::string::npos);
}

TEST(Cli, TokenizeGoesThereAndBack) {
  const std::string text = "Once upon a time, \xF0\x9F\xA6\x8A!\r\n";
  const Json object = parsed(run_quern({"tokenize", "demo", "--json"}, text).out);
  EXPECT_EQ(object["count"], object["ids"].size());
  EXPECT_EQ(object["tokens"].size(), object["ids"].size());
  std::string ids;
  for (const Json& id : object["ids"]) ids += std::to_string(id.get<int>()) + " ";
  EXPECT_EQ(run_quern({"tokenize", "demo", "--decode"}, ids).out, text);
  EXPECT_EQ(parsed(run_quern({"tokenize", "demo", "--decode", "--json"}, ids).out)["text"], text);
}

/// The "kv" bytes of a plan.
int64_t planned_kv(std::vector<std::string> words) {
  words.insert(words.begin(), {"plan", "demo", "--json"});
  return parsed(run_quern(words).out)["bytes"]["kv"].get<int64_t>();
}

TEST(Cli, SequencesShareABoundedCacheAndAnswerTheSame) {
  const int64_t alone = planned_kv({"--max-num-seqs", "1"});
  const std::string two = cat(2 * alone);
  EXPECT_EQ(planned_kv({"--max-num-seqs", "16"}), 16 * alone);
  EXPECT_LE(planned_kv({"--max-num-seqs", "16", "--kv-cache-memory-bytes", two}), 2 * alone);
  EXPECT_GT(planned_kv({"--max-num-seqs", "16", "--kv-cache-memory-bytes", two}), alone);
  // Less than the model's context takes: auto lowers that, what was asked for does not fit.
  const std::vector<std::string> half = {"--kv-cache-memory-bytes", cat(alone / 2)};
  EXPECT_LE(planned_kv(half), alone / 2);
  EXPECT_GT(planned_kv(half), alone / 4);
  const std::string context =
      cat(parsed(run_quern({"plan", "demo", "--json"}).out)["max_model_len"].get<int64_t>());
  expect_failure({"run", "demo", "x", "--max-model-len", context, half[0], half[1]}, 6,
                 "does_not_fit", "--kv-cache-memory-bytes");
  const Json plan = parsed(
      run_quern({"plan", "demo", "--max-model-len", context, half[0], half[1], "--json"}).out);
  EXPECT_EQ(plan["fits"], false);
  EXPECT_LT(plan["max_context_that_fits"].get<int64_t>(), plan["max_model_len"].get<int64_t>());

  std::string lines;
  for (int i = 0; i < 12; ++i) {
    lines += cat(R"({"prompt":"Once upon a time number )", i,
                 R"(","max_tokens":300,"ignore_eos":true,"seed":)", i, "}\n");
  }
  const auto texts = [&](const std::vector<std::string>& words) {
    Json all = Json::array();
    for (const Json& answer : parsed_lines(answers(words, lines)))
      all.push_back(answer["token_ids"]);
    return all;
  };
  const Json roomy = texts({"--max-num-seqs", "12"});
  EXPECT_EQ(roomy.size(), 12u);
  EXPECT_EQ(roomy, texts({"--max-num-seqs", "12", "--kv-cache-memory-bytes", two}));
}

TEST(Cli, ShowPlanAndTemplateAnswerInTheirShape) {
  const Json show = parsed(run_quern({"show", "demo", "--json"}).out);
  EXPECT_EQ(show["format"], "gguf");
  EXPECT_EQ(show["architecture"], "LlamaForCausalLM");
  EXPECT_EQ(show["supported"], true);
  EXPECT_EQ(show["chat_template"], true);
  EXPECT_TRUE(show["dtypes"].contains("q8_0"));
  const Json program = parsed(run_quern({"show", "demo", "--program", "--json"}).out);
  EXPECT_EQ(keys(program["steps"][0]), (std::set<std::string>{"kind", "name", "inputs", "outputs",
                                                              "weights", "flops", "bytes"}));
  const Json plan = parsed(run_quern({"plan", "demo", "--json"}).out);
  EXPECT_EQ(plan["fits"], true);
  EXPECT_EQ(plan["bytes"]["total"].get<int64_t>(),
            plan["bytes"]["weights"].get<int64_t>() + plan["bytes"]["kv"].get<int64_t>() +
                plan["bytes"]["work"].get<int64_t>() + plan["bytes"]["other"].get<int64_t>());
  EXPECT_EQ(run_quern({"plan", "demo", "--memory-limit", "1M"}).status, 0);

  const auto path = std::filesystem::temp_directory_path() / "quern_cli_test_messages.json";
  std::ofstream(path) << R"([{"role":"user","content":"Hi"}])";
  const ProcessResult rendered = run_quern({"template", "demo", "--messages", path.string()});
  EXPECT_EQ(rendered.status, 0) << rendered.err;
  EXPECT_NE(rendered.out.find("Hi"), std::string::npos);
  std::filesystem::remove(path);
}

TEST(Cli, PerplexityOfAStoryIsFarBelowThatOfNoise) {
  const auto perplexity_of = [](const std::string& text) {
    const ProcessResult result = run_quern({"perplexity", "demo", "-", "--json"}, text);
    EXPECT_EQ(result.status, 0) << result.err;
    return parsed(result.out)["perplexity"].get<double>();
  };
  const double story = perplexity_of(run_quern({"demo"}).out);
  EXPECT_LT(story, 20);
  EXPECT_GT(perplexity_of("qzx 81 wvk%%$ jjq pqpq zxw 0o0o ~~"), 10 * story);
}

TEST(Cli, BenchModelRefusesABatchThatDoesNotRunTogether) {
  const Json plan = parsed(
      run_quern({"plan", "demo", "--max-model-len", "64", "--max-num-seqs", "1", "--json"}).out);
  const std::string one = cat(plan["bytes"]["kv"].get<int64_t>());
  expect_failure({"bench", "model", "-m", "demo", "-p", "0", "-n", "40", "--batches", "8", "-r",
                  "1", "--kv-cache-memory-bytes", one},
                 6, "does_not_fit", "tg40 x8");
}

TEST(Cli, BenchModelGivesOneArrayWithTheKeysOfLlamaBench) {
  const ProcessResult result =
      run_quern({"bench", "model", "-m", "demo", "-p", "16", "-n", "4", "-r", "2", "-o", "json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json rows = parsed(result.out);
  ASSERT_EQ(rows.size(), 2u);
  for (const char* key : {"model_filename", "n_prompt", "n_gen", "n_depth", "avg_ts", "stddev_ts",
                          "samples_ns", "samples_ts", "batch", "executor", "isa", "dtype",
                          "kv_cache_dtype", "share_of_ceiling", "cpu_info", "n_threads"}) {
    EXPECT_TRUE(rows[0].contains(key)) << key;
  }
  EXPECT_EQ(rows[0]["samples_ts"].size(), 2u);
  const Json object = parsed(
      run_quern({"bench", "model", "-m", "demo", "-p", "8", "-n", "0", "-r", "1", "--json"}).out);
  EXPECT_EQ(object["schema"], 1);
  EXPECT_EQ(object["rows"].size(), 1u);
}

TEST(Readme, ItsCommandsRun) {
  std::ifstream readme(std::string(QUERN_SOURCE_DIR) + "/README.md");
  int ran = 0;
  for (std::string line; std::getline(readme, line);) {
    const std::string binary = "build/release/quern";
    if (!line.starts_with("$ ") || line.find(binary) == std::string::npos) continue;
    const std::string real = "models/real/smollm2.gguf";
    if (line.find(real) != std::string::npos &&
        !std::filesystem::exists(repository_model("real/smollm2.gguf"))) {
      std::printf("skipped, ./dev model smollm2 has not been run: %s\n", line.c_str());
      continue;
    }
    std::string command = line.substr(2);
    for (size_t at = command.find(binary); at != std::string::npos;) {
      command.replace(at, binary.size(), std::string(QUERN_BINARY_DIR) + "/quern");
      at = command.find(binary, at + std::string(QUERN_BINARY_DIR).size());
    }
    const ProcessResult result =
        run_process({"/bin/sh", "-c", "cd '" + std::string(QUERN_SOURCE_DIR) + "' && " + command});
    EXPECT_EQ(result.status, 0) << line << "\n" << result.err;
    EXPECT_FALSE(result.out.empty()) << line;
    ++ran;
  }
  EXPECT_GE(ran, 5);
}

}  // namespace
}  // namespace quern
