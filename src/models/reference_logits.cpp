#include "models/reference_logits.h"

#include "base/cat.h"
#include "base/file.h"
#include "base/json.h"

namespace quern {

namespace {

constexpr uint64_t kMaxBytes = 1 << 30;

Result<std::vector<int32_t>> read_ids(const JsonFields& fields, std::string_view name) {
  const Json* list = fields.find(name);
  if (list == nullptr || !list->is_array()) return fields.wrong_type(name, "a list of token ids");
  std::vector<int32_t> ids;
  ids.reserve(list->size());
  for (const Json& id : *list) {
    const bool fits = id.is_number_integer() && id >= 0 && id <= INT32_MAX;
    if (!fits) return fields.wrong_type(name, "a list of token ids");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

Result<ReferenceLogits> read_line(std::string_view line, const std::string& what) {
  ASSIGN_OR_RETURN(const Json object, parse_json(line, what));
  if (!object.is_object()) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what, ": holds a JSON value of type ", object.type_name(),
                                ", wanted an object"),
                 .what = what,
                 .wanted = "a JSON object"};
  }
  const JsonFields fields(object, what);
  ReferenceLogits out;
  ASSIGN_OR_RETURN(out.prompt_token_ids, read_ids(fields, "prompt_token_ids"));
  ASSIGN_OR_RETURN(out.greedy, read_ids(fields, "greedy"));
  const Json* logits = fields.find("logits_last");
  if (logits == nullptr || !logits->is_array()) {
    return fields.wrong_type("logits_last", "a list of numbers");
  }
  out.logits_last.reserve(logits->size());
  for (const Json& value : *logits) {
    if (!value.is_number()) return fields.wrong_type("logits_last", "a list of numbers");
    out.logits_last.push_back(static_cast<float>(value.get<double>()));
  }
  ASSIGN_OR_RETURN(const std::optional<double> tolerance, fields.number("tolerance"));
  if (!tolerance) return fields.wrong_type("tolerance", "a number");
  out.tolerance = *tolerance;
  return out;
}

}  // namespace

Result<std::vector<ReferenceLogits>> read_reference_logits(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxBytes));
  std::vector<ReferenceLogits> lines;
  int number = 1;
  for (size_t begin = 0; begin < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (line.empty()) continue;
    ASSIGN_OR_RETURN(ReferenceLogits read, read_line(line, cat(path.string(), ":", number)));
    lines.push_back(std::move(read));
  }
  return lines;
}

}  // namespace quern
