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

/// "[json.exception.parse_error.101] parse error at line 1 ...": the reason starts after "] ".
std::string_view reason_in(std::string_view full) {
  const size_t end = full.find("] ");
  return end == std::string_view::npos ? full : full.substr(end + 2);
}

std::optional<std::string> too_deep(std::string_view text) {
  const int depth = nesting_depth(text);
  if (depth <= kMaxJsonDepth) return std::nullopt;
  return cat("nested ", depth, " deep, the limit is ", kMaxJsonDepth);
}

Error not_json(std::string_view what, std::string_view why, ErrorCode code) {
  return Error{.code = code,
               .message = cat(what, ": is not valid JSON: ", why),
               .what = std::string(what),
               .wanted = "valid JSON"};
}

/// The library's events handed on to a JsonVisitor, and the library's complaint kept.
class VisitorEvents final : public nlohmann::json_sax<Json> {
 public:
  explicit VisitorEvents(JsonVisitor& visitor) : visitor_(visitor) {}

  bool null() override { return visitor_.scalar(nullptr); }
  bool boolean(bool value) override { return visitor_.scalar(value); }
  bool number_integer(int64_t value) override { return visitor_.scalar(value); }
  bool number_unsigned(uint64_t value) override { return visitor_.scalar(value); }
  bool number_float(double value, const std::string&) override { return visitor_.scalar(value); }
  bool string(std::string& value) override { return visitor_.scalar(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // no JSON text has any
  bool start_object(size_t) override { return visitor_.begin_object(); }
  bool key(std::string& value) override { return visitor_.key(std::move(value)); }
  bool end_object() override { return visitor_.end_object(); }
  bool start_array(size_t) override { return visitor_.begin_array(); }
  bool end_array() override { return visitor_.end_array(); }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& failure) override {
    complaint_ = reason_in(failure.what());
    return false;
  }

  const std::optional<std::string>& complaint() const { return complaint_; }

 private:
  JsonVisitor& visitor_;
  std::optional<std::string> complaint_;
};

/// Builds the tree of a text. Members are added at the end of their object, whose own insertion
/// would search all the earlier ones each time.
class TreeBuilder final : public JsonVisitor {
 public:
  bool begin_object() override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool begin_array() override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool key(std::string key) override {
    if (!open_.back().keys.insert(key).second) {
      duplicate_ = key.substr(0, kMostShown);
      return false;
    }
    key_ = std::move(key);
    return true;
  }
  bool scalar(Json value) override {
    add(std::move(value));
    return true;
  }

  const std::optional<std::string>& duplicate() const { return duplicate_; }
  Json take() { return std::move(root_); }

 private:
  static constexpr size_t kMostShown = 80;

  struct Open {
    Json* value;  // stays where it is: nothing joins its parent before it is closed
    std::set<std::string> keys = {};
  };

  bool open(Json value) {
    open_.push_back({add(std::move(value))});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  Json* add(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    Json& parent = *open_.back().value;
    if (parent.is_array()) return &parent.get_ref<Json::array_t&>().emplace_back(std::move(value));
    Json::object_t::Container& members = parent.get_ref<Json::object_t&>();
    return &members.emplace_back(std::move(key_), std::move(value)).second;
  }

  Json root_;
  std::vector<Open> open_;
  std::string key_;
  std::optional<std::string> duplicate_;
};

}  // namespace

Result<void> walk_json(std::string_view text, std::string_view what, JsonVisitor& visitor,
                       ErrorCode code) {
  if (const auto why = too_deep(text)) return not_json(what, *why, code);
  VisitorEvents events(visitor);
  try {
    Json::sax_parse(text.begin(), text.end(), &events);
  } catch (const nlohmann::json::exception& failure) {
    return not_json(what, reason_in(failure.what()), code);
  }
  if (events.complaint()) return not_json(what, *events.complaint(), code);
  return {};
}

Result<Json> parse_json(std::string_view text, std::string_view what, ErrorCode code) {
  TreeBuilder tree;
  RETURN_IF_ERROR(walk_json(text, what, tree, code));
  if (tree.duplicate()) {
    return not_json(what, cat("the key \"", *tree.duplicate(), "\" stands twice in one object"),
                    code);
  }
  return tree.take();
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
