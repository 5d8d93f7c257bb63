#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "text/decoder.h"
#include "text/tokenizer.h"

namespace quern {

/// Decodes token by token for streaming. Each push gives the text that no later token can change:
/// never a part of a character. All pushes and finish() together give decode() of all the ids.
class Detokenizer {
 public:
  /// `context` is what stands before the first pushed id (the prompt, or its last few ids): its
  /// text is not given, but a space that decoding drops at the very front of a text then stays,
  /// and a character that the context began is completed.
  explicit Detokenizer(Tokenizer tokenizer, SkipSpecial skip = SkipSpecial::kYes,
                       std::span<const int32_t> context = {});

  /// The text that this id makes certain, often empty; valid until the next call. An id outside
  /// the vocabulary has no text.
  std::string_view push(int32_t id);
  /// The rest. After it the detokenizer is used up.
  std::string_view finish();

 private:
  std::string_view without_context();

  Tokenizer tokenizer_;
  SkipSpecial skip_;
  DecoderRun run_;
  std::string text_;
  std::string context_rest_;  // text of the context that run_ still holds and will give
};

}  // namespace quern
