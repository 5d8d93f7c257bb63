#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llm/llm.h"
#include "llm/prompter.h"
#include "measure/chrome_trace.h"
#include "net/event_loop.h"
#include "net/http_server.h"
#include "server/metrics.h"
#include "server/outbox.h"
#include "server/task_queue.h"

namespace quern {

class Answer;

struct ServerOptions {
  HttpServerOptions http = {};
  std::string served_model_name = {};      // empty: the model's own
  std::vector<std::string> api_keys = {};  // none: the server is open; each is a tenant of its own
  int64_t max_queue = 256;                 // requests that wait beside those that run
  int64_t heartbeat_ms = 5'000;            // a stream is silent no longer
  int64_t stall_ms = 60'000;               // a step that takes longer makes /health say so
  std::optional<std::string> access_log = {};  // a file, or "-" for stderr
  int num_task_threads = 2;
  std::string version = {};
};

/// A model that the server answers with.
struct ServedModel {
  ServedModel(const Model& its_model, Llm& its_llm)
      : model(its_model), llm(its_llm), prompter(its_model) {}

  const Model& model;
  Llm& llm;
  Prompter prompter;
  std::string id;
  int64_t created = 0;  // when it became ready, seconds since 1970
};

/// One request on its way through an endpoint.
struct Call {
  HttpHead head;
  std::string body;
  std::shared_ptr<HttpReply> reply;
  std::string id;           // of the request, in x-request-id
  uint32_t tenant = 0;      // which key it came with
  int64_t received_ns = 0;  // when it was whole
};

/// Where the time of a finished request went, in milliseconds and in order.
struct RequestAccount {
  std::string id;
  uint32_t tenant = 0;
  std::vector<std::pair<std::string_view, double>> parts = {};
  double total_ms = 0;
};

/// What /start_profile begins and /stop_profile gives.
struct Profile {
  static constexpr int64_t kMostEvents = 1 << 18;
  static constexpr size_t kMostRequests = 1 << 14;

  Trace trace;
  enum class State { kOff, kOn, kEnding } state = State::kOff;  // the loop's
  std::vector<TracedRequest> requests;                          // that ended meanwhile
};

/// What the endpoints share. All of it belongs to the loop's thread, but where it says otherwise.
class Service final : public Outbox::Reader {
 public:
  enum class Phase { kLoading, kReady, kDraining };
  static constexpr size_t kMostAccounts = 1024;

  explicit Service(ServerOptions its_options);
  ~Service() override;

  /// Sends a whole answer and writes it to the access log. Every endpoint ends with it.
  void respond(const Call& call, HttpResponse response);
  /// An answer in the metrics, without anything that a stranger wrote.
  void count_http(const HttpHead& head, int status);
  /// What an answer that was not sent through respond() leaves behind.
  void log_access(const Call& call, int status, const Json& details);

  void on_answer_event(AnswerEvent event) override;
  /// Why a request that wants an answer of the model cannot have one now, if so.
  std::optional<HttpResponse> find_refusal() const;
  void keep_account(RequestAccount account);
  /// A request has ended: a row of its own where somebody profiles.
  void trace_request(const RequestResult& result);

  /// From the loop's thread: what the engine's thread is to do between two steps.
  void on_engine(std::function<void()> call);
  /// On the engine's thread.
  void run_engine_calls();

  ServerOptions options;
  EventLoop loop;
  std::atomic<Phase> phase = Phase::kLoading;
  Metrics metrics;
  Outbox outbox{loop, *this};
  std::optional<ServedModel> served;  // there once the phase has left kLoading
  std::unordered_map<uint64_t, std::shared_ptr<Answer>> answers;  // live ones, by number
  uint64_t next_answer = 1;
  int64_t num_text_tasks = 0;           // of the routes that tokenise and render only
  std::deque<RequestAccount> accounts;  // of the last ones that ended
  Profile profile;
  std::function<int64_t()> num_connections;  // of the HTTP server, once there is one

 private:
  std::FILE* access_log_ = nullptr;
  std::mutex engine_calls_mutex_;
  std::vector<std::function<void()>> engine_calls_;

 public:
  TaskQueue tasks;  // last: its threads end before anything else goes
};

/// 32 random hex digits.
std::string new_request_id();

}  // namespace quern
