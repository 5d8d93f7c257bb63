#include "base/json.h"

#include <set>
#include <utility>
#include <vector>

namespace quern {

namespace {

/// The depth at which brackets outside strings nest deepest; the text need not be valid JSON.
int nesting_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

std::string type_of(const Json& value) {
  return value.is_number() ? "a number" : cat("a value of type ", value.type_name());
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what, ErrorCode code) {
  auto refuse = [&](std::string_view why) {
    return Error{.code = code,
                 .message = cat(what, ": is not valid JSON: ", why),
                 .what = std::string(what),
                 .wanted = "valid JSON"};
  };
  if (const int depth = nesting_depth(text); depth > kMaxJsonDepth) {
    return refuse(cat("nested ", depth, " deep, the limit is ", kMaxJsonDepth));
  }
  std::vector<std::set<std::string>> keys;
  std::optional<std::string> duplicate;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) duplicate = key;
    }
    return true;
  };
  try {
    Json value = Json::parse(text.begin(), text.end(), watch);
    if (duplicate) return refuse(cat("the key \"", *duplicate, "\" stands twice in one object"));
    return value;
  } catch (const nlohmann::json::exception& failure) {
    // "[json.exception.parse_error.101] parse error at line 1 ...": the reason starts after "] ".
    const std::string_view full = failure.what();
    const size_t end = full.find("] ");
    return refuse(end == std::string_view::npos ? full : full.substr(end + 2));
  }
}

std::string dump_json(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json* JsonFields::find(std::string_view key) const {
  const auto member = object_.find(key);
  return member == object_.end() || member->is_null() ? nullptr : &*member;
}

Error JsonFields::wrong_type(std::string_view key, std::string_view wanted) const {
  const Json* value = find(key);
  const std::string found = value == nullptr ? "nothing" : type_of(*value);
  return Error{.code = code_,
               .message = cat(what_, ": \"", key, "\" is ", found, ", wanted ", wanted),
               .what = std::string(key),
               .found = found,
               .wanted = std::string(wanted)};
}

Result<std::optional<int64_t>> JsonFields::integer(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<int64_t>();
  if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX}) {
    return wrong_type(key, "an integer that fits in 64 bits");
  }
  if (!value->is_number_integer()) return wrong_type(key, "an integer");
  return std::optional<int64_t>(value->get<int64_t>());
}

Result<std::optional<double>> JsonFields::number(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number()) return wrong_type(key, "a number");
  return std::optional<double>(value->get<double>());
}

Result<std::optional<bool>> JsonFields::boolean(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return wrong_type(key, "true or false");
  return std::optional<bool>(value->get<bool>());
}

Result<std::optional<std::string>> JsonFields::text(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return wrong_type(key, "a string");
  return std::optional<std::string>(value->get<std::string>());
}

}  // namespace quern
