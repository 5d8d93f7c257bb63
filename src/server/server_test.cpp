// The server with the demo model, over real sockets of this machine.

#include "server/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/cat.h"
#include "net/http_client.h"
#include "net/sse_reader.h"
#include "server/api_request.h"
#include "server/routes.h"

namespace quern {
namespace {

constexpr uint64_t kMostBytes = 64 << 20;

/// A server that answers with the demo model on a thread of its own.
class Serving {
 public:
  explicit Serving(ServerOptions options = {}, int64_t max_num_seqs = 4) {
    auto opened = open_model(QUERN_SOURCE_DIR "/models/demo/model-q8_0.gguf", {});
    ENSURE(opened.has_value(), opened ? "" : opened.error().message);
    model_ = std::make_unique<Model>(*std::move(opened));
    RunOptions run;
    run.exec.threads = 1;
    run.max_model_len = 512;
    run.max_num_seqs = max_num_seqs;
    run.extra_wanted_rows = 32;
    run.max_step_stretch = 1.4;
    run.seed = 1;
    options.served_model_name = "demo";
    auto listening = Server::listen(std::move(options));
    ENSURE(listening.has_value(), listening ? "" : listening.error().message);
    server_ = *std::move(listening);
    run.exec.trace = &server_->trace();
    auto loaded = Llm::load(*model_, run);
    ENSURE(loaded.has_value(), loaded ? "" : loaded.error().message);
    llm_ = *std::move(loaded);
    std::atomic<bool> ready = false;
    thread_ = std::thread([this, &ready] {
      server_->serve(
          *model_, *llm_, [this] { return stopping_.load(); },
          [&](const std::string&) { ready = true; }, 10'000);
    });
    while (!ready) std::this_thread::yield();
  }
  ~Serving() { stop(); }

  void stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  Url url() const { return *parse_url(server_->url()); }
  Llm& llm() { return *llm_; }

  Result<HttpAnswer> ask(std::string method, std::string path, std::string body = {},
                         std::vector<std::pair<std::string, std::string>> headers = {}) {
    return fetch_http(url(),
                      {.method = std::move(method),
                       .path = std::move(path),
                       .headers = std::move(headers),
                       .body = std::move(body)},
                      kMostBytes);
  }
  Json ask_json(std::string path, const Json& body) {
    const auto answer = ask("POST", std::move(path), dump_json(body));
    EXPECT_TRUE(answer) << (answer ? "" : answer.error().message);
    return answer ? *parse_json(answer->body, "answer") : Json();
  }
  /// The events of a stream, [DONE] included.
  std::vector<std::string> stream(std::string path, Json body) {
    body["stream"] = true;
    const auto answer = ask("POST", std::move(path), dump_json(body));
    std::vector<std::string> events;
    EXPECT_TRUE(answer) << (answer ? "" : answer.error().message);
    if (!answer) return events;
    EXPECT_EQ(answer->status, 200) << answer->body;
    SseReader reader(kMostBytes);
    EXPECT_TRUE(
        reader.feed(answer->body, [&](std::string_view data) { events.emplace_back(data); }));
    return events;
  }

 private:
  std::unique_ptr<Model> model_;
  std::unique_ptr<Llm> llm_;
  std::unique_ptr<Server> server_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

/// One block of a script.
struct Exchange {
  std::string method, path, body;
  int status = 0;
  std::vector<std::string> wanted;
};

std::vector<Exchange> read_script(const std::string& name) {
  std::ifstream file(cat(QUERN_SOURCE_DIR, "/src/server/testdata/", name));
  std::vector<Exchange> exchanges;
  Exchange now;
  enum { kRequest, kBody, kStatus, kFragments } part = kRequest;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("====")) {
      exchanges.push_back(std::exchange(now, {}));
      part = kRequest;
    } else if (part == kRequest) {
      if (line.empty() || line.starts_with('#')) continue;
      now.method = line.substr(0, line.find(' '));
      now.path = line.substr(line.find(' ') + 1);
      part = kBody;
    } else if (line.starts_with("----")) {
      part = kStatus;
    } else if (part == kBody) {
      now.body += line;
    } else if (part == kStatus) {
      now.status = std::atoi(line.c_str());
      part = kFragments;
    } else {
      now.wanted.push_back(line);
    }
  }
  exchanges.push_back(std::move(now));
  return exchanges;
}

void run_script(const std::string& name) {
  Serving serving;
  const std::vector<Exchange> exchanges = read_script(name);
  EXPECT_GT(exchanges.size(), 10u) << name;
  for (const Exchange& exchange : exchanges) {
    const auto answer = serving.ask(exchange.method, exchange.path, exchange.body);
    const std::string where =
        cat(exchange.method, " ", exchange.path, " ", exchange.body.substr(0, 200));
    ASSERT_TRUE(answer) << where << ": " << answer.error().message;
    EXPECT_EQ(answer->status, exchange.status) << where << "\n" << answer->body;
    for (const std::string& fragment : exchange.wanted) {
      const bool is_there = answer->body.find(fragment) != std::string::npos;
      EXPECT_TRUE(is_there) << where << "\nhas no " << fragment << "\n"
                            << answer->body.substr(0, 2000);
    }
    if (answer->status < 400 || exchange.method == "HEAD") continue;
    // Every error has the one shape.
    const auto object = parse_json(answer->body, "answer");
    ASSERT_TRUE(object) << answer->body;
    for (const char* key : {"message", "type", "param", "code"}) {
      EXPECT_TRUE((*object)["error"].contains(key)) << answer->body;
    }
  }
}

TEST(Server, AnswersOnEveryRoute) { run_script("routes.http"); }
TEST(Server, TakesAndRefusesFieldsByName) { run_script("generate.http"); }

TEST(Server, EveryRefusedFieldIsRefusedByName) {
  Serving serving;
  for (const ApiField& field : api_fields()) {
    if (field.status != ApiField::Status::kRefused) continue;
    for (const auto& [route, path] : {std::pair{kChatRoute, "/v1/chat/completions"},
                                      std::pair{kCompletionsRoute, "/v1/completions"}}) {
      if ((field.routes & route) == 0) continue;
      Json body = {{"max_tokens", 1}};
      if (route == kChatRoute) {
        body["messages"] = Json::array({{{"role", "user"}, {"content", "Hi"}}});
      } else {
        body["prompt"] = "Hi";
      }
      body[std::string(field.name)] = "x";
      const Json answer = serving.ask_json(path, body);
      ASSERT_TRUE(answer.contains("error")) << field.name;
      EXPECT_EQ(answer["error"]["param"], field.name);
      EXPECT_EQ(answer["error"]["type"], "invalid_request_error");
    }
  }
}

TEST(Server, ApiFieldsAreSortedAndUniqueOnEachRoute) {
  const auto fields = api_fields();
  for (size_t i = 1; i < fields.size(); ++i) {
    EXPECT_LE(fields[i - 1].name, fields[i].name);
    if (fields[i - 1].name == fields[i].name) {
      EXPECT_EQ(fields[i - 1].routes & fields[i].routes, 0u) << fields[i].name;
    }
  }
  for (const ApiField& field : fields) {
    if (field.status != ApiField::Status::kRefused) (void)field.its_shape().json_schema();
  }
}

TEST(Server, AStreamSaysWhatTheWholeAnswerSays) {
  Serving serving;
  const Json chat = {
      {"messages", Json::array({{{"role", "user"}, {"content", "Tell me a story."}}})},
      {"max_tokens", 40},
      {"seed", 5},
      {"n", 2},
      {"logprobs", true},
      {"top_logprobs", 2},
      {"stop", Json::array({"the end of everything"})},
      {"return_token_ids", true}};
  const Json whole = serving.ask_json("/v1/chat/completions", chat);
  Json streamed = chat;
  streamed["stream_options"] = {{"include_usage", true}};
  const std::vector<std::string> events = serving.stream("/v1/chat/completions", streamed);
  ASSERT_GT(events.size(), 10u);
  EXPECT_EQ(events.back(), "[DONE]");

  std::vector<std::string> texts(2);
  std::vector<int> roles(2), ends(2);
  std::vector<Json> logprobs(2, Json::array()), ids(2, Json::array());
  std::vector<Json> reasons(2);
  for (size_t i = 0; i + 2 < events.size(); ++i) {
    const Json chunk = *parse_json(events[i], "chunk");
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_TRUE(chunk["usage"].is_null());
    ASSERT_EQ(chunk["choices"].size(), 1u);
    const Json& choice = chunk["choices"][0];
    const auto c = choice["index"].get<size_t>();
    EXPECT_EQ(ends[c], 0) << "a chunk after the last";
    if (choice["delta"].contains("role")) {
      ++roles[c];
      EXPECT_TRUE(texts[c].empty());
    }
    if (choice["delta"].contains("content"))
      texts[c] += choice["delta"]["content"].get<std::string>();
    if (!choice["logprobs"].is_null()) {
      for (const Json& token : choice["logprobs"]["content"]) logprobs[c].push_back(token);
    }
    if (choice.contains("token_ids")) {
      for (const Json& id : choice["token_ids"]) ids[c].push_back(id);
    }
    if (!choice["finish_reason"].is_null()) {
      ++ends[c];
      reasons[c] = choice["finish_reason"];
    }
  }
  const Json usage = *parse_json(events[events.size() - 2], "chunk");
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
  EXPECT_EQ(usage["usage"]["prompt_tokens"], whole["usage"]["prompt_tokens"]);
  for (size_t c = 0; c < 2; ++c) {
    const Json& choice = whole["choices"][c];
    EXPECT_EQ(texts[c], choice["message"]["content"].get<std::string>());
    EXPECT_EQ(roles[c], 1);
    EXPECT_EQ(ends[c], 1);
    EXPECT_EQ(reasons[c], choice["finish_reason"]);
    EXPECT_EQ(logprobs[c], choice["logprobs"]["content"]);
    EXPECT_EQ(ids[c], choice["token_ids"]);
  }
  EXPECT_NE(texts[0], texts[1]) << "two choices drew the same";
}

TEST(Server, AnAnswerInCompanyIsTheAnswerAlone) {
  Serving serving;
  const auto body = [](int i) {
    return Json{{"prompt", cat("Once upon a time number ", i % 5)},
                {"max_tokens", 20},
                {"seed", i},
                {"logprobs", 1},
                {"return_token_ids", true}};
  };
  std::vector<Json> alone;
  for (int i = 0; i < 24; ++i) alone.push_back(serving.ask_json("/v1/completions", body(i)));
  std::vector<std::thread> clients;
  std::atomic<int> different = 0;
  for (int t = 0; t < 8; ++t) {
    clients.emplace_back([&, t] {
      for (int i = t; i < 24; i += 8) {
        const Json together = serving.ask_json("/v1/completions", body(i));
        if (together["choices"] != alone[static_cast<size_t>(i)]["choices"]) ++different;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(different, 0);
}

TEST(Server, AStopStringIsLeftOutOrKeptAsAsked) {
  Serving serving;
  Json body = {{"prompt", "Once upon a time"}, {"max_tokens", 60}, {"temperature", 0}};
  const std::string text = serving.ask_json("/v1/completions", body)["choices"][0]["text"];
  ASSERT_GT(text.size(), 30u);
  const std::string stop = text.substr(17, 6);
  body["stop"] = stop;
  const std::string before = text.substr(0, text.find(stop));
  const Json stopped = serving.ask_json("/v1/completions", body)["choices"][0];
  EXPECT_EQ(stopped["text"], before);
  EXPECT_EQ(stopped["finish_reason"], "stop");
  EXPECT_EQ(stopped["stop_reason"], stop);
  body["include_stop_str_in_output"] = true;
  EXPECT_EQ(serving.ask_json("/v1/completions", body)["choices"][0]["text"], before + stop);
  std::string streamed;
  for (const std::string& event : serving.stream("/v1/completions", body)) {
    if (event == "[DONE]") break;
    streamed += (*parse_json(event, "chunk"))["choices"][0]["text"].get<std::string>();
  }
  EXPECT_EQ(streamed, before + stop);
}

TEST(Server, AnAnswerSaysWhyItsPromptFoundNoMoreInTheCache) {
  Serving serving({.api_keys = {"one", "other"}});
  const auto timings = [&](const std::string& key, const std::vector<int32_t>& prompt) -> Json {
    const Json body = {{"prompt", prompt}, {"max_tokens", 1}};
    const auto answer =
        serving.ask("POST", "/v1/completions", dump_json(body), {{"x-api-key", key}});
    EXPECT_TRUE(answer);
    return answer ? (*parse_json(answer->body, "answer"))["timings"] : Json();
  };
  std::vector<int32_t> prompt(100, 7);
  EXPECT_EQ(timings("one", prompt)["cache_miss"], "diverged");
  const Json again = timings("one", prompt);
  EXPECT_EQ(again["cache_n"], 96);
  EXPECT_EQ(again["cache_miss"], "block_boundary");
  EXPECT_TRUE(again["cache_diverged_at"].is_null());
  // Of another key's prompts nobody hears.
  const Json elsewhere = timings("other", prompt);
  EXPECT_EQ(elsewhere["cache_n"], 0);
  EXPECT_EQ(elsewhere["cache_miss"], "diverged");
  EXPECT_EQ(elsewhere["cache_diverged_at"], 0);
  prompt[40] = 8;
  const Json changed = timings("one", prompt);
  EXPECT_EQ(changed["cache_n"], 32);
  EXPECT_EQ(changed["cache_miss"], "diverged");
  EXPECT_EQ(changed["cache_diverged_at"], 40);
}

TEST(Server, AStreamSaysHowFarItsPromptIsAndHowFastItGoes) {
  Serving serving;
  std::string words;
  for (int i = 0; i < 150; ++i) words += " fox";
  const Json body = {{"prompt", words},
                     {"max_tokens", 6},
                     {"ignore_eos", true},
                     {"return_progress", true},
                     {"timings_per_token", true}};
  for (const std::string_view path : {"/v1/completions", "/v1/chat/completions"}) {
    const bool chat = path == "/v1/chat/completions";
    Json asked = body;
    if (chat) {
      asked.erase("prompt");
      asked["messages"] = {{{"role", "user"}, {"content", words}}};
    }
    int64_t processed = -1, total = 0, written = 0, roles = 0;
    for (const std::string& event : serving.stream(std::string(path), asked)) {
      if (event == "[DONE]") break;
      const Json chunk = *parse_json(event, "event");
      const Json& choice = chunk["choices"][0];
      roles += chat && choice["delta"].contains("role");
      if (chunk.contains("prompt_progress")) {
        const Json& progress = chunk["prompt_progress"];
        EXPECT_EQ(written, 0);
        EXPECT_GT(progress["processed"].get<int64_t>(), processed);
        EXPECT_TRUE(processed >= 0 || progress["processed"] == progress["cache"]);
        processed = progress["processed"].get<int64_t>();
        total = progress["total"].get<int64_t>();
        EXPECT_GE(progress["time_ms"].get<double>(), 0);
        continue;
      }
      const Json& timings = chunk["timings"];
      EXPECT_GE(timings["predicted_n"].get<int64_t>(), written);
      EXPECT_GT(timings["prompt_ms"].get<double>(), 0);
      written = timings["predicted_n"].get<int64_t>();
      EXPECT_EQ(timings["prompt_n"].get<int64_t>() + timings["cache_n"].get<int64_t>(), total);
    }
    EXPECT_GE(total, 150);
    EXPECT_EQ(processed, total);
    EXPECT_EQ(written, 6);
    EXPECT_EQ(roles, chat ? 1 : 0);
  }
}

TEST(Server, ASecondEqualPromptIsCached) {
  Serving serving;
  std::string prompt;
  for (int i = 0; i < 30; ++i) prompt += "Once upon a time there was a fox. ";
  const Json body = {{"prompt", prompt}, {"max_tokens", 2}, {"temperature", 0}};
  const auto cached = [&](const Json& one) {
    return serving
        .ask_json("/v1/completions", one)["usage"]["prompt_tokens_details"]["cached_tokens"]
        .get<int64_t>();
  };
  EXPECT_EQ(cached(body), 0);
  EXPECT_GT(cached(body), 200);
  Json apart = body;
  apart["cache_prompt"] = false;
  EXPECT_EQ(cached(apart), 0);
  apart = body;
  apart["cache_salt"] = "other";
  EXPECT_EQ(cached(apart), 0);
  EXPECT_TRUE(serving.ask("POST", "/reset_prefix_cache"));
  EXPECT_EQ(cached(body), 0);
}

TEST(Server, TheKeyGuardsEveryRouteButTheProbes) {
  Serving serving({.api_keys = {"first-key", "second-key"}});
  for (const Route& route : routes()) {
    std::string path(route.path);
    if (const size_t at = path.find("{id}"); at != std::string::npos) path.replace(at, 4, "x");
    for (const auto& headers : std::vector<std::vector<std::pair<std::string, std::string>>>{
             {},
             {{"authorization", "Bearer wrong"}},
             {{"authorization", "Bearer "}},
             {{"authorization", "first-key"}},
             {{"authorization", "Bearer first-keyfirst-key"}},
             {{"x-api-key", "first-ke"}}}) {
      const auto answer =
          serving.ask(std::string(route.method), path, route.method == "POST" ? "{}" : "", headers);
      ASSERT_TRUE(answer);
      if (route.access == Route::Access::kOpen) {
        EXPECT_EQ(answer->status, 200) << path;
      } else {
        EXPECT_EQ(answer->status, 401) << path;
      }
    }
  }
  EXPECT_EQ(serving.ask("GET", "/nowhere")->status, 401);
  EXPECT_EQ(serving.ask("GET", "/v1/models", "", {{"authorization", "Bearer second-key"}})->status,
            200);
  EXPECT_EQ(serving.ask("GET", "/v1/models", "", {{"x-api-key", "first-key"}})->status, 200);
}

TEST(Server, ARequestsAccountSumsToItsWholeTime) {
  Serving serving;
  // The request's id comes in a header, which fetch_http does not keep: it is that of the answer.
  const Json answer = serving.ask_json(
      "/v1/completions", {{"prompt", "Once upon a time"}, {"max_tokens", 50}, {"temperature", 0}});
  const std::string id = answer["id"].get<std::string>().substr(5);
  const auto found = serving.ask("GET", cat("/v1/requests/", id, "/account"));
  ASSERT_TRUE(found);
  ASSERT_EQ(found->status, 200) << found->body;
  const Json account = *parse_json(found->body, "account");
  // A part of microseconds would not be missed in the sum.
  for (const char* part :
       {"receive_ms", "wait_ms", "parse_ms", "template_ms", "tokenise_ms", "queue_ms",
        "cache_lookup_ms", "prefill_own_ms", "others_ms", "decode_ms", "sampling_ms", "write_ms"}) {
    EXPECT_TRUE(account["parts"].contains(part)) << part;
  }
  double sum = 0;
  for (const auto& [name, ms] : account["parts"].items()) {
    EXPECT_GE(ms.get<double>(), 0) << name;
    sum += ms.get<double>();
  }
  const double total = account["total_ms"];
  EXPECT_GT(total, 0);
  EXPECT_NEAR(sum, total, 0.02 * total) << found->body;
}

/// Hears a stream up to some events and then leaves.
class Leaver final : public HttpListener {
 public:
  Leaver(EventLoop& loop, int events) : loop_(loop), left_(events) {}
  void on_body(std::string_view bytes, int64_t) override {
    for (const char c : bytes) left_ -= c == '{' ? 1 : 0;
    if (left_ <= 0) loop_.stop();
  }
  void on_end(Result<void>, int64_t) override { loop_.stop(); }

 private:
  EventLoop& loop_;
  int left_;
};

TEST(Server, AClientThatLeavesFreesItsBlocks) {
  Serving serving;
  for (int events = 0; events < 12; ++events) {
    EventLoop loop;
    HttpClient client(loop, serving.url());
    Leaver leaver(loop, events);
    client.start({.method = "POST",
                  .path = "/v1/completions",
                  .body = R"({"prompt":"Once","max_tokens":400,"ignore_eos":true,"stream":true})"},
                 leaver);
    loop.run();
  }
  while (!serving.llm().engine().idle()) std::this_thread::yield();
  EXPECT_EQ(serving.ask("GET", "/load")->body, R"({"server_load":0})");
  const EngineSnapshot snapshot = serving.llm().engine().snapshot();
  for (const KvGroupCounts& group : snapshot.kv_groups) EXPECT_EQ(group.held(), 0);
  EXPECT_EQ(snapshot.live_requests, 0);
  EXPECT_EQ(snapshot.reserved_tokens, 0);
}

TEST(Server, MoreThanTheQueueHoldsIsRefusedAtOnce) {
  Serving serving({.max_queue = 2}, 1);
  std::vector<std::thread> clients;
  std::atomic<int> done = 0, refused = 0, other = 0;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back([&] {
      const auto answer = serving.ask("POST", "/v1/completions",
                                      R"({"prompt":"Once","max_tokens":200,"ignore_eos":true})");
      ++(answer && answer->status == 200   ? done
         : answer && answer->status == 503 ? refused
                                           : other);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(other, 0);
  EXPECT_GE(done, 3);
  EXPECT_GT(refused, 0);
}

TEST(Server, BeforeItHasAModelItIsAliveAndNotReady) {
  auto server = Server::listen({.served_model_name = "m"});
  ASSERT_TRUE(server);
  const Url url = *parse_url((*server)->url());
  const auto status = [&](const char* method, const char* path) {
    const auto answer = fetch_http(url, {.method = method, .path = path}, kMostBytes);
    return answer ? answer->status : 0;
  };
  EXPECT_EQ(status("GET", "/livez"), 200);
  EXPECT_EQ(status("GET", "/health"), 503);
  EXPECT_EQ(status("GET", "/readyz"), 503);
  EXPECT_EQ(status("POST", "/v1/completions"), 503);
  EXPECT_EQ(status("GET", "/metrics"), 200);
  const auto models = fetch_http(url, {.path = "/v1/models"}, kMostBytes);
  ASSERT_TRUE(models);
  EXPECT_EQ(models->body, R"({"object":"list","data":[]})");
}

TEST(Server, WhenItStopsWhatRunsEnds) {
  Serving serving;
  std::vector<std::string> events;
  std::thread client([&] {
    events = serving.stream("/v1/completions",
                            {{"prompt", "Once"}, {"max_tokens", 300}, {"ignore_eos", true}});
  });
  while (serving.llm().engine().idle()) std::this_thread::yield();
  serving.stop();
  client.join();
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back(), "[DONE]");
}

}  // namespace
}  // namespace quern
