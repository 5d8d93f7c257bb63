#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/answer_text.h"
#include "engine/request.h"
#include "net/event_loop.h"

namespace quern {

/// One token of an answer on its way from the engine to a client.
struct AnswerToken {
  int32_t token_id = 0;
  int64_t time_ns = 0;
  std::optional<float> logprob = std::nullopt;
  std::vector<TokenLogprob> top = {};
};

/// What the engine said of one answer: how far its prompt is, a token, or its end.
struct AnswerEvent {
  uint64_t tag = 0;
  std::string text = {};  // that this event makes certain, often empty
  std::optional<PromptProgress> progress = std::nullopt;
  std::optional<AnswerToken> token = std::nullopt;
  std::unique_ptr<RequestResult> result = nullptr;  // of the last event
};

/// Carries what happens from the engine's thread to the loop's: one wake-up a step, whatever the
/// number of answers.
class Outbox final : public EventSink {
 public:
  class Reader {
   public:
    virtual ~Reader() = default;
    /// On the loop's thread, in the order of happening.
    virtual void on_answer_event(AnswerEvent event) = 0;
  };
  Outbox(EventLoop& loop, Reader& reader) : loop_(loop), reader_(reader) {}

  /// Before the request of that tag is submitted: where its text comes from; may be null.
  void expect(uint64_t tag, std::shared_ptr<AnswerText> text);
  /// A request that was refused after all.
  void forget(uint64_t tag);
  /// Text of a request as its AnswerText gives it, on the engine's thread.
  void on_text(uint64_t tag, std::string_view text);

  void on_prompt_progress(const PromptProgress& progress) override;
  void on_token(const TokenEvent& event) override;
  void on_finished(RequestResult result) override;

 private:
  void push(AnswerEvent event);
  void deliver();

  EventLoop& loop_;
  Reader& reader_;
  uint64_t text_tag_ = 0;  // engine's thread: whose text `text_` is, of the token to come
  std::string text_;

  std::mutex mutex_;
  std::vector<AnswerEvent> events_;
  std::unordered_map<uint64_t, std::shared_ptr<AnswerText>> texts_;
};

}  // namespace quern
