#include "measure/load/ready_check.h"

#include <chrono>
#include <thread>

#include "base/cat.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "measure/load/openai_answer.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = 16 << 20;
constexpr int64_t kPauseMs = 200, kTryMs = 10'000;
constexpr int kOk = 200, kUnauthorized = 401, kForbidden = 403, kNoRoute = 404, kNoMethod = 405;

std::vector<std::string> names_in(std::string_view body) {
  std::vector<std::string> names;
  const Result<Json> list = parse_json(body, "models", ErrorCode::kBadInput);
  if (!list || !list->is_object() || !list->contains("data")) return names;
  for (const Json& model : (*list)["data"]) {
    if (!model.is_object()) continue;
    const auto id = model.find("id");
    if (id != model.end() && id->is_string()) names.push_back(id->get<std::string>());
  }
  return names;
}

}  // namespace

Result<std::vector<std::string>> wait_for_models(const ReadyCheck& check) {
  const int64_t started_ns = steady_clock().now_ns();
  HttpClientOptions options = check.client;
  options.idle_timeout_ms = std::min(options.idle_timeout_ms, kTryMs);
  HttpRequest request{.path = "/v1/models"};
  if (!check.api_key.empty()) {
    request.headers.emplace_back("authorization", cat("Bearer ", check.api_key));
  }
  for (bool is_first = true;; is_first = false) {
    const Result<HttpAnswer> answer = fetch_http(check.url, request, kMostBytes, options);
    if (answer && answer->status == kOk) return names_in(answer->body);
    if (answer && (answer->status == kNoRoute || answer->status == kNoMethod)) {
      return std::vector<std::string>();
    }
    const std::string why = answer ? cat(check.url.text(), ": status ", answer->status, ": ",
                                         error_of_body(answer->body))
                                   : answer.error().message;
    if (answer && (answer->status == kUnauthorized || answer->status == kForbidden)) {
      return Error{.code = ErrorCode::kSystem,
                   .message = cat(why, "; give the server's key with --api-key"),
                   .what = check.url.text(),
                   .found = cat("status ", answer->status),
                   .try_next = "--api-key"};
    }
    const int64_t waited_ms = (steady_clock().now_ns() - started_ns) / 1'000'000;
    if (waited_ms >= check.timeout_ms) {
      return Error{.code = ErrorCode::kSystem,
                   .message = cat(why, "; the server was not ready within ",
                                  static_cast<double>(check.timeout_ms) / 1000,
                                  " s; start it, or name another with --base-url"),
                   .what = check.url.text(),
                   .try_next = "start the server, or name another with --base-url"};
    }
    if (is_first) log_warning(cat(why, "; waiting for the server"));
    std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs));
  }
}

}  // namespace quern
