#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "engine/request.h"
#include "server/api_request.h"
#include "server/outbox.h"
#include "text/tokenizer.h"

namespace quern {

/// Tokens of one or several answers to one request.
struct AnswerUsage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
};
Json usage_json(const AnswerUsage& usage);

/// The `timings` object of llama.cpp's server, of one answer and its prompt; while it is being
/// written, so far.
Json server_timings_json(const RequestTiming& timing, const AnswerUsage& usage);
/// The same of an answer that has ended, with why its prompt found no more in the cache
/// (`cache_miss`; `cache_diverged_at`: the first token that differs, else null).
Json server_timings_json(const RequestResult& result, const AnswerUsage& usage);
/// Its `prompt_progress` object.
Json prompt_progress_json(const PromptProgress& progress);

/// Log-probabilities of tokens as a chat answer has them: {"content":[..],"refusal":null}.
Json chat_logprobs_json(std::span<const AnswerToken> tokens, const Tokenizer& tokenizer);
/// The same as a completion has them; `offset` counts the characters of text before.
Json completion_logprobs_json(std::span<const AnswerToken> tokens, const Tokenizer& tokenizer,
                              int64_t& offset);
/// The same for the tokens of a prompt, in the shape of `quern run`: the first is null.
Json prompt_logprobs_json(const LogprobList& list, const Tokenizer& tokenizer);

/// A list of log-probabilities as tokens.
std::vector<AnswerToken> answer_tokens(const LogprobList& list);

Json stop_reason_json(const StopReason& reason);

/// What frames every piece of an answer.
struct AnswerFrame {
  ApiRoute route = kChatRoute;
  std::string id;
  int64_t created = 0;
  std::string model;
};
/// {"id","object","created","model","choices"} of a whole answer or of a chunk of one.
Json frame_json(const AnswerFrame& frame, bool is_chunk, Json choices);

/// One server-sent event.
std::string event_text(const Json& data);

}  // namespace quern
