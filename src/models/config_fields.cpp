#include "models/config_fields.h"

#include <algorithm>
#include <cmath>

#include "base/cat.h"
#include "base/log.h"

namespace quern {

namespace {

/// A value as a message shows it: short.
std::string shown(const Json& value) {
  std::string text = dump_json(value);
  if (text.size() > 60) text = cat(text.substr(0, 57), "...");
  return text;
}

/// "[null,false]" -> "null, false"
std::string listed(const Json& values) {
  std::string out;
  for (const Json& value : values) out += cat(out.empty() ? "" : ", ", dump_json(value));
  return out;
}

}  // namespace

Error bad_field(std::string_view what, std::string_view name, std::string_view found,
                std::string_view wanted) {
  return Error{
      .code = ErrorCode::kBadFile,
      .message = cat(what, ": \"", name, "\" is ", found, ", wanted ", wanted,
                     "; the file is damaged or was written for something else, fetch it again"),
      .what = std::string(name),
      .found = std::string(found),
      .wanted = std::string(wanted)};
}

Error unsupported_field(std::string_view what, std::string_view name, std::string_view found,
                        std::string_view supported, std::string_view architecture) {
  return Error{
      .code = ErrorCode::kUnsupported,
      .message = cat(what, ": \"", name, "\" is ", found, ", which quern does not support for ",
                     architecture, " and which changes the answers; supported: ", supported),
      .what = std::string(name),
      .found = std::string(found),
      .wanted = std::string(supported)};
}

Result<void> read_integer(const JsonFields& fields, std::string_view what, std::string_view name,
                          int64_t min, int64_t max, int64_t& target) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> value, fields.integer(name));
  if (!value) return {};
  if (*value < min || *value > max) {
    return bad_field(what, name, cat(*value), cat("an integer from ", min, " to ", max));
  }
  target = *value;
  return {};
}

Result<void> read_number(const JsonFields& fields, std::string_view what, std::string_view name,
                         double min, double max, double& target) {
  ASSIGN_OR_RETURN(const std::optional<double> value, fields.number(name));
  if (!value) return {};
  if (!(*value >= min && *value <= max)) {  // also refuses NaN
    return bad_field(what, name, cat(*value), cat("a number from ", min, " to ", max));
  }
  target = *value;
  return {};
}

Result<void> read_flag(const JsonFields& fields, std::string_view name, bool& target) {
  ASSIGN_OR_RETURN(const std::optional<bool> value, fields.boolean(name));
  if (value) target = *value;
  return {};
}

const FieldRule* find_rule(std::span<const FieldRule> rules, std::string_view name) {
  const auto rule = std::ranges::find(rules, name, &FieldRule::name);
  return rule == rules.end() ? nullptr : &*rule;
}

Result<void> check_supported(const Json& value, std::string_view name, std::string_view values,
                             std::string_view what, std::string_view architecture) {
  if (values.empty()) return {};
  const Result<Json> supported = parse_json(values, name, ErrorCode::kInternal);
  ENSURE(supported && supported->is_array(), "field rule of ", name);
  if (std::ranges::find(*supported, value) != supported->end()) return {};
  return unsupported_field(what, name, shown(value), listed(*supported), architecture);
}

void warn_unknown_fields(std::string_view what, std::span<const std::string> names,
                         std::string_view architecture) {
  if (names.empty()) return;
  constexpr size_t kShown = 10;
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    list += cat(i == 0 ? "" : ", ", names[i].substr(0, 60));
  }
  if (names.size() > kShown) list += cat(" and ", names.size() - kShown, " more");
  log_warning(cat(what, ": ignores fields that no ", architecture, " is known to use: ", list));
}

}  // namespace quern
