#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// The one JSON value type: keeps the order of keys. This header is the only includer of the
/// library; large tokenizer files go through text/json_document instead.
using Json = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 128;

/// Parses one strict JSON text: no comments, no trailing bytes, valid UTF-8, no duplicate keys, at
/// most kMaxJsonDepth levels. `what` names the source in the message; `code` is kBadFile for files
/// and kBadInput for what a user typed.
Result<Json> parse_json(std::string_view text, std::string_view what,
                        ErrorCode code = ErrorCode::kBadFile);

/// Receives one JSON text piece by piece. Each function returns false to stop the walk.
class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  virtual bool begin_object() = 0;
  virtual bool end_object() = 0;
  virtual bool begin_array() = 0;
  virtual bool end_array() = 0;
  virtual bool key(std::string key) = 0;
  virtual bool scalar(Json value) = 0;  ///< null, bool, number or string
};

/// Walks a text as strict as parse_json's without building its tree: for files so large that the
/// tree would be many times their size. Duplicate keys are the visitor's to refuse. A walk that the
/// visitor stopped is no error here; the visitor knows why.
Result<void> walk_json(std::string_view text, std::string_view what, JsonVisitor& visitor,
                       ErrorCode code = ErrorCode::kBadFile);

/// One line of JSON without spaces; invalid UTF-8 becomes U+FFFD, a number that is not finite null.
std::string dump_json(const Json& value);

/// Reads typed members of one JSON object. Absent and null are the same: nothing. A member of
/// another type is an error that names it.
class JsonFields {
 public:
  /// `object` must outlive this. `what` leads every message ("config.json").
  JsonFields(const Json& object, std::string what, ErrorCode code = ErrorCode::kBadFile)
      : object_(object), what_(std::move(what)), code_(code) {}

  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// The member, or nullptr if absent or null.
  const Json* find(std::string_view key) const;
  Result<std::optional<int64_t>> integer(std::string_view key) const;
  Result<std::optional<double>> number(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string>> text(std::string_view key) const;
  Error wrong_type(std::string_view key, std::string_view wanted) const;

 private:
  const Json& object_;
  std::string what_;
  ErrorCode code_;
};

}  // namespace quern
