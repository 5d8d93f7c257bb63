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

void Service::log_access(const Call& call, int status, const Json& details) {
  metrics.on_http(route_name(call.head.path), call.head.method, status);
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
  if (found == answers.end()) return;  // its client has left
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
  if (static_cast<int64_t>(answers.size()) > most) {
    return busy_response(cat("the queue is full: ", most, " requests are being answered or wait"),
                         "queue_full", 1);
  }
  return std::nullopt;
}

void Service::keep_account(RequestAccount account) {
  accounts.push_back(std::move(account));
  if (accounts.size() > kMostAccounts) accounts.pop_front();
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
