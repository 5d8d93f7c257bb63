#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "net/http_server.h"

namespace quern {

/// An answer with a JSON body.
HttpResponse json_response(int status, const Json& body);

/// {"error":{"message","type","param","code"}}; empty texts are null.
Json api_error_json(int status, std::string_view message, std::string_view param = {},
                    std::string_view code = {});

/// That object as an answer: the shape of every 4xx and 5xx, whatever the route.
HttpResponse api_error(int status, std::string_view message, std::string_view param = {},
                       std::string_view code = {});

/// What a failed request is answered with: the status by the error's code, `param` by its culprit.
HttpResponse api_error(const Error& error);
/// kNotFound for a request that names another model than the one there is.
Error no_such_model(std::string_view asked, std::string_view there_is);
/// The same object, for an error in the middle of a stream.
Json api_error_json(const Error& error);

/// 503 with the seconds after which to try again.
HttpResponse busy_response(std::string_view message, std::string_view code, int retry_after_s);

}  // namespace quern
