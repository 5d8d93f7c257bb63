#include "server/service.h"

#include <cstdio>
#include <random>

#include "base/cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/answer.h"
#include "server/api_error.h"
#include "server/routes.h"

namespace quern {

Service::Service(ServerOptions its_options)
    : options(std::move(its_options)), tasks(options.num_task_threads) {
  if (options.access_log) {
    access_log_ =
        *options.access_log == "-" ? stderr : std::fopen(options.access_log->c_str(), "a");
    if (access_log_ == nullptr) {
      log_warning(cat("access log ", *options.access_log, ": cannot be written"));
    }
  }
}

Service::~Service() {
  if (access_log_ != nullptr && access_log_ != stderr) std::fclose(access_log_);
}

void Service::respond(const Call& call, HttpResponse response) {
  if (!call.id.empty()) response.headers.emplace_back("x-request-id", call.id);
  const int status = response.status;
  call.reply->send(std::move(response));
  log_access(call, status, Json::object());
}

void Service::count_http(const HttpHead& head, int status) {
  // Nobody chooses the labels of our metrics but we.
  const bool is_known = head.method == "GET" || head.method == "HEAD" || head.method == "POST";
  metrics.on_http(route_name(head.path), is_known ? head.method : "other", status);
}

void Service::log_access(const Call& call, int status, const Json& details) {
  count_http(call.head, status);
  if (access_log_ == nullptr) return;
  Json line = {{"time", std::time(nullptr)},
               {"request_id", call.id},
               {"remote", call.head.remote},
               {"method", call.head.method},
               {"path", call.head.path},
               {"status", status},
               {"tenant", call.tenant},
               {"ms", static_cast<double>(steady_clock().now_ns() - call.head.begun_ns) * 1e-6}};
  line.update(details);
  std::fputs((dump_json(line) + "\n").c_str(), access_log_);
  std::fflush(access_log_);
}

void Service::on_answer_event(AnswerEvent event) {
  const auto found = answers.find(Answer::number_of(event.tag));
  if (found == answers.end()) {  // its client has left
    if (event.result != nullptr) metrics.on_abort();
    return;
  }
  const std::shared_ptr<Answer> answer = found->second;
  answer->on_event(std::move(event));
}

std::optional<HttpResponse> Service::find_refusal() const {
  switch (phase.load()) {
    case Phase::kLoading:
      return busy_response("Loading model", "loading", 1);
    case Phase::kDraining:
      return busy_response("the server is stopping; ask another or try again later", "draining", 5);
    case Phase::kReady:
      break;
  }
  const int64_t most = options.max_queue + served->llm.plan().shape.max_num_seqs;
  if (static_cast<int64_t>(answers.size()) + num_text_tasks >= most) {
    return busy_response(cat("the queue is full: ", most, " requests are being answered or wait"),
                         "queue_full", 1);
  }
  return std::nullopt;
}

void Service::keep_account(RequestAccount account) {
  accounts.push_back(std::move(account));
  if (accounts.size() > kMostAccounts) accounts.pop_front();
}

void Service::trace_request(const RequestResult& result) {
  if (profile.state != Profile::State::kOn) return;
  if (profile.requests.size() >= Profile::kMostRequests) return;
  profile.requests.push_back({.id = result.id,
                              .submitted_ns = result.timing.submitted_ns,
                              .scheduled_ns = result.timing.scheduled_ns,
                              .first_token_ns = result.timing.first_token_ns,
                              .finished_ns = result.timing.finished_ns,
                              .prompt_tokens = result.prompt_tokens,
                              .generated_tokens = static_cast<int64_t>(result.token_ids.size())});
}

void Service::on_engine(std::function<void()> call) {
  const std::lock_guard lock(engine_calls_mutex_);
  engine_calls_.push_back(std::move(call));
}

void Service::run_engine_calls() {
  std::vector<std::function<void()>> calls;
  {
    const std::lock_guard lock(engine_calls_mutex_);
    if (engine_calls_.empty()) return;
    calls.swap(engine_calls_);
  }
  for (const auto& call : calls) call();
}

std::string new_request_id() {
  // Unguessable, for who knows a request's id may read its account.
  thread_local std::random_device device;
  std::string id;
  for (int i = 0; i < 4; ++i) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", device());
    id += digits;
  }
  return id;
}

}  // namespace quern
