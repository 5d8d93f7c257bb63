#include "engine/field_shape.h"

#include <algorithm>
#include <limits>

#include "base/cat.h"
#include "base/ensure.h"

namespace quern {

namespace {

using Kind = FieldShape::Kind;

bool is_integer_in(const Json& value, double low, double high) {
  if (!value.is_number_integer()) return false;
  const double number = value.get<double>();  // bounds are far below where doubles have gaps
  return number >= low && number <= high;
}

bool is_number_in(const Json& value, double low, double high) {
  return value.is_number() && value.get<double>() >= low && value.get<double>() <= high;
}

/// A bound without a fraction as an integer.
std::string bound(double value) {
  return value == static_cast<double>(static_cast<int64_t>(value))
             ? cat(static_cast<int64_t>(value))
             : cat(value);
}

Json bound_json(double value) {
  if (value == static_cast<double>(static_cast<int64_t>(value))) return static_cast<int64_t>(value);
  return value;
}

constexpr double kMostTokenId = std::numeric_limits<int32_t>::max();

}  // namespace

bool FieldShape::holds(const Json& value) const {
  switch (kind) {
    case Kind::kAnything:
    case Kind::kSpecial:
      return true;
    case Kind::kBoolean:
      return value.is_boolean();
    case Kind::kInteger:
      return is_integer_in(value, low, high);
    case Kind::kNumber:
      return is_number_in(value, low, high);
    case Kind::kString: {
      if (!value.is_string()) return false;
      const auto size = static_cast<double>(value.get_ref<const std::string&>().size());
      return size >= low && size <= high;
    }
    case Kind::kTokenIds: {
      const auto size = static_cast<double>(value.size());
      return value.is_array() && size >= low && size <= high &&
             std::ranges::all_of(value,
                                 [](const Json& id) { return is_integer_in(id, 0, kMostTokenId); });
    }
  }
  ENSURE(false, "a shape of no kind");
}

std::string FieldShape::wanted() const {
  switch (kind) {
    case Kind::kAnything:
      return "anything";
    case Kind::kBoolean:
      return "true or false";
    case Kind::kInteger:
      return cat("an integer from ", bound(low), " to ", bound(high));
    case Kind::kNumber:
      return cat("a number from ", bound(low), " to ", bound(high));
    case Kind::kString:
      return cat("a string of ", bound(low), " to ", bound(high), " bytes");
    case Kind::kTokenIds:
      return cat("an array of ", bound(low), " to ", bound(high), " token ids");
    case Kind::kSpecial:
      return std::string(words);
  }
  ENSURE(false, "a shape of no kind");
}

Json FieldShape::json_schema() const {
  switch (kind) {
    case Kind::kAnything:
      return Json::object();
    case Kind::kBoolean:
      return {{"type", "boolean"}};
    case Kind::kInteger:
      return {{"type", "integer"}, {"minimum", bound_json(low)}, {"maximum", bound_json(high)}};
    case Kind::kNumber:
      return {{"type", "number"}, {"minimum", bound_json(low)}, {"maximum", bound_json(high)}};
    case Kind::kString:
      // In characters here; the bound in bytes is in the description.
      return {{"type", "string"}, {"minLength", low > 0 ? 1 : 0}, {"maxLength", bound_json(high)}};
    case Kind::kTokenIds:
      return {{"type", "array"},
              {"items", {{"type", "integer"}, {"minimum", 0}, {"maximum", kMostTokenId}}},
              {"minItems", bound_json(low)},
              {"maxItems", bound_json(high)}};
    case Kind::kSpecial: {
      Result<Json> parsed = parse_json(schema, "schema");
      ENSURE(parsed.has_value(), "a schema that is no JSON: ", schema);
      return *std::move(parsed);
    }
  }
  ENSURE(false, "a shape of no kind");
}

Error bad_field(std::string_view name, std::string found, std::string wanted) {
  return Error{.code = ErrorCode::kBadInput,
               .message = cat("field \"", name, "\": found ", found, ", wanted ", wanted),
               .what = std::string(name),
               .found = std::move(found),
               .wanted = std::move(wanted)};
}

std::string shown(const Json& value) {
  constexpr size_t kMost = 60;
  const std::string text = dump_json(value);
  return text.size() <= kMost ? text : cat(value.type_name(), " of ", text.size(), " bytes");
}

}  // namespace quern
