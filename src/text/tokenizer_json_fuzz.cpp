// A tokenizer.json of any content: refused, or it encodes and decodes without harm.

#include <cstdint>
#include <string_view>

#include "text/detokenizer.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = quern::Tokenizer::from_tokenizer_json(json, "fuzz");
  if (!tokenizer) return 0;
  const auto ids = tokenizer->encode("Hi there, 12 \xC3\xA9<s> \xff");
  if (!ids) return 0;
  (void)tokenizer->decode(*ids);
  quern::Detokenizer detokenizer(*tokenizer);
  for (const int32_t id : *ids) (void)detokenizer.push(id);
  (void)detokenizer.finish();
  return 0;
}
