#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace quern {

/// What a field of a request may hold, said once: values are checked by it, messages and the API's
/// JSON schema are made of it.
struct FieldShape {
  enum class Kind {
    kAnything,
    kBoolean,
    kInteger,   // low .. high
    kNumber,    // low .. high
    kString,    // of low .. high bytes
    kTokenIds,  // low .. high of them
    kSpecial,   // what `words` and `schema` say; whoever takes the value checks it
  };

  Kind kind = Kind::kAnything;
  double low = 0, high = 0;
  std::string_view words = {};   // of kSpecial
  std::string_view schema = {};  // of kSpecial, JSON

  /// Whether the value is of this shape; of kSpecial always.
  bool holds(const Json& value) const;
  /// "an integer from 0 to 20"
  std::string wanted() const;
  /// JSON Schema, draft 2020-12.
  Json json_schema() const;
};

namespace shape {

constexpr FieldShape anything() { return {}; }
constexpr FieldShape boolean() { return {.kind = FieldShape::Kind::kBoolean}; }
constexpr FieldShape integer(int64_t low, int64_t high) {
  return {.kind = FieldShape::Kind::kInteger,
          .low = static_cast<double>(low),
          .high = static_cast<double>(high)};
}
constexpr FieldShape number(double low, double high) {
  return {.kind = FieldShape::Kind::kNumber, .low = low, .high = high};
}
constexpr FieldShape text(int64_t low, int64_t high) {
  return {.kind = FieldShape::Kind::kString,
          .low = static_cast<double>(low),
          .high = static_cast<double>(high)};
}
constexpr FieldShape token_ids(int64_t low, int64_t high) {
  return {.kind = FieldShape::Kind::kTokenIds,
          .low = static_cast<double>(low),
          .high = static_cast<double>(high)};
}
constexpr FieldShape special(std::string_view words, std::string_view schema) {
  return {.kind = FieldShape::Kind::kSpecial, .words = words, .schema = schema};
}

}  // namespace shape

/// kBadInput: the field, what was found, what was wanted.
Error bad_field(std::string_view name, std::string found, std::string wanted);
/// A value as a message shows it: whole if short.
std::string shown(const Json& value);

}  // namespace quern
