#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/log.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

/// The input is a tokenizer.json, then a zero byte and the text to encode.
void run(std::string_view input) {
  using quern::Tokenizer;
  const size_t zero = input.find('\0');
  const auto tokenizer = Tokenizer::from_tokenizer_json(input.substr(0, zero), "fuzz");
  if (!tokenizer) return;
  const std::string_view text =
      zero == std::string_view::npos ? std::string_view("a b\xC3\xA9 1") : input.substr(zero + 1);
  for (const bool parse_special : {true, false}) {
    const auto ids = tokenizer->encode(text, {.parse_special = parse_special});
    if (!ids) continue;
    for (const auto skip : {quern::SkipSpecial::kNo, quern::SkipSpecial::kYes}) {
      const std::string whole = tokenizer->decode(*ids, skip);
      quern::Detokenizer detokenizer(*tokenizer, skip);
      std::string streamed;
      for (const int32_t id : *ids) streamed += detokenizer.push(id);
      streamed += detokenizer.finish();
      if (streamed != whole || !quern::is_utf8(whole)) __builtin_trap();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quern::set_log_level(quern::LogLevel::kOff);
  run(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
