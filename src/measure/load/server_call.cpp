#include "measure/load/server_call.h"

#include "base/cat.h"
#include "measure/load/openai_answer.h"

namespace quern {

namespace {

constexpr int kOk = 200, kNoRoute = 404, kNoMethod = 405;
constexpr uint64_t kMostWords = 1 << 20;                 // of an answer that only says how it went
constexpr uint64_t kMostTraceBytes = uint64_t{1} << 30;  // of a whole profile

}  // namespace

Result<std::string> call_server(const LoadOptions& load, std::string_view method,
                                std::string_view path, uint64_t most_bytes) {
  HttpRequest request{.method = std::string(method), .path = std::string(path)};
  if (!load.api_key.empty()) {
    request.headers.emplace_back("authorization", cat("Bearer ", load.api_key));
  }
  ASSIGN_OR_RETURN(HttpAnswer answer,
                   fetch_http(load.url, std::move(request), most_bytes, load.client));
  if (answer.status == kOk) return std::move(answer.body);
  const bool has_none = answer.status == kNoRoute || answer.status == kNoMethod;
  return Error{
      .code = ErrorCode::kSystem,
      .message = cat(load.url.text(), ": ", method, " ", path, ": status ", answer.status, ": ",
                     error_of_body(answer.body), has_none ? "; the server has no such route" : ""),
      .what = std::string(path),
      .found = cat("status ", answer.status),
      .wanted = "status 200"};
}

Result<void> start_profile(const LoadOptions& load) {
  Result<std::string> answer = call_server(load, "POST", "/start_profile", kMostWords);
  if (answer) return {};
  Error error = std::move(answer).error();
  error.message += "; start it with its profiler on, or leave --profile out";
  error.try_next = "leave --profile out";
  return error;
}

Result<std::string> stop_profile(const LoadOptions& load) {
  ASSIGN_OR_RETURN(std::string answer, call_server(load, "POST", "/stop_profile", kMostTraceBytes));
  if (answer.find("\"traceEvents\"") == std::string::npos) answer.clear();
  return answer;
}

}  // namespace quern
