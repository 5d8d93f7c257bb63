#include "text/detokenizer.h"

#include <utility>

#include "text/utf8.h"

namespace quern {

Detokenizer::Detokenizer(Tokenizer tokenizer, SkipSpecial skip, std::span<const int32_t> context)
    : tokenizer_(std::move(tokenizer)), skip_(skip), run_(tokenizer_.decoder_run()) {
  for (const int32_t id : context) {
    if (const auto token = tokenizer_.decoder_input(id, skip_)) run_.add(*token, text_);
  }
  DecoderRun(run_).finish(context_rest_);
}

/// Takes what belongs to the context off the front of text_. Where a later id completed a
/// character that the context had broken off, the whole character is new.
std::string_view Detokenizer::without_context() {
  std::string_view text = text_;
  std::string_view rest = context_rest_;
  while (!text.empty() && !rest.empty()) {
    const uint32_t size = read_utf8(text, 0).size;
    if (text.substr(0, size) != rest.substr(0, size)) {
      rest = std::string_view();
      break;
    }
    text.remove_prefix(size);
    rest.remove_prefix(size);
  }
  context_rest_.erase(0, context_rest_.size() - rest.size());
  return text;
}

std::string_view Detokenizer::push(int32_t id) {
  text_.clear();
  if (const auto token = tokenizer_.decoder_input(id, skip_)) run_.add(*token, text_);
  return without_context();
}

std::string_view Detokenizer::finish() {
  text_.clear();
  run_.finish(text_);
  return without_context();
}

}  // namespace quern
