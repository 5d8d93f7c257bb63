#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/field_shape.h"
#include "engine/request.h"

namespace quern {

/// One request as its writer put it: exactly one of prompt, prompt_token_ids and messages, and
/// everything else that a request may say.
struct RequestBody {
  std::optional<std::string> prompt;
  std::optional<std::vector<int32_t>> prompt_token_ids;
  std::optional<Json> messages;

  Json id;  // echoed, whatever it is
  double arrival_ms = 0;
  bool add_special_tokens = true;
  bool parse_special = true;
  bool skip_special_tokens = true;  // in the answer's text
  std::vector<std::string> stop;
  std::vector<std::string> bad_words;
  Request request;  // without its prompt
};

/// One field of a request: what it may hold and where it goes.
struct RequestField {
  enum class Status { kUsed, kRefused };

  std::string_view name;
  Status status = Status::kUsed;
  FieldShape shape = {};
  /// Takes a value of that shape over; false where it is not what the shape says in words.
  bool (*take)(const Json& value, RequestBody& body) = nullptr;
};

/// Every field there is, by name. To add one: a line here.
std::span<const RequestField> request_fields();
/// nullptr for a name that is none.
const RequestField* find_request_field(std::string_view name);
/// Takes one value over, or kBadInput: the field is refused, or the value is not of its shape.
Result<void> take_field(const RequestField& field, const Json& value, RequestBody& body);

/// Reads a request object. kBadInput, naming the field, for an unknown or refused field, a value of
/// another type or out of bounds, and for none or several of the three prompts. Null is absent.
Result<RequestBody> read_request(const Json& object);
/// The same over a body that has defaults already: what the object does not say stays.
Result<void> read_request_into(const Json& object, RequestBody& body);

}  // namespace quern
