#include "server/outbox.h"

namespace quern {

void Outbox::expect(uint64_t tag, std::shared_ptr<AnswerText> text) {
  const std::lock_guard lock(mutex_);
  texts_.emplace(tag, std::move(text));
}

void Outbox::forget(uint64_t tag) {
  const std::lock_guard lock(mutex_);
  texts_.erase(tag);
}

void Outbox::on_text(uint64_t tag, std::string_view text) {
  text_tag_ = tag;
  text_ += text;
}

void Outbox::on_prompt_progress(const PromptProgress& progress) {
  push({.tag = progress.tag, .progress = progress});
}

void Outbox::on_token(const TokenEvent& event) {
  AnswerEvent out{.tag = event.tag,
                  .token = AnswerToken{.token_id = event.token_id, .time_ns = event.time_ns}};
  // A token's text is known just before the token itself is told.
  if (!text_.empty() && text_tag_ == event.tag) out.text = std::move(text_);
  text_.clear();
  if (event.logprob != nullptr) {
    out.token->logprob = event.logprob->logprob;
    out.token->top.assign(event.top.begin(), event.top.end());
  }
  push(std::move(out));
}

void Outbox::on_finished(RequestResult result) {
  std::shared_ptr<AnswerText> text;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = texts_.find(result.tag); found != texts_.end()) {
      text = std::move(found->second);
      texts_.erase(found);
    }
  }
  text_.clear();
  if (text != nullptr) text->finish();
  push({.tag = result.tag,
        .text = std::exchange(text_, {}),
        .result = std::make_unique<RequestResult>(std::move(result))});
}

void Outbox::push(AnswerEvent event) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = events_.empty();
    events_.push_back(std::move(event));
  }
  if (first) loop_.post([this] { deliver(); });
}

void Outbox::deliver() {
  std::vector<AnswerEvent> events;
  {
    const std::lock_guard lock(mutex_);
    events.swap(events_);
  }
  for (AnswerEvent& event : events) reader_.on_answer_event(std::move(event));
}

}  // namespace quern
