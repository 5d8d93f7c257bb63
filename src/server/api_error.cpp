#include "server/api_error.h"

#include "base/cat.h"

namespace quern {

namespace {

std::string_view type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

Json or_null(std::string_view text) { return text.empty() ? Json() : Json(text); }

bool is_no_such_model(const Error& error) {
  return error.code == ErrorCode::kNotFound && error.what == "model";
}

int status_of(const Error& error) {
  if (is_no_such_model(error)) return 404;
  switch (error.code) {
    case ErrorCode::kBadInput:
    case ErrorCode::kDoesNotFit:
    case ErrorCode::kUsage:
    case ErrorCode::kUnsupported:
    case ErrorCode::kNotFound:
      return 400;
    default:
      return 500;
  }
}

std::string_view code_of(const Error& error) {
  if (is_no_such_model(error)) return "model_not_found";
  return error.code == ErrorCode::kDoesNotFit ? "context_length_exceeded" : "";
}

}  // namespace

HttpResponse json_response(int status, const Json& body) {
  return {
      .status = status, .headers = {{"content-type", "application/json"}}, .body = dump_json(body)};
}

Json api_error_json(int status, std::string_view message, std::string_view param,
                    std::string_view code) {
  return {{"error",
           {{"message", message},
            {"type", type_of(status)},
            {"param", or_null(param)},
            {"code", or_null(code)}}}};
}

HttpResponse api_error(int status, std::string_view message, std::string_view param,
                       std::string_view code) {
  HttpResponse response = json_response(status, api_error_json(status, message, param, code));
  // Official clients send again after any 5xx: here the same request would fail again.
  if (status == 500) response.headers.emplace_back("x-should-retry", "false");
  return response;
}

HttpResponse api_error(const Error& error) {
  if (error.code == ErrorCode::kOverloaded) {
    return error.what == "draining" ? busy_response(error.message, "draining", 5)
                                    : busy_response(error.message, "queue_full", 1);
  }
  return api_error(status_of(error), error.message, error.what.value_or(""), code_of(error));
}

Error no_such_model(std::string_view asked, std::string_view there_is) {
  return Error{.code = ErrorCode::kNotFound,
               .message = cat("the model ", dump_json(Json(asked)),
                              " does not exist here; there is \"", there_is, "\""),
               .what = "model",
               .found = std::string(asked),
               .wanted = std::string(there_is)};
}

Json api_error_json(const Error& error) {
  return api_error_json(status_of(error), error.message, error.what.value_or(""), code_of(error));
}

HttpResponse busy_response(std::string_view message, std::string_view code, int retry_after_s) {
  HttpResponse response = json_response(503, api_error_json(503, message, {}, code));
  response.headers.emplace_back("retry-after", cat(retry_after_s));
  return response;
}

}  // namespace quern
