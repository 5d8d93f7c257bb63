// A SentencePiece model of any content: refused, or it encodes and decodes without harm.

#include <cstdint>
#include <span>

#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tokenizer =
      quern::Tokenizer::from_sentencepiece(std::as_bytes(std::span(data, size)), "fuzz");
  if (!tokenizer) return 0;
  const auto ids = tokenizer->encode(" Hi  there, 12 \xC3\xA9<s> \xff");
  if (ids) (void)tokenizer->decode(*ids);
  return 0;
}
