#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quern {

/// What a SentencePiece model lists, in its own numbers.
struct SentencePieceList {
  struct Piece {
    std::string text;
    float score;
    int32_t type;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  };
  std::vector<Piece> pieces;
  bool add_dummy_prefix, remove_extra_whitespaces;
};

/// Reads it from the bytes of a tokenizer.model that Tokenizer::from_sentencepiece() takes, too.
Result<SentencePieceList> read_sentencepiece_list(std::span<const std::byte> bytes,
                                                  std::string_view what);

}  // namespace quern
