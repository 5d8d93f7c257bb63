#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/json_document.h"
#include "text/merge_table.h"
#include "text/token_table.h"

namespace quern {

/// Two neighbours that a merge joins, as texts.
struct MergeTexts {
  std::string_view left, right;
};

/// A vocabulary of the form {"token": id, ...}. The views in the entries are those of the document.
Result<std::vector<TokenEntry>> read_vocabulary(JsonValue value, std::string_view what);

/// "left right"; nothing else than the two texts and one space between them.
Result<MergeTexts> read_merge(std::string_view line, size_t rank, std::string_view what);

/// "merges" of a BPE model in a tokenizer.json: lines or pairs.
Result<std::vector<MergeTexts>> read_merge_list(const JsonObject& model);
/// The text of a merges.txt.
Result<std::vector<MergeTexts>> read_merge_lines(std::string_view text, std::string_view what);

/// The merges by id, ranked in their order. `prefix_bytes` is what the right one loses in front
/// (continuing_subword_prefix). Fails with kBadFile where either, or what they make, is not in the
/// vocabulary.
Result<std::vector<Merge>> resolve_merges(std::span<const MergeTexts> merges,
                                          const TokenTable& tokens, size_t prefix_bytes,
                                          std::string_view what);

}  // namespace quern
