#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/answer_format.h"
#include "server/service.h"

namespace quern {

/// The answer to one request of a generating route: one or several choices, streamed or whole. It
/// is prepared on a task thread and lives on the loop's; what is long to write is written on a task
/// thread again.
///
///   start -> (task) read, template, tokenise -> submit -> events -> (task) whole -> the last byte
class Answer final : public std::enable_shared_from_this<Answer> {
 public:
  static void start(Service& service, Call call, ApiRoute route);

  Answer(Service& service, Call call, ApiRoute route, uint64_t number);

  void on_event(AnswerEvent event);
  /// Once in a while: a comment line where the stream has been silent for long.
  void keep_alive(int64_t now_ns);
  /// Ends it with an error, wherever it is.
  void fail(const Error& error);

  /// Its number and a choice's index, as the engine's requests carry them.
  static constexpr int kChoiceBits = 8;
  static uint64_t number_of(uint64_t tag) { return tag >> kChoiceBits; }

 private:
  struct Choice {
    PreparedRequest prepared;
    std::string prompt_text;  // with echo
    int32_t first_prompt_id = 0;
    RequestId id = 0;
    bool submitted = false, role_sent = false;
    std::string text;                 // of a stream what has not gone out yet, else all
    std::vector<AnswerToken> tokens;  // likewise
    AnswerUsage usage;
    RequestTiming timing;  // of a stream so far: when its prompt and its tokens were done
    int64_t offset = 0;    // characters of the text before
    std::unique_ptr<RequestResult> result;
  };

  // On a task thread.
  Result<void> prepare();
  Result<void> prepare_choices(RequestBody body, const Json* prompt);

  // On the loop's.
  void go_on(const Result<void>& prepared);
  void submit();
  void client_left();
  void cancel_all();
  void write_pending(Choice& choice, size_t index);
  void write_end(Choice& choice, size_t index);
  void write_progress(Choice& choice, size_t index, const PromptProgress& progress);
  /// A chunk of these choices, and what else it has, by name.
  void write_chunk(Json choices, const Json& more);
  void finish_whole();
  /// The answer that is no stream; all its choices have ended. On either thread: while a task has
  /// it, the loop only reads the choices.
  HttpResponse whole();
  void send(HttpResponse response);
  Json choice_logprobs(Choice& choice, std::span<const AnswerToken> tokens);
  /// What is kept of a stream for a reader who lags.
  size_t held_bytes() const;
  AnswerUsage usage() const;
  void finish_accounting(int status);

  Service& service_;
  Call call_;
  uint64_t number_;
  AnswerFrame frame_;
  ApiRequest request_;
  std::vector<Choice> choices_;
  size_t num_ended_ = 0;
  bool wants_logprobs_ = false;
  bool shows_prompt_logprobs_ = false;
  bool streaming_ = false;  // the head of the stream has gone out
  bool over_ = false;       // no event counts any more
  bool preparing_ = true;   // a task has it: the loop only notes what happens meanwhile
  std::atomic<bool> gone_ = false;
  std::optional<Error> failed_early_;
  int64_t last_write_ns_ = 0;

  // The account.
  int64_t task_begun_ns_ = 0, read_ns_ = 0, template_ns_ = 0, tokenise_ns_ = 0;
  int64_t submitted_ns_ = 0;
};

}  // namespace quern
