#include "text/json_document.h"

#include <unordered_set>
#include <utility>

#include "base/json.h"
#include "text/seeded_hash.h"
#include "text/utf8.h"

namespace quern {

namespace {

std::string_view type_name(JsonValue value) {
  switch (value.type()) {
    case simdjson::dom::element_type::ARRAY:
      return "an array";
    case simdjson::dom::element_type::OBJECT:
      return "an object";
    case simdjson::dom::element_type::STRING:
      return "a string";
    case simdjson::dom::element_type::BOOL:
      return "true or false";
    case simdjson::dom::element_type::NULL_VALUE:
      return "null";
    default:
      return "a number";
  }
}

}  // namespace

Error JsonObject::error(ErrorCode code, std::string message) const {
  return Error{.code = code, .message = cat(path_, ": ", message), .what = path_};
}

Result<JsonObject> JsonObject::from(JsonValue value, std::string path) {
  simdjson::dom::object object;
  if (value.get_object().get(object) != simdjson::SUCCESS) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(path, ": is ", type_name(value), ", wanted an object"),
                 .what = path,
                 .found = std::string(type_name(value)),
                 .wanted = "an object"};
  }
  JsonObject fields(object, std::move(path));
  std::unordered_set<std::string_view, SeededHash> seen;
  for (const auto member : object) {
    if (!seen.insert(member.key).second) {
      return fields.error(ErrorCode::kBadFile,
                          cat("the key \"", member.key.substr(0, 80), "\" stands twice"));
    }
  }
  return fields;
}

std::optional<JsonValue> JsonObject::find(std::string_view key) const {
  JsonValue value;
  if (object_.at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return value;
}

Error JsonObject::wrong_type(std::string_view key, std::string_view wanted) const {
  const std::optional<JsonValue> value = find(key);
  const std::string found(value ? type_name(*value) : "nothing");
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(path_, ": \"", key, "\" is ", found, ", wanted ", wanted),
               .what = cat(path_, ": ", key),
               .found = found,
               .wanted = std::string(wanted)};
}

Result<JsonValue> JsonObject::value(std::string_view key) const {
  const std::optional<JsonValue> value = find(key);
  if (!value) return wrong_type(key, "a value");
  return *value;
}

Result<std::string_view> JsonObject::text(std::string_view key) const {
  const std::optional<JsonValue> value = find(key);
  std::string_view text;
  if (!value || value->get_string().get(text) != simdjson::SUCCESS) {
    return wrong_type(key, "a string");
  }
  return text;
}

Result<std::optional<std::string_view>> JsonObject::optional_text(std::string_view key) const {
  if (!find(key)) return std::optional<std::string_view>();
  ASSIGN_OR_RETURN(const std::string_view text, this->text(key));
  return std::optional(text);
}

Result<bool> JsonObject::boolean(std::string_view key) const {
  const std::optional<JsonValue> value = find(key);
  bool flag = false;
  if (!value || value->get_bool().get(flag) != simdjson::SUCCESS) {
    return wrong_type(key, "true or false");
  }
  return flag;
}

Result<bool> JsonObject::boolean(std::string_view key, bool absent) const {
  if (!find(key)) return absent;
  return boolean(key);
}

Result<uint64_t> JsonObject::count(std::string_view key) const {
  const std::optional<JsonValue> value = find(key);
  uint64_t count = 0;
  if (!value || value->get_uint64().get(count) != simdjson::SUCCESS) {
    return wrong_type(key, "an integer of 0 or more");
  }
  return count;
}

Result<JsonArray> JsonObject::array(std::string_view key) const {
  const std::optional<JsonValue> value = find(key);
  JsonArray array;
  if (!value || value->get_array().get(array) != simdjson::SUCCESS) {
    return wrong_type(key, "an array");
  }
  return array;
}

Result<JsonObject> JsonObject::object(std::string_view key) const {
  const std::optional<JsonValue> value = find(key);
  if (!value) return wrong_type(key, "an object");
  return from(*value, cat(path_, ": ", key));
}

Result<char32_t> JsonObject::character(std::string_view key) const {
  ASSIGN_OR_RETURN(const std::string_view text, this->text(key));
  if (!text.empty()) {
    const Utf8Step step = read_utf8(text, 0);
    if (step.kind == Utf8Step::Kind::kValid && step.size == text.size()) return step.character;
  }
  return wrong_type(key, "one character");
}

Result<JsonDocument> JsonDocument::parse(std::string_view text, std::string_view what) {
  JsonDocument document(std::make_unique<simdjson::dom::parser>());
  simdjson::error_code code =
      document.parser_->allocate(text.size(), static_cast<size_t>(kMaxJsonDepth));
  if (code == simdjson::SUCCESS) {
    code = document.parser_->parse(text.data(), text.size(), true).get(document.root_);
  }
  if (code != simdjson::SUCCESS) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what, ": is not valid JSON: ", simdjson::error_message(code)),
                 .what = std::string(what),
                 .wanted = "valid JSON"};
  }
  return document;
}

}  // namespace quern
