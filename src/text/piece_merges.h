#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/merge_table.h"
#include "text/token_table.h"

namespace quern {

/// A piece of a vocabulary that has scores instead of merges.
struct ScoredPiece {
  std::string_view text;  // valid UTF-8
  int32_t id;
  float score;     // the highest is merged first
  bool is_result;  // whether a merge may make it
  bool is_part;    // whether it may be merged further
};

/// In which order the merges that such a vocabulary implies apply.
enum class MergeOrder {
  kScore,             // SentencePiece: by score, then from left to right
  kScoreThenIds,      // tokenizer.json of Llama: then the pair with the lower ids
  kScoreThenLengths,  // tokenizer.json of Gemma: then the pair with the longer left, right part
};

/// Every way to make a piece of two others: left and right part are pieces, or single characters
/// where `extra_characters` is given; characters that are no pieces are added to it, their ids go
/// on from tokens.id_limit(). Fails with kBadFile where the pieces are absurdly long.
Result<std::vector<Merge>> merges_of_pieces(std::span<const ScoredPiece> pieces, MergeOrder order,
                                            const TokenTable& tokens,
                                            std::vector<std::string>* extra_characters,
                                            std::string_view what);

}  // namespace quern
