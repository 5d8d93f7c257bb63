#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace quern {

/// The parts of a tokenizer in the order a text passes them. Every reader of a file format fills
/// one of these; Tokenizer only runs it.
struct Tokenizer::Parts {
  /// The ids around a text: the text itself, or one special token.
  struct Frame {
    bool is_text;
    int32_t id;
  };

  std::string kind;
  std::vector<AddedToken> added_tokens;
  std::vector<Normalizer> normalizers;
  std::vector<PreTokenizer> pre_tokenizers;
  BpeModel model;
  std::vector<Frame> frame;  // empty: the text alone
  std::vector<DecoderStep> decoder;
  std::optional<int32_t> bos, eos;
};

}  // namespace quern
