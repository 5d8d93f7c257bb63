#include "engine/answer_text.h"

namespace quern {

AnswerText::AnswerText(Tokenizer tokenizer, std::span<const int32_t> prompt, Options options)
    : detokenizer_(std::move(tokenizer), options.skip, prompt),
      matcher_(std::move(options.stop)),
      min_tokens_(options.min_tokens),
      on_text_(std::move(options.on_text)) {}

std::optional<std::string> AnswerText::on_token(int32_t token_id, int64_t num_generated) {
  const std::string_view piece = detokenizer_.push(token_id);
  give(num_generated <= min_tokens_ ? matcher_.pass(piece) : matcher_.push(piece));
  if (const auto stop = matcher_.stopped_by()) return std::string(*stop);
  return std::nullopt;
}

void AnswerText::finish() {
  if (matcher_.stopped_by()) return;
  give(matcher_.push(detokenizer_.finish()));
  if (!matcher_.stopped_by()) give(matcher_.finish());
}

void AnswerText::give(std::string_view text) {
  if (text.empty()) return;
  text_ += text;
  if (on_text_) on_text_(text);
}

}  // namespace quern
