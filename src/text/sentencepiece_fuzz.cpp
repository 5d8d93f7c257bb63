#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "text/tokenizer.h"
#include "text/utf8.h"

/// The model, then a text to encode, then one byte with the length of that text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t text_size = std::min<size_t>(data[size - 1], size - 1);
  const size_t model_size = size - 1 - text_size;
  const std::span input(reinterpret_cast<const std::byte*>(data), size);
  const auto tokenizer = quern::Tokenizer::from_sentencepiece(input.first(model_size), "fuzz");
  if (!tokenizer) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + model_size, text_size);
  for (const bool parse_special : {true, false}) {
    const auto ids = tokenizer->encode(text, {.parse_special = parse_special});
    if (ids && !quern::is_utf8(tokenizer->decode(*ids))) __builtin_trap();
  }
  return 0;
}
