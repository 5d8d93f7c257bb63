// A server with an answer made up, whose times of sending are known: what the load generator is
// measured against.
#pragma once

#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/cat.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/json.h"
#include "net/http_server.h"
#include "net/test_certificate.h"

namespace quern {

/// What the server does with a request; its prompt is the name of the script.
struct FakeAnswer {
  int64_t first_token_ms = 0;
  int64_t gap_ms = 0;
  int num_tokens = 3;
  int status = 200;
  std::string body = {};  // of another status
  int64_t head_ms = 0;    // before anything is sent
  int error_after = -1;   // pieces before an error in the stream
  int cut_after = -1;     // pieces before the connection ends
  bool says_done = true;  // [DONE]
  bool gives_usage = true;
  int64_t claimed_tokens = -1;  // in usage; -1: the truth
};

/// Its other routes. Those of profiles are there only where they answer something.
struct FakeRoutes {
  std::string stop_profile = {};  // the body of its answer
  int stop_profile_status = 200;
  bool has_metrics = false;
  double ttft_claimed_less_ms = 0;  // in metrics, than the truth
  HttpServerOptions http = {.idle_timeout_ms = 600'000};
};

/// What it did with one, by the clock that the client has too.
struct FakeTimes {
  int64_t head_ns = 0;  // the request's first byte
  std::vector<int64_t> sent_ns;
};

/// A certificate for a FakeServer of https, in files that go with it.
class TestCertificate {
 public:
  TestCertificate() {
    std::filesystem::create_directories(folder_);
    ENSURE(write_test_certificate(certificate_, key_), "no certificate in ", folder_.string());
  }
  ~TestCertificate() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TestCertificate(const TestCertificate&) = delete;
  TestCertificate& operator=(const TestCertificate&) = delete;

  FakeRoutes routes() const {
    return {.http = {.certificate_file = certificate_, .key_file = key_}};
  }

 private:
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / cat("quern_fake_server_", ::getpid());
  std::string certificate_ = folder_ / "certificate.pem", key_ = folder_ / "key.pem";
};

class FakeServer final : public HttpHandler {
 public:
  explicit FakeServer(std::map<std::string, FakeAnswer> scripts, FakeRoutes routes = {})
      : scripts_(std::move(scripts)), routes_(std::move(routes)) {
    auto listening = HttpServer::listen(loop_, routes_.http, *this);
    ENSURE(listening, listening.error().message);
    server_ = *std::move(listening);
    const bool tls = !routes_.http.certificate_file.empty();
    url_ = cat(tls ? "https" : "http", "://127.0.0.1:", server_->port());
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~FakeServer() override {
    loop_.post([this] {
      server_.reset();
      loop_.stop();
    });
    thread_.join();
  }

  const std::string& url() const { return url_; }
  /// Of the request whose "user" field is that.
  FakeTimes times(const std::string& user) {
    const std::lock_guard lock(mutex_);
    return times_[user];
  }
  std::vector<Json> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  /// The paths asked for, in the order of their coming.
  std::vector<std::string> paths() {
    const std::lock_guard lock(mutex_);
    return paths_;
  }

  std::optional<HttpResponse> on_head(const HttpHead& head) override {
    {
      const std::lock_guard lock(mutex_);
      paths_.push_back(head.path);
    }
    if (head.path == "/v1/models") {
      return HttpResponse{.body = R"({"object":"list","data":[{"id":"fake-model"}]})"};
    }
    if (head.path == "/metrics") return metrics();
    if (!head.path.ends_with("_profile")) return std::nullopt;
    if (routes_.stop_profile.empty()) return HttpResponse{.status = 404, .body = "Not Found"};
    if (head.path == "/start_profile") return HttpResponse{};
    return HttpResponse{.status = routes_.stop_profile_status, .body = routes_.stop_profile};
  }
  HttpResponse on_bad_request(int status, std::string_view why) override {
    return {.status = status, .body = std::string(why)};
  }
  void on_request(HttpHead head, std::string body, std::shared_ptr<HttpReply> reply) override {
    const auto parsed = parse_json(body, "request");
    ENSURE(parsed, parsed.error().message);
    const Json& request = *parsed;
    const bool is_chat = head.path == "/v1/chat/completions";
    const std::string prompt = is_chat ? request["messages"][0]["content"].get<std::string>()
                                       : request["prompt"].get<std::string>();
    const auto script = scripts_.find(prompt);
    const auto fallback = scripts_.find("");
    ENSURE(script != scripts_.end() || fallback != scripts_.end(), "no script ", prompt);
    auto answer = std::make_shared<Answer>();
    answer->script = script != scripts_.end() ? script->second : fallback->second;
    answer->user = request.value("user", prompt);
    answer->is_chat = is_chat;
    answer->streams = request.value("stream", false);
    answer->received_ns = steady_clock().now_ns();
    answer->reply = std::move(reply);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      times_[answer->user].head_ns = head.begun_ns;
    }
    begin(answer);
  }

 private:
  struct Answer {
    FakeAnswer script;
    std::string user;
    bool is_chat = false, streams = true;
    int64_t received_ns = 0;
    std::shared_ptr<HttpReply> reply;
    int num_sent = 0;
  };

  HttpResponse metrics() const {
    if (!routes_.has_metrics) return {.status = 404};
    return {.body = cat("quern_time_to_first_token_seconds_count{model_name=\"fake\"} ",
                        num_first_tokens_,
                        "\nquern_time_to_first_token_seconds_sum{model_name=\"fake\"} ",
                        ttft_sum_s_, "\n")};
  }

  static int64_t in_ms(int64_t ms) { return steady_clock().now_ns() + ms * 1'000'000; }

  void begin(const std::shared_ptr<Answer>& answer) {
    const FakeAnswer& script = answer->script;
    if (script.status != 200) {
      return answer->reply->send({.status = script.status, .body = script.body});
    }
    if (!answer->streams) {
      const int64_t ms = script.first_token_ms + (script.num_tokens - 1) * script.gap_ms;
      return loop_.at(in_ms(ms), [this, answer] { send_whole(*answer); });
    }
    loop_.at(in_ms(script.head_ms), [this, answer] {
      answer->reply->begin(200, {{"content-type", "text/event-stream"}});
      loop_.at(in_ms(answer->script.first_token_ms), [this, answer] { send_piece(answer); });
    });
  }

  void note_send(const Answer& answer) {
    const int64_t now = steady_clock().now_ns();
    const std::lock_guard lock(mutex_);
    times_[answer.user].sent_ns.push_back(now);
  }

  static Json choice(const Answer& answer, const std::string& text, const char* reason) {
    Json choice = {{"index", 0}, {"finish_reason", reason == nullptr ? Json() : Json(reason)}};
    if (!answer.is_chat) {
      choice["text"] = text;
    } else {
      choice[answer.streams ? "delta" : "message"] = {{"content", text}};
    }
    return choice;
  }
  static Json usage(const Answer& answer) {
    const int64_t claimed = answer.script.claimed_tokens;
    return {{"prompt_tokens", 5},
            {"completion_tokens", claimed >= 0 ? claimed : answer.script.num_tokens}};
  }

  void send_whole(const Answer& answer) {
    std::string text;
    for (int i = 0; i < answer.script.num_tokens; ++i) text += cat(" word", i);
    Json body = {{"choices", Json::array({choice(answer, text, "length")})}};
    if (answer.script.gives_usage) body["usage"] = usage(answer);
    note_send(answer);
    answer.reply->send({.body = dump_json(body)});
  }

  void send_piece(const std::shared_ptr<Answer>& answer) {
    const FakeAnswer& script = answer->script;
    HttpReply& reply = *answer->reply;
    if (answer->num_sent == script.cut_after) return reply.cut();
    if (answer->num_sent == script.error_after) {
      reply.write("data: {\"error\":{\"message\":\"out of luck\"}}\n\n");
      return reply.cut();
    }
    const bool is_last = answer->num_sent + 1 == script.num_tokens;
    const Json piece = {{"choices", Json::array({choice(*answer, cat(" word", answer->num_sent),
                                                        is_last ? "length" : nullptr)})},
                        {"usage", nullptr}};
    std::string bytes = cat("data: ", dump_json(piece), "\n\n");
    if (answer->num_sent == 0) {
      ++num_first_tokens_;
      const int64_t ttft_ns = steady_clock().now_ns() - answer->received_ns;
      ttft_sum_s_ += static_cast<double>(ttft_ns) * 1e-9 - routes_.ttft_claimed_less_ms * 1e-3;
    }
    ++answer->num_sent;
    note_send(*answer);
    reply.write(bytes);
    if (!is_last) {
      return loop_.at(in_ms(script.gap_ms), [this, answer] { send_piece(answer); });
    }
    if (script.gives_usage) {
      const Json last = {{"choices", Json::array()}, {"usage", usage(*answer)}};
      reply.write(cat("data: ", dump_json(last), "\n\n"));
    }
    if (script.says_done) reply.write("data: [DONE]\n\n");
    reply.finish();
  }

  std::map<std::string, FakeAnswer> scripts_;  // "": every other prompt's
  FakeRoutes routes_;
  EventLoop loop_;
  std::unique_ptr<HttpServer> server_;
  std::string url_;
  std::mutex mutex_;
  std::map<std::string, FakeTimes> times_;
  std::vector<Json> requests_;
  std::vector<std::string> paths_;
  int64_t num_first_tokens_ = 0;  // the loop's thread alone has these
  double ttft_sum_s_ = 0;
  std::thread thread_;
};

}  // namespace quern
