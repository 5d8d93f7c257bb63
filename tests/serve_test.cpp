// The contract of `quern serve`, from outside: the ready line, signals, and that it answers as
// `quern run --prompts` does.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <thread>

#include "base/cat.h"
#include "base/file.h"
#include "base/json.h"
#include "net/http_client.h"
#include "process.h"

namespace quern {
namespace {

constexpr uint64_t kMostBytes = 16 << 20;

/// A server of its own process, on a free port.
class ServeProcess {
 public:
  explicit ServeProcess(std::vector<std::string> words) {
    words.insert(words.begin(), {cat(QUERN_BINARY_DIR, "/quern"), "serve"});
    words.insert(words.end(), {"--port", "0", "--threads", "1"});
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::close(ends[0]);
      ::close(ends[1]);
      std::vector<char*> arguments;
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    out_ = ::fdopen(ends[0], "r");
    std::string line;
    for (int c = std::fgetc(out_); c != EOF && c != '\n'; c = std::fgetc(out_)) {
      line += static_cast<char>(c);
    }
    const auto object = parse_json(line, "ready line");
    EXPECT_TRUE(object) << line;
    if (object) ready = *object;
  }
  ~ServeProcess() {
    if (pid_ > 0) end(SIGKILL);
    std::fclose(out_);
  }

  void signal(int number) { ::kill(pid_, number); }
  /// Its exit status, or 128 and the signal it died of.
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  int end(int number) {
    signal(number);
    return wait();
  }
  Url url() const { return *parse_url(ready["url"].get<std::string>()); }
  Result<HttpAnswer> ask(std::string method, std::string path, std::string body = {}) const {
    return fetch_http(
        url(), {.method = std::move(method), .path = std::move(path), .body = std::move(body)},
        kMostBytes);
  }

  Json ready;

 private:
  pid_t pid_ = -1;
  std::FILE* out_ = nullptr;
};

TEST(Serve, SaysWhenItIsReadyAndWhere) {
  const std::string file = std::filesystem::temp_directory_path() / cat("quern-ready-", ::getpid());
  ServeProcess server({"--ready-file", file, "--served-model-name", "fox"});
  EXPECT_EQ(server.ready["schema"], 1);
  EXPECT_EQ(server.ready["event"], "ready");
  EXPECT_EQ(server.ready["model"], "fox");
  for (const char* key : {"max_model_len", "kv_tokens", "pid"}) {
    EXPECT_TRUE(server.ready[key].is_number_integer()) << key;
  }
  // The line comes first; the file is there once requests are answered after it.
  const auto models = server.ask("GET", "/v1/models");
  ASSERT_TRUE(models);
  EXPECT_NE(models->body.find(R"("id":"fox")"), std::string::npos);
  EXPECT_EQ(server.end(SIGTERM), 0);
  const Result<std::string> text = read_file(file, 1000);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, server.ready["url"].get<std::string>() + "\n");
  std::filesystem::remove(file);
}

TEST(Serve, AnswersAsRunPromptsDoes) {
  ServeProcess server({"demo"});
  const std::vector<Json> bodies = {
      {{"prompt", "Once upon a time"}, {"max_tokens", 12}, {"seed", 3}, {"logprobs", 2}},
      {{"prompt", "The fox"}, {"max_tokens", 12}, {"temperature", 0}, {"logprobs", 0}},
      {{"prompt", "A kite"},
       {"max_tokens", 9},
       {"seed", 9},
       {"logprobs", 1},
       {"repetition_penalty", 1.2},
       {"top_p", 0.8},
       {"stop", "the"}}};
  std::string lines;
  for (const Json& body : bodies) lines += dump_json(body) + "\n";
  const ProcessResult run = run_quern({"run", "demo", "--prompts", "-"}, lines);
  ASSERT_EQ(run.status, 0) << run.err;
  std::istringstream answers(run.out);
  for (const Json& body : bodies) {
    std::string line;
    std::getline(answers, line);
    const Json alone = *parse_json(line, "answer");
    Json asked = body;
    asked["return_token_ids"] = true;
    const auto served = server.ask("POST", "/v1/completions", dump_json(asked));
    ASSERT_TRUE(served);
    ASSERT_EQ(served->status, 200) << served->body;
    const Json choice = (*parse_json(served->body, "answer"))["choices"][0];
    EXPECT_EQ(choice["token_ids"], alone["token_ids"]);
    EXPECT_EQ(choice["text"], alone["text"]);
    EXPECT_EQ(choice["finish_reason"], alone["finish_reason"]);
    Json logprobs = Json::array();
    for (const Json& token : alone["logprobs"]) logprobs.push_back(token["logprob"]);
    EXPECT_EQ(choice["logprobs"]["token_logprobs"], logprobs);
  }
  EXPECT_EQ(server.end(SIGINT), 0);
}

TEST(Serve, BoundsTokensPromisedAndTheCacheOfAKey) {
  ServeProcess server(
      {"demo", "--max-model-len", "1024", "--max-live-tokens", "1024", "--max-cached-share", "0"});
  std::string story = "Once upon a time";
  for (int i = 0; i < 60; ++i) story += " fox";
  const auto ask = [&](int max_tokens) {
    return server.ask(
        "POST", "/v1/completions",
        dump_json({{"prompt", story}, {"max_tokens", max_tokens}, {"ignore_eos", true}}));
  };
  for (int i = 0; i < 2; ++i) {
    const auto fits = ask(2);
    ASSERT_TRUE(fits && fits->status == 200) << (fits ? fits->body : fits.error().message);
    const Json usage = (*parse_json(fits->body, "answer"))["usage"];
    EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 0);
  }
  // While one runs that has nearly all of the tokens, another is refused.
  std::atomic<bool> over = false;
  std::thread longest([&] {
    auto answer = ask(900);
    while (answer && answer->status == 503) answer = ask(900);  // the other one was there first
    EXPECT_TRUE(answer && answer->status == 200) << (answer ? answer->body : "no answer");
    over = true;
  });
  bool refused = false;
  while (!refused && !over) {
    const auto answer = ask(200);
    refused = answer && answer->status == 503;
    EXPECT_TRUE(!refused || answer->body.find("tokens") != std::string::npos) << answer->body;
  }
  longest.join();
  EXPECT_TRUE(refused);
  EXPECT_EQ(server.end(SIGTERM), 0);
}

TEST(Serve, ASecondSignalEndsItAtOnce) {
  ServeProcess server({"demo"});
  // Something that would take long to drain.
  EventLoop loop;
  HttpClient client(loop, server.url());
  struct FirstBytes final : HttpListener {
    explicit FirstBytes(EventLoop& its_loop) : loop(its_loop) {}
    void on_body(std::string_view, int64_t) override { loop.stop(); }
    void on_end(Result<void>, int64_t) override { loop.stop(); }
    EventLoop& loop;
  } heard(loop);
  client.start({.method = "POST",
                .path = "/v1/completions",
                .body = R"({"prompt":"Once","max_tokens":1000,"n":64,"ignore_eos":true,)"
                        R"("stream":true})"},
               heard);
  loop.run();
  server.signal(SIGTERM);
  // It drains: probes say so, and new work is refused.
  Result<HttpAnswer> ready = server.ask("GET", "/readyz");
  while (ready && ready->status == 200) ready = server.ask("GET", "/readyz");
  ASSERT_TRUE(ready) << ready.error().message;
  EXPECT_EQ(ready->status, 503);
  EXPECT_EQ(server.ask("GET", "/livez")->status, 200);
  EXPECT_EQ(server.ask("POST", "/v1/completions", R"({"prompt":"x"})")->status, 503);
  EXPECT_EQ(server.end(SIGTERM), 143);
}

TEST(Serve, WhatKeepsItFromStartingIsSaid) {
  ServeProcess first({"demo"});
  const std::string port = cat(first.url().port);
  const struct {
    std::vector<std::string> words;
    int status;
    std::string named;
  } cases[] = {
      {{"serve", "demo", "--port", port}, 9, port},
      {{"serve", "/nowhere", "--port", "0"}, 3, "/nowhere"},
      {{"serve", "demo", "--port", "70000"}, 2, "--port"},
      {{"serve", "demo", "--port", "0", "--api-key", "two words"}, 2, "--api-key"},
      {{"serve", "demo", "--port", "0", "--api-key-file", "/nowhere"}, 3, "/nowhere"},
      {{"serve", "demo", "--port", "0", "--ssl-certfile", "/nowhere"}, 2, "--ssl-certfile"},
      {{"serve", "demo", "--port", "0", "--ssl-certfile", "/nowhere", "--ssl-keyfile", "/nowhere"},
       3,
       "/nowhere"},
      {{"serve", "demo", "--port", "0", "--max-model-len", "100000"}, 6, "--max-model-len"},
      {{"serve", "demo", "--port", "0", "--max-live-tokens", "100"}, 2, "--max-live-tokens"},
      {{"serve", "demo", "--host", "no.such.host.invalid"}, 9, "no.such.host.invalid"},
  };
  for (const auto& wrong : cases) {
    const ProcessResult result = run_quern(wrong.words);
    EXPECT_EQ(result.status, wrong.status) << wrong.named << result.err;
    EXPECT_TRUE(result.last_error_line().starts_with("error: ")) << result.err;
    EXPECT_NE(result.last_error_line().find(wrong.named), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "") << wrong.named;
  }
}

}  // namespace
}  // namespace quern
