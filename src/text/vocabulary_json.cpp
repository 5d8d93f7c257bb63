#include "text/vocabulary_json.h"

#include <algorithm>
#include <string>

namespace quern {

namespace {

Error bad_file(std::string_view what, std::string message) {
  return Error{
      .code = ErrorCode::kBadFile, .message = cat(what, ": ", message), .what = std::string(what)};
}

}  // namespace

Result<std::vector<TokenEntry>> read_vocabulary(JsonValue value, std::string_view what) {
  simdjson::dom::object object;
  if (value.get_object().get(object) != simdjson::SUCCESS) {
    return bad_file(what, "the vocabulary is no object of tokens and their ids");
  }
  std::vector<TokenEntry> entries;
  for (const auto member : object) {
    int64_t id = 0;
    if (member.value.get_int64().get(id) != simdjson::SUCCESS) {
      return bad_file(what, cat("token \"", member.key.substr(0, 80), "\" has no integer as id"));
    }
    entries.push_back({member.key, id});
  }
  return entries;
}

Result<MergeTexts> read_merge(std::string_view line, size_t rank, std::string_view what) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    return bad_file(what, cat("merge ", rank, " is \"", line.substr(0, 80),
                              "\", wanted two tokens with one space between them"));
  }
  return MergeTexts{line.substr(0, space), line.substr(space + 1)};
}

Result<std::vector<Merge>> resolve_merges(std::span<const MergeTexts> merges,
                                          const TokenTable& tokens, size_t prefix_bytes,
                                          std::string_view what) {
  if (merges.size() > INT32_MAX) return bad_file(what, "has more than 2^31 merges");
  std::vector<Merge> resolved;
  resolved.reserve(merges.size());
  std::string joined;
  for (const MergeTexts& merge : merges) {
    const auto rank = static_cast<uint32_t>(resolved.size());
    joined.assign(merge.left);
    if (merge.right.size() >= prefix_bytes) joined.append(merge.right.substr(prefix_bytes));
    const int32_t left = tokens.find(merge.left), right = tokens.find(merge.right);
    const int32_t result = tokens.find(joined);
    if (left < 0 || right < 0 || result < 0 || merge.right.size() < prefix_bytes) {
      const std::string_view missing = left < 0 ? merge.left : right < 0 ? merge.right : joined;
      Error error =
          bad_file(what, cat("merge ", rank, " (\"", merge.left.substr(0, 80), "\", \"",
                             merge.right.substr(0, 80), "\") needs the token \"",
                             missing.substr(0, 80), "\", which is not in the vocabulary"));
      error.found = std::string(missing.substr(0, 80));
      return error;
    }
    resolved.push_back({left, right, rank, result});
  }
  return resolved;
}

Result<std::vector<MergeTexts>> read_merge_list(const JsonObject& model) {
  ASSIGN_OR_RETURN(const JsonArray list, model.array("merges"));
  std::vector<MergeTexts> merges;
  for (const JsonValue value : list) {
    std::string_view line;
    if (value.get_string().get(line) == simdjson::SUCCESS) {
      if (line.starts_with("#version")) continue;
      ASSIGN_OR_RETURN(const MergeTexts merge, read_merge(line, merges.size(), model.path()));
      merges.push_back(merge);
      continue;
    }
    JsonArray pair;
    MergeTexts merge;
    if (value.get_array().get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
        pair.at(0).get_string().get(merge.left) != simdjson::SUCCESS ||
        pair.at(1).get_string().get(merge.right) != simdjson::SUCCESS) {
      return model.error(ErrorCode::kBadFile,
                         cat("merge ", merges.size(), " is neither a text nor a pair of texts"));
    }
    merges.push_back(merge);
  }
  return merges;
}

Result<std::vector<MergeTexts>> read_merge_lines(std::string_view text, std::string_view what) {
  std::vector<MergeTexts> merges;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    ASSIGN_OR_RETURN(const MergeTexts merge, read_merge(line, merges.size(), what));
    merges.push_back(merge);
  }
  return merges;
}

}  // namespace quern
