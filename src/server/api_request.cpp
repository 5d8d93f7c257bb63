#include "server/api_request.h"

#include <algorithm>
#include <limits>

#include "base/cat.h"
#include "base/ensure.h"
#include "engine/field_into.h"

namespace quern {

namespace {

constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostChoices = 128;
constexpr unsigned kChat = kChatRoute, kCompletions = kCompletionsRoute;
constexpr unsigned kBoth = kChat | kCompletions;

/// The value of one member of an object that holds nothing but known members.
bool only_members(const Json& object, std::initializer_list<std::string_view> names) {
  return object.is_object() && std::ranges::all_of(object.items(), [&](const auto& item) {
           return std::ranges::find(names, item.key()) != names.end();
         });
}

bool take_flag(const Json& object, const char* name, bool& flag) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return true;
  if (!found->is_boolean()) return false;
  flag = found->get<bool>();
  return true;
}

bool take_stream_options(const Json& value, ApiRequest& request) {
  bool padding = false;  // which nobody adds here
  return only_members(value, {"include_usage", "continuous_usage_stats", "include_obfuscation"}) &&
         take_flag(value, "include_obfuscation", padding) &&
         take_flag(value, "include_usage", request.include_usage) &&
         take_flag(value, "continuous_usage_stats", request.continuous_usage);
}

/// A string, ids, or an array of either.
bool take_prompt(const Json& value, ApiRequest& request) {
  const auto is_prompt = [](const Json& one) {
    return one.is_string() || shape::token_ids(1, kMostTokens).holds(one);
  };
  if (is_prompt(value)) {
    request.prompts.push_back(value);
    return true;
  }
  if (!value.is_array() || value.empty() || value.size() > kMostChoices ||
      !std::ranges::all_of(value, is_prompt)) {
    return false;
  }
  request.prompts.assign(value.begin(), value.end());
  return true;
}

/// Content that comes in parts is what its text parts say, a line each, as chat templates that know
/// only text have it.
bool join_text_parts(Json& message) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null() || content->is_string()) return true;
  if (!content->is_array()) return false;
  std::string text;
  for (const Json& part : *content) {
    const auto type = part.is_object() ? part.find("type") : part.end();
    const auto piece = part.is_object() ? part.find("text") : part.end();
    if (!part.is_object() || type == part.end() || *type != "text" || piece == part.end() ||
        !piece->is_string()) {
      return false;
    }
    if (&part != &content->front()) text += '\n';
    text += piece->get_ref<const std::string&>();
  }
  *content = std::move(text);
  return true;
}

bool take_messages(const Json& value, ApiRequest& request) {
  if (!value.is_array() || value.empty()) return false;
  Json messages = value;
  for (Json& message : messages) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      return false;
    }
    if (!join_text_parts(message)) return false;
  }
  request.body.messages = std::move(messages);
  return true;
}

bool take_response_format(const Json& value, ApiRequest&) {
  return value.is_object() && value.size() == 1 && value.contains("type") &&
         value["type"] == "text";
}

bool take_chat_template_kwargs(const Json& value, ApiRequest& request) {
  if (!value.is_object()) return false;
  // What the request itself says is not to be said a second way.
  for (const char* taken : {"messages", "tools", "documents", "add_generation_prompt",
                            "chat_template", "bos_token", "eos_token"}) {
    if (value.contains(taken)) return false;
  }
  request.chat.variables = value;
  return true;
}

/// Milliseconds after the first token; 0 and -1 are llama.cpp's words for no limit.
bool take_most_time(const Json& value, ApiRequest& request) {
  request.body.request.max_predict_ns = std::max<int64_t>(0, value.get<int64_t>()) * 1'000'000;
  return true;
}

bool is_empty_list(const Json& value, ApiRequest&) { return value.is_array() && value.empty(); }

using enum ApiField::Status;

constexpr FieldShape kPromptShape =
    shape::special("a string, an array of token ids, or an array of at most 128 of either",
                   R"({"anyOf":[{"type":"string"},{"type":"array","maxItems":2147483647,"items":)"
                   R"({"anyOf":[{"type":"string"},{"type":"integer"},)"
                   R"({"type":"array","items":{"type":"integer"}}]}}]})");
constexpr FieldShape kMessagesShape = shape::special(
    "an array of at least one message with a role, and content that is text or parts of type text",
    R"({"type":"array","minItems":1,"items":{"type":"object","required":["role"]}})");
constexpr FieldShape kNoTools = shape::special("an empty array: tools are not supported yet",
                                               R"({"type":"array","maxItems":0})");

constexpr ApiField kFields[] = {
    {"add_generation_prompt", kChat, kUsed, shape::boolean(),
     QUERN_INTO(chat.add_generation_prompt)},
    {"add_special_tokens", kCompletions},
    {"allowed_token_ids", kBoth},
    {"audio", kBoth, kRefused},
    {"bad_words", kBoth},
    {"best_of", kCompletions, kWithoutEffect, shape::integer(1, 1)},
    {"cache_prompt", kBoth, kUsed, shape::boolean(), QUERN_INTO(cache_prompt)},
    {"cache_salt", kBoth},
    {"chat_template", kBoth, kRefused},
    {"chat_template_kwargs", kChat, kUsed,
     shape::special("an object of variables for the chat template, none that a field says",
                    R"({"type":"object"})"),
     take_chat_template_kwargs},
    {"continue_final_message", kChat, kUsed, shape::boolean(),
     QUERN_INTO(chat.continue_final_message)},
    {"echo", kCompletions, kUsed, shape::boolean(), QUERN_INTO(echo)},
    {"frequency_penalty", kBoth},
    {"function_call", kBoth, kRefused},
    {"functions", kBoth, kRefused},
    {"grammar", kBoth, kRefused},
    {"id_slot", kBoth, kRefused},
    {"ignore_eos", kBoth},
    {"include_stop_str_in_output", kBoth, kUsed, shape::boolean(),
     QUERN_INTO(include_stop_str_in_output)},
    {"json_schema", kBoth, kRefused},
    {"logit_bias", kBoth},
    {"logits_hash", kBoth, kRefused},
    {"logprobs", kChat, kUsed, shape::boolean(), QUERN_INTO(wants_logprobs)},
    {"logprobs", kCompletions},
    {"lora", kBoth, kRefused},
    {"max_completion_tokens", kChat, kUsed, shape::integer(1, kMostTokens),
     QUERN_INTO(max_completion_tokens)},
    {"max_tokens", kChat, kUsed, shape::integer(1, kMostTokens), QUERN_INTO(max_tokens)},
    {"max_tokens", kCompletions, kUsed, shape::integer(0, kMostTokens), QUERN_INTO(max_tokens)},
    {"media_io_kwargs", kBoth, kRefused},
    {"messages", kChat, kUsed, kMessagesShape, take_messages},
    {"metadata", kBoth, kWithoutEffect, shape::special("an object", R"({"type":"object"})"),
     [](const Json& value, ApiRequest&) { return value.is_object(); }},
    {"min_p", kBoth},
    {"min_tokens", kBoth},
    {"mm_processor_kwargs", kBoth, kRefused},
    {"modalities", kChat, kWithoutEffect, shape::special(R"(["text"])", R"({"const":["text"]})"),
     [](const Json& value, ApiRequest&) { return value == Json::array({"text"}); }},
    {"model", kBoth, kUsed, shape::text(1, 4096), QUERN_INTO(model)},
    {"n", kBoth, kUsed, shape::integer(1, kMostChoices), QUERN_INTO(n)},
    {"parallel_tool_calls", kChat, kWithoutEffect, shape::boolean()},
    {"post_sampling_probs", kBoth, kRefused},
    {"prediction", kChat, kWithoutEffect, shape::special("an object", R"({"type":"object"})"),
     [](const Json& value, ApiRequest&) { return value.is_object(); }},
    {"presence_penalty", kBoth},
    {"priority", kBoth},
    {"prompt", kCompletions, kUsed, kPromptShape, take_prompt},
    {"prompt_cache_key", kBoth, kWithoutEffect, shape::text(0, 4096)},
    {"prompt_logprobs", kBoth},
    {"reasoning_effort", kBoth, kRefused},
    {"reasoning_format", kBoth, kRefused},
    {"repetition_penalty", kBoth},
    {"request_id", kBoth, kUsed, shape::text(1, 128), QUERN_INTO(request_id)},
    {"response_fields", kBoth, kRefused},
    {"response_format", kBoth, kUsed,
     shape::special(R"({"type":"text"}: structured output is not supported yet)",
                    R"({"const":{"type":"text"}})"),
     take_response_format},
    {"return_progress", kBoth, kUsed, shape::boolean(), QUERN_INTO(return_progress)},
    {"return_token_ids", kBoth, kUsed, shape::boolean(), QUERN_INTO(return_token_ids)},
    {"safety_identifier", kBoth, kWithoutEffect, shape::text(0, 4096)},
    {"samplers", kBoth, kRefused},
    {"seed", kBoth},
    {"service_tier", kBoth, kWithoutEffect, shape::text(0, 64)},
    {"skip_special_tokens", kBoth},
    {"stop", kBoth},
    {"stop_token_ids", kBoth},
    {"store", kBoth, kWithoutEffect,
     shape::special("false: nothing is stored", R"({"const":false})"),
     [](const Json& value, ApiRequest&) { return value == false; }},
    {"stream", kBoth, kUsed, shape::boolean(), QUERN_INTO(stream)},
    {"stream_options", kBoth, kUsed,
     shape::special("an object of include_usage and continuous_usage_stats, true or false",
                    R"({"type":"object","additionalProperties":{"type":"boolean"}})"),
     take_stream_options},
    {"structured_outputs", kBoth, kRefused},
    {"suffix", kCompletions, kRefused},
    {"t_max_predict_ms", kBoth, kUsed, shape::integer(-1, kMostTokens), take_most_time},
    {"temperature", kBoth},
    {"thinking_token_budget", kBoth, kRefused},
    {"timings_per_token", kBoth, kUsed, shape::boolean(), QUERN_INTO(timings_per_token)},
    {"tool_choice", kChat, kWithoutEffect,
     shape::special(R"("none" or "auto": tools are not supported yet)",
                    R"({"enum":["none","auto"]})"),
     [](const Json& value, ApiRequest&) { return value == "none" || value == "auto"; }},
    {"tools", kChat, kUsed, kNoTools, is_empty_list},
    {"top_k", kBoth},
    {"top_logprobs", kChat, kUsed, shape::integer(0, 20), QUERN_INTO(top_logprobs)},
    {"top_p", kBoth},
    {"truncate_prompt_tokens", kBoth, kUsed, shape::integer(1, kMostTokens),
     QUERN_INTO(truncate_prompt_tokens)},
    {"typical_p", kBoth},
    {"user", kBoth, kWithoutEffect, shape::text(0, 4096)},
    {"verbosity", kChat, kWithoutEffect, shape::text(0, 64)},
    {"web_search_options", kBoth, kRefused},
};

const ApiField* find_field(std::string_view name, ApiRoute route) {
  const auto found = std::ranges::find_if(kFields, [&](const ApiField& field) {
    return field.name == name && (field.routes & route) != 0;
  });
  return found == std::end(kFields) ? nullptr : &*found;
}

Result<void> take(const ApiField& field, const Json& value, ApiRequest& request) {
  if (field.status == kRefused) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat("field \"", field.name, "\" is not supported yet; leave it out"),
                 .what = std::string(field.name),
                 .found = shown(value)};
  }
  if (field.take == nullptr && field.status == kUsed) {
    const RequestField* const engine_field = find_request_field(field.name);
    ENSURE(engine_field != nullptr, field.name);
    return take_field(*engine_field, value, request.body);
  }
  if (!field.shape.holds(value) || (field.take != nullptr && !field.take(value, request))) {
    return bad_field(field.name, shown(value), field.shape.wanted());
  }
  return {};
}

/// What several fields mean together.
Result<void> settle(ApiRequest& request, ApiRoute route) {
  Request& wish = request.body.request;
  if (route == kChatRoute) {
    if (request.max_completion_tokens && request.max_tokens) {
      return bad_field("max_tokens", "max_completion_tokens beside it", "one of them");
    }
    if (request.max_completion_tokens) request.max_tokens = request.max_completion_tokens;
    if (!request.body.messages) return bad_field("messages", "nothing", "at least one message");
    if (request.top_logprobs && !request.wants_logprobs) {
      return bad_field("top_logprobs", "no \"logprobs\": true", "it beside \"logprobs\": true");
    }
    if (request.wants_logprobs) wish.logprobs = request.top_logprobs.value_or(0);
  } else {
    if (request.prompts.empty()) return bad_field("prompt", "nothing", "a prompt");
    const auto choices = static_cast<int64_t>(request.prompts.size()) * request.n;
    if (choices > kMostChoices) {
      return bad_field("n", cat(choices, " answers of all prompts together"),
                       cat("at most ", kMostChoices));
    }
  }
  for (const auto& [field, is_set] :
       {std::pair{"stream_options", request.include_usage || request.continuous_usage},
        std::pair{"return_progress", request.return_progress},
        std::pair{"timings_per_token", request.timings_per_token}}) {
    if (is_set && !request.stream) {
      return bad_field(field, "no \"stream\": true", "it beside \"stream\": true");
    }
  }
  if (request.stream && wish.prompt_logprobs) {
    return bad_field("prompt_logprobs", "\"stream\": true", "an answer that is not streamed");
  }
  if (request.stream && request.echo && wish.logprobs) {
    return bad_field("echo", "\"stream\": true with logprobs", "an answer that is not streamed");
  }
  return {};
}

}  // namespace

const FieldShape& ApiField::its_shape() const {
  const RequestField* const engine_field =
      take == nullptr && status == kUsed ? find_request_field(name) : nullptr;
  return engine_field == nullptr ? shape : engine_field->shape;
}

std::span<const ApiField> api_fields() { return kFields; }

Result<ApiRequest> read_api_request(const Json& object, ApiRoute route, RequestBody defaults) {
  if (!object.is_object()) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat("the body is a JSON value of type ", object.type_name(),
                                ", wanted an object"),
                 .found = object.type_name(),
                 .wanted = "object"};
  }
  ApiRequest request;
  request.body = std::move(defaults);
  for (const auto& [name, value] : object.items()) {
    const ApiField* const field = find_field(name, route);
    if (field == nullptr) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("field ", shown(Json(name)), " is unknown here"),
                   .what = name};
    }
    if (!value.is_null()) RETURN_IF_ERROR(take(*field, value, request));
  }
  RETURN_IF_ERROR(settle(request, route));
  return request;
}

}  // namespace quern
