#include "cli/request_flags.h"

#include <algorithm>

#include "base/ensure.h"
#include "base/numbers.h"
#include "engine/request_fields.h"

namespace quern {

namespace {

/// --max-tokens -> max_tokens
std::string field_name(std::string_view flag_name) {
  std::string name(flag_name.substr(2));
  std::ranges::replace(name, '-', '_');
  return name;
}

/// A flag's word as the JSON value that its field takes.
Result<Json> flag_value(std::string_view flag_name, const std::string& word) {
  if (const auto integer = parse_integer<int64_t>(word)) return Json(*integer);
  if (const auto natural = parse_integer<uint64_t>(word)) return Json(*natural);
  if (const auto number = parse_number(word)) return Json(*number);
  return bad_value(flag_name, word, "a number");
}

}  // namespace

Result<Json> read_request_flags(const Arguments& arguments) {
  Json fields = Json::object();
  for (const Flag& f : flags()) {
    // --seed stands with the flags of the model and is a field of the request all the same.
    const bool is_field = f.group == FlagGroup::kRequest || f.name == "--seed";
    if (!is_field || !arguments.has(f.name)) continue;
    const std::string name = field_name(f.name);
    const std::vector<std::string> words = arguments.texts(f.name);
    if (f.kind == FlagKind::kSwitch) {
      fields[name] = true;
    } else if (f.name == "--stop" || f.name == "--bad-words") {
      fields[name] = words;
    } else if (f.name == "--logit-bias") {
      for (const std::string& word : words) {
        const size_t equals = word.find('=');
        if (equals == std::string::npos) return bad_value(f.name, word, "ID=NUMBER");
        ASSIGN_OR_RETURN(fields[name][word.substr(0, equals)],
                         flag_value(f.name, word.substr(equals + 1)));
      }
    } else if (f.kind == FlagKind::kRepeatable) {
      for (const std::string& word : words) {
        ASSIGN_OR_RETURN(Json value, flag_value(f.name, word));
        fields[name].push_back(std::move(value));
      }
    } else {
      ASSIGN_OR_RETURN(fields[name], flag_value(f.name, words.back()));
    }
    // The field's own bounds, said in the flag's name.
    const RequestField* const field = find_request_field(name);
    ENSURE(field != nullptr, name);
    RequestBody probe;
    if (!take_field(*field, fields[name], probe)) {
      return bad_value(f.name, words.back(), field->shape.wanted());
    }
  }
  return fields;
}

}  // namespace quern
