#pragma once

#include <string_view>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"

namespace quern {

/// The vocabulary in a GGUF file's metadata; its views live as long as `checkpoint`. kNotFound
/// where the file carries none, kBadFile where a list has another type than it must.
Result<GgufVocabulary> read_gguf_vocabulary(const Checkpoint& checkpoint, std::string_view what);

/// The tokenizer that vocabulary makes.
Result<Tokenizer> open_gguf_tokenizer(const Checkpoint& checkpoint, std::string_view what);

}  // namespace quern
