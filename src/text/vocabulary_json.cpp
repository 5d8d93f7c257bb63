#include "text/vocabulary_json.h"

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

}  // namespace quern
