// A whole request body at the door of the generating routes: read or refused by name, never more.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/ensure.h"
#include "server/api_request.h"

using namespace quern;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<Json> object = parse_json(text, "body", ErrorCode::kBadInput);
  if (!object) return 0;
  for (const ApiRoute route : {kChatRoute, kCompletionsRoute}) {
    const Result<ApiRequest> request = read_api_request(*object, route, {});
    if (!request) {
      ENSURE(!request.error().message.empty());
      continue;
    }
    // What was taken is within its bounds.
    ENSURE(request->n >= 1 && request->n <= 128);
    ENSURE((route == kChatRoute) == request->body.messages.has_value());
    ENSURE((route == kCompletionsRoute) == !request->prompts.empty());
    const SamplingParams& sampling = request->body.request.sampling;
    ENSURE(sampling.temperature >= 0 && sampling.temperature <= 100);
    ENSURE(sampling.top_p > 0 && sampling.top_p <= 1);
  }
  return 0;
}
