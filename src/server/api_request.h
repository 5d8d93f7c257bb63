#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/request_fields.h"
#include "llm/prompter.h"

namespace quern {

/// The two routes that generate; bits, for fields that both have.
enum ApiRoute : unsigned { kChatRoute = 1, kCompletionsRoute = 2 };

/// A request of /v1/chat/completions or /v1/completions, read and checked.
struct ApiRequest {
  /// What the engine's own fields say; of several prompts of a completion the part they share.
  RequestBody body;
  std::vector<Json> prompts;  // of a completion: strings or arrays of ids
  std::optional<std::string> model;
  int64_t n = 1;
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
  bool echo = false;
  bool wants_logprobs = false;                   // chat says so and how many apart
  std::optional<int32_t> top_logprobs;           // chat
  std::optional<int64_t> max_tokens;             // nothing: to the end of the context, or 16
  std::optional<int64_t> max_completion_tokens;  // chat's other name for max_tokens
  bool return_token_ids = false;
  bool return_progress = false;
  bool timings_per_token = false;
  bool include_stop_str_in_output = false;
  bool cache_prompt = true;
  std::optional<int64_t> truncate_prompt_tokens;
  std::optional<std::string> request_id;
  TemplateOptions chat;  // what the template is told
};

/// One field of the API: what it may hold and where it goes.
struct ApiField {
  enum class Status {
    kUsed,
    kWithoutEffect,  // by its definition it changes no token; taken, and no more
    kRefused,        // not built yet
  };

  std::string_view name;
  unsigned routes = kChatRoute | kCompletionsRoute;
  Status status = Status::kUsed;
  FieldShape shape = {};
  /// Takes a value of that shape over; false where it is not what the shape says in words. Null for
  /// a field that the engine's own table has (engine/request_fields), and for those that go
  /// nowhere.
  bool (*take)(const Json& value, ApiRequest& request) = nullptr;

  /// Its shape here or in the engine's table.
  const FieldShape& its_shape() const;
};

/// Every field there is, by name and then by route. To add one: a line here.
std::span<const ApiField> api_fields();

/// Over `defaults`, which are the model's own. kBadInput, naming the field, for an unknown or
/// refused field, a value of another type or out of bounds, and for fields that exclude each other.
Result<ApiRequest> read_api_request(const Json& object, ApiRoute route, RequestBody defaults);

}  // namespace quern
