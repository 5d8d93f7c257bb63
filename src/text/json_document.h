#pragma once

#include <simdjson.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

using JsonValue = simdjson::dom::element;
using JsonArray = simdjson::dom::array;

/// One member of a JSON object, or the whole object, read with checks. A member that is null
/// counts as absent. `path` says in messages where the object stands ("tokenizer.json: model").
class JsonObject {
 public:
  /// Fails with kBadFile if `value` is no object or has one key twice.
  static Result<JsonObject> from(JsonValue value, std::string path);

  const std::string& path() const { return path_; }
  std::optional<JsonValue> find(std::string_view key) const;
  Result<JsonValue> value(std::string_view key) const;
  Result<std::string_view> text(std::string_view key) const;
  Result<std::optional<std::string_view>> optional_text(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  Result<bool> boolean(std::string_view key, bool absent) const;
  Result<uint64_t> count(std::string_view key) const;
  Result<JsonArray> array(std::string_view key) const;
  Result<JsonObject> object(std::string_view key) const;
  /// One code point.
  Result<char32_t> character(std::string_view key) const;
  simdjson::dom::object members() const { return object_; }

  Error error(ErrorCode code, std::string message) const;

 private:
  JsonObject(simdjson::dom::object object, std::string path)
      : object_(object), path_(std::move(path)) {}
  Error wrong_type(std::string_view key, std::string_view wanted) const;

  simdjson::dom::object object_;
  std::string path_;
};

/// A parsed JSON text that may be large: tens of megabytes of vocabulary. The only user of
/// simdjson; small files go through base/json.h.
class JsonDocument {
 public:
  /// Strict JSON, at most 128 levels deep, checked as a whole. Fails with kBadFile.
  static Result<JsonDocument> parse(std::string_view text, std::string_view what);
  JsonValue root() const { return root_; }

 private:
  explicit JsonDocument(std::unique_ptr<simdjson::dom::parser> parser)
      : parser_(std::move(parser)) {}

  std::unique_ptr<simdjson::dom::parser> parser_;  // owns what root_ points at
  JsonValue root_;
};

}  // namespace quern
