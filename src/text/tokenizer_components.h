#pragma once

#include <vector>

#include "base/result.h"
#include "text/json_document.h"
#include "text/tokenizer_parts.h"

namespace quern {

// The components of a tokenizer.json. A Sequence becomes the list of what it holds, however deeply
// nested. A component that is unknown or not supported yet is kUnsupported and named; one whose
// fields are wrong is kBadFile. Absent or null: an empty list.

Result<std::vector<Normalizer>> read_normalizers(const JsonObject& tokenizer);
Result<std::vector<PreTokenizer>> read_pre_tokenizers(const JsonObject& tokenizer);
/// An absent decoder puts spaces between tokens.
Result<std::vector<DecoderStep>> read_decoder(const JsonObject& tokenizer);
/// What the post-processor puts around a text.
Result<std::vector<Tokenizer::Parts::Frame>> read_post_processor(const JsonObject& tokenizer);

}  // namespace quern
