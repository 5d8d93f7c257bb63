#include "engine/request_fields.h"

#include <algorithm>
#include <limits>

#include "base/numbers.h"

namespace quern {

namespace {

constexpr size_t kMostStopStrings = 16;
constexpr size_t kMostStopBytes = 1024;
constexpr size_t kMostBiases = 1024;

/// The value as an integer from `low` to `high`, if it is one.
std::optional<int64_t> integer_in(const Json& value, int64_t low, int64_t high) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    return std::nullopt;
  }
  const auto number = value.get<int64_t>();
  return number < low || number > high ? std::nullopt : std::optional(number);
}

std::optional<float> number_in(const Json& value, double low, double high) {
  if (!value.is_number()) return std::nullopt;
  const auto number = value.get<double>();
  if (!(number >= low && number <= high)) return std::nullopt;
  return static_cast<float>(number);
}

constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();

std::optional<std::vector<int32_t>> token_ids(const Json& value, size_t most) {
  if (!value.is_array() || value.size() > most) return std::nullopt;
  std::vector<int32_t> ids;
  for (const Json& item : value) {
    const auto id = integer_in(item, 0, kMostTokens);
    if (!id) return std::nullopt;
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

bool take_stop(const Json& value, RequestBody& body) {
  const Json list = value.is_string() ? Json::array({value}) : value;
  if (!list.is_array() || list.size() > kMostStopStrings) return false;
  for (const Json& item : list) {
    if (!item.is_string()) return false;
    const auto& text = item.get_ref<const std::string&>();
    if (text.empty() || text.size() > kMostStopBytes) return false;
    body.stop.push_back(text);
  }
  return true;
}

bool take_logit_bias(const Json& value, RequestBody& body) {
  if (!value.is_object() || value.size() > kMostBiases) return false;
  for (const auto& [key, bias] : value.items()) {
    const auto id = parse_integer<int32_t>(key);
    const auto number = number_in(bias, -100, 100);
    if (!id || *id < 0 || !number) return false;
    body.request.sampling.logit_bias.emplace_back(*id, *number);
  }
  return true;
}

bool take_salt(const Json& value, RequestBody& body) {
  if (!value.is_string()) return false;
  body.request.cache_salt = value.get<std::string>();
  return !body.request.cache_salt.empty() &&
         body.request.cache_salt.size() <= static_cast<size_t>(KvPool::kMaxSaltBytes);
}

bool take_seed(const Json& value, RequestBody& body) {
  if (!value.is_number_integer()) return false;
  // Negative seeds are what their bits say, as in every API that has them.
  body.request.sampling.seed = value.is_number_unsigned()
                                   ? value.get<uint64_t>()
                                   : static_cast<uint64_t>(value.get<int64_t>());
  return true;
}

bool take_messages(const Json& value, RequestBody& body) {
  if (!value.is_array() || value.empty()) return false;
  if (!std::ranges::all_of(value, [](const Json& message) { return message.is_object(); })) {
    return false;
  }
  body.messages = value;
  return true;
}

/// Takes one number or flag over: TAKE(what it must be, where it goes).
#define QUERN_TAKE(parsed, target)           \
  [](const Json& value, RequestBody& body) { \
    const auto number = parsed;              \
    if (number) body.target = *number;       \
    return number.has_value();               \
  }
#define QUERN_TAKE_BOOL(target)                              \
  [](const Json& value, RequestBody& body) {                 \
    if (value.is_boolean()) body.target = value.get<bool>(); \
    return value.is_boolean();                               \
  }
#define QUERN_TAKE_SMALL(low, high, target)                  \
  [](const Json& value, RequestBody& body) {                 \
    const auto number = integer_in(value, low, high);        \
    if (number) body.target = static_cast<int32_t>(*number); \
    return number.has_value();                               \
  }

using enum RequestField::Status;

constexpr RequestField kFields[] = {
    {"add_special_tokens", "true or false", kUsed, QUERN_TAKE_BOOL(add_special_tokens)},
    {"arrival_ms", "a number from 0 to 86400000", kUsed,
     QUERN_TAKE(number_in(value, 0, 86'400'000), arrival_ms)},
    {"cache_salt", "a string of 1 to 256 bytes", kUsed, take_salt},
    {"frequency_penalty", "a number from -2 to 2", kUsed,
     QUERN_TAKE(number_in(value, -2, 2), request.sampling.frequency_penalty)},
    {"id", "anything", kUsed,
     [](const Json& value, RequestBody& body) {
       body.id = value;
       return true;
     }},
    {"ignore_eos", "true or false", kUsed, QUERN_TAKE_BOOL(request.ignore_eos)},
    {"images", "", kRefused},
    {"logit_bias", "an object of at most 1024 token ids with numbers from -100 to 100", kUsed,
     take_logit_bias},
    {"logits_hash", "true or false", kUsed, QUERN_TAKE_BOOL(request.logits_hash)},
    {"logprobs", "an integer from 0 to 20", kUsed, QUERN_TAKE_SMALL(0, 20, request.logprobs)},
    {"lora", "", kRefused},
    {"max_tokens", "an integer from 1 to 2147483647", kUsed,
     QUERN_TAKE(integer_in(value, 1, kMostTokens), request.max_tokens)},
    {"messages", "an array of at least one message object", kUsed, take_messages},
    {"min_p", "a number from 0 to 1", kUsed,
     QUERN_TAKE(number_in(value, 0, 1), request.sampling.min_p)},
    {"min_tokens", "an integer from 0 to 2147483647", kUsed,
     QUERN_TAKE(integer_in(value, 0, kMostTokens), request.min_tokens)},
    {"parse_special", "true or false", kUsed, QUERN_TAKE_BOOL(parse_special)},
    {"presence_penalty", "a number from -2 to 2", kUsed,
     QUERN_TAKE(number_in(value, -2, 2), request.sampling.presence_penalty)},
    {"priority", "an integer from -1000 to 1000", kUsed,
     QUERN_TAKE_SMALL(kLeastPriority, kMostPriority, request.priority)},
    {"prompt", "a string", kUsed,
     [](const Json& value, RequestBody& body) {
       if (value.is_string()) body.prompt = value.get<std::string>();
       return value.is_string();
     }},
    {"prompt_logprobs", "an integer from 0 to 20", kUsed,
     QUERN_TAKE_SMALL(0, 20, request.prompt_logprobs)},
    {"prompt_token_ids", "an array of token ids", kUsed,
     [](const Json& value, RequestBody& body) {
       body.prompt_token_ids = token_ids(value, static_cast<size_t>(kMostTokens));
       return body.prompt_token_ids.has_value();
     }},
    {"repetition_penalty", "a number above 0, at most 10", kUsed,
     QUERN_TAKE(number_in(value, 1e-6, 10), request.sampling.repetition_penalty)},
    {"seed", "a 64-bit integer", kUsed, take_seed},
    {"stop", "a string or an array of at most 16 strings of 1 to 1024 bytes", kUsed, take_stop},
    {"stop_token_ids", "an array of at most 1024 token ids", kUsed,
     [](const Json& value, RequestBody& body) {
       const auto ids = token_ids(value, 1024);
       if (ids) body.request.stop_token_ids = *ids;
       return ids.has_value();
     }},
    {"temperature", "a number from 0 to 100", kUsed,
     QUERN_TAKE(number_in(value, 0, 100), request.sampling.temperature)},
    {"tools", "", kRefused},
    {"top_k", "an integer from -1 to 2147483647", kUsed,
     QUERN_TAKE(integer_in(value, -1, kMostTokens), request.sampling.top_k)},
    {"top_p", "a number above 0, at most 1", kUsed,
     QUERN_TAKE(number_in(value, 1e-9, 1), request.sampling.top_p)},
    {"typical_p", "a number above 0, at most 1", kUsed,
     QUERN_TAKE(number_in(value, 1e-9, 1), request.sampling.typical_p)},
};

#undef QUERN_TAKE
#undef QUERN_TAKE_BOOL
#undef QUERN_TAKE_SMALL

Error bad_field(std::string_view name, std::string found, std::string_view wanted) {
  return Error{.code = ErrorCode::kBadInput,
               .message = cat("field \"", name, "\": found ", found, ", wanted ", wanted),
               .what = std::string(name),
               .found = std::move(found),
               .wanted = std::string(wanted)};
}

/// A value as a message shows it: whole if short.
std::string shown(const Json& value) {
  const std::string text = dump_json(value);
  return text.size() <= 60 ? text : cat(value.type_name(), " of ", text.size(), " bytes");
}

}  // namespace

std::span<const RequestField> request_fields() { return kFields; }

Result<RequestBody> read_request(const Json& object) {
  RequestBody body;
  RETURN_IF_ERROR(read_request_into(object, body));
  return body;
}

Result<void> read_request_into(const Json& object, RequestBody& body) {
  if (!object.is_object()) {
    return bad_field("(the request)", cat("a value of type ", object.type_name()), "an object");
  }
  for (const auto& [name, value] : object.items()) {
    const auto field = std::ranges::find(kFields, std::string_view(name), &RequestField::name);
    if (field == std::end(kFields)) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("field \"", name, "\" is unknown"),
                   .what = name};
    }
    if (value.is_null()) continue;
    if (field->status == kRefused) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("field \"", name, "\" is not supported yet; leave it out"),
                   .what = name,
                   .found = shown(value)};
    }
    if (!field->take(value, body)) return bad_field(name, shown(value), field->wanted);
  }
  const int prompts = int{body.prompt.has_value()} + int{body.prompt_token_ids.has_value()} +
                      int{body.messages.has_value()};
  if (prompts != 1) {
    return bad_field("prompt", cat(prompts, " of prompt, prompt_token_ids and messages"),
                     "exactly one of them");
  }
  return {};
}

}  // namespace quern
