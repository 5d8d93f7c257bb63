#include "engine/request_fields.h"

#include <algorithm>
#include <limits>

#include "base/numbers.h"
#include "engine/field_into.h"

namespace quern {

namespace {

constexpr size_t kMostStopStrings = 16;
constexpr size_t kMostBadWords = 128;
constexpr int64_t kMostTextBytes = 1024;
constexpr size_t kMostBiases = 1024;
constexpr int64_t kMostSaltBytes = 256;

constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();

/// Texts of an array, each of 1 to 1024 bytes.
bool take_texts(const Json& list, size_t most, std::vector<std::string>& texts) {
  if (!list.is_array() || list.size() > most) return false;
  for (const Json& item : list) {
    if (!shape::text(1, kMostTextBytes).holds(item)) return false;
    texts.push_back(item.get<std::string>());
  }
  return true;
}

bool take_stop(const Json& value, RequestBody& body) {
  return take_texts(value.is_string() ? Json::array({value}) : value, kMostStopStrings, body.stop);
}

bool take_bad_words(const Json& value, RequestBody& body) {
  return take_texts(value, kMostBadWords, body.bad_words);
}

bool take_logit_bias(const Json& value, RequestBody& body) {
  if (!value.is_object() || value.size() > kMostBiases) return false;
  for (const auto& [key, bias] : value.items()) {
    const auto id = parse_integer<int32_t>(key);
    if (!id || *id < 0 || !shape::number(-100, 100).holds(bias)) return false;
    body.request.sampling.logit_bias.emplace_back(*id, bias.get<float>());
  }
  return true;
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

using enum RequestField::Status;

constexpr RequestField kFields[] = {
    {"add_special_tokens", kUsed, shape::boolean(), QUERN_INTO(add_special_tokens)},
    {"allowed_token_ids", kUsed, shape::token_ids(1, 1024),
     QUERN_INTO(request.sampling.allowed_token_ids)},
    {"arrival_ms", kUsed, shape::number(0, 86'400'000), QUERN_INTO(arrival_ms)},
    {"bad_words", kUsed,
     shape::special("an array of at most 128 strings of 1 to 1024 bytes",
                    R"({"type":"array","maxItems":128,"items":)"
                    R"({"type":"string","minLength":1,"maxLength":1024}})"),
     take_bad_words},
    {"cache_salt", kUsed, shape::text(1, kMostSaltBytes), QUERN_INTO(request.cache_salt)},
    {"frequency_penalty", kUsed, shape::number(-2, 2),
     QUERN_INTO(request.sampling.frequency_penalty)},
    {"id", kUsed, shape::anything(), QUERN_INTO(id)},
    {"ignore_eos", kUsed, shape::boolean(), QUERN_INTO(request.ignore_eos)},
    {"images", kRefused},
    {"logit_bias", kUsed,
     shape::special("an object of at most 1024 token ids with numbers from -100 to 100",
                    R"({"type":"object","maxProperties":1024,"additionalProperties":)"
                    R"({"type":"number","minimum":-100,"maximum":100}})"),
     take_logit_bias},
    {"logits_hash", kUsed, shape::boolean(), QUERN_INTO(request.logits_hash)},
    {"logprobs", kUsed, shape::integer(0, 20), QUERN_INTO(request.logprobs)},
    {"lora", kRefused},
    {"max_tokens", kUsed, shape::integer(1, kMostTokens), QUERN_INTO(request.max_tokens)},
    {"messages", kUsed,
     shape::special("an array of at least one message object",
                    R"({"type":"array","minItems":1,"items":{"type":"object"}})"),
     take_messages},
    {"min_p", kUsed, shape::number(0, 1), QUERN_INTO(request.sampling.min_p)},
    {"min_tokens", kUsed, shape::integer(0, kMostTokens), QUERN_INTO(request.min_tokens)},
    {"parse_special", kUsed, shape::boolean(), QUERN_INTO(parse_special)},
    {"presence_penalty", kUsed, shape::number(-2, 2),
     QUERN_INTO(request.sampling.presence_penalty)},
    {"priority", kUsed, shape::integer(-1000, 1000), QUERN_INTO(request.priority)},
    {"prompt", kUsed, shape::text(0, kMostTokens), QUERN_INTO(prompt)},
    {"prompt_logprobs", kUsed, shape::integer(0, 20), QUERN_INTO(request.prompt_logprobs)},
    {"prompt_token_ids", kUsed, shape::token_ids(0, kMostTokens), QUERN_INTO(prompt_token_ids)},
    {"repetition_penalty", kUsed, shape::number(1e-6, 10),
     QUERN_INTO(request.sampling.repetition_penalty)},
    {"seed", kUsed, shape::special("a 64-bit integer", R"({"type":"integer"})"), take_seed},
    {"skip_special_tokens", kUsed, shape::boolean(), QUERN_INTO(skip_special_tokens)},
    {"stop", kUsed,
     shape::special("a string or an array of at most 16 strings of 1 to 1024 bytes",
                    R"({"anyOf":[{"type":"string","minLength":1,"maxLength":1024},)"
                    R"({"type":"array","maxItems":16,"items":)"
                    R"({"type":"string","minLength":1,"maxLength":1024}}]})"),
     take_stop},
    {"stop_token_ids", kUsed, shape::token_ids(0, 1024), QUERN_INTO(request.stop_token_ids)},
    {"temperature", kUsed, shape::number(0, 100), QUERN_INTO(request.sampling.temperature)},
    {"tools", kRefused},
    {"top_k", kUsed, shape::integer(-1, kMostTokens), QUERN_INTO(request.sampling.top_k)},
    {"top_p", kUsed, shape::number(1e-9, 1), QUERN_INTO(request.sampling.top_p)},
    {"typical_p", kUsed, shape::number(1e-9, 1), QUERN_INTO(request.sampling.typical_p)},
};

}  // namespace

std::span<const RequestField> request_fields() { return kFields; }

const RequestField* find_request_field(std::string_view name) {
  const auto found = std::ranges::find(kFields, name, &RequestField::name);
  return found == std::end(kFields) ? nullptr : &*found;
}

Result<void> take_field(const RequestField& field, const Json& value, RequestBody& body) {
  if (field.status == kRefused) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat("field \"", field.name, "\" is not supported yet; leave it out"),
                 .what = std::string(field.name),
                 .found = shown(value)};
  }
  if (!field.shape.holds(value) || !field.take(value, body)) {
    return bad_field(field.name, shown(value), field.shape.wanted());
  }
  return {};
}

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
    const RequestField* const field = find_request_field(name);
    if (field == nullptr) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("field \"", name, "\" is unknown"),
                   .what = name};
    }
    if (!value.is_null()) RETURN_IF_ERROR(take_field(*field, value, body));
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
