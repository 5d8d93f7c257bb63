#include "measure/load/openai_request.h"

#include "base/json.h"

namespace quern {

std::string openai_request_body(const LoadPrompt& prompt, const OpenAiRequestOptions& options) {
  Json body{{"model", options.model}};
  if (options.chat) {
    Json message{{"role", "user"}, {"content", prompt.text}};
    body["messages"] = Json::array({std::move(message)});
  } else {
    body["prompt"] = prompt.text;
  }
  body["max_tokens"] = prompt.max_tokens;
  if (options.temperature) body["temperature"] = *options.temperature;
  if (options.ignore_eos) body["ignore_eos"] = true;
  body["stream"] = options.stream;
  if (options.stream) body["stream_options"] = {{"include_usage", true}};
  return dump_json(body);
}

}  // namespace quern
