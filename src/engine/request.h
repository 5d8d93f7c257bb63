#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/kv_pool.h"
#include "engine/sampling_params.h"

namespace quern {

/// Counts up from 1; never used again.
using RequestId = uint64_t;

/// Decides on the engine's thread, token by token, whether an answer ends for a reason that is not
/// a token id: a stop string. It sees every token that the engine counts, end tokens excepted.
class TokenWatcher {
 public:
  virtual ~TokenWatcher() = default;
  /// `num_generated` counts this token. What is returned ends the answer and is its stop_reason.
  virtual std::optional<std::string> on_token(int32_t token_id, int64_t num_generated) = 0;
};

/// Gets the raw logits of every prompt token, in order, on the engine's thread: for perplexity.
class PromptRowSink {
 public:
  virtual ~PromptRowSink() = default;
  /// `logits` [V] predict the token at `position` + 1; valid during the call.
  virtual void on_row(int64_t position, std::span<const float> logits) = 0;
};

inline constexpr int32_t kLeastPriority = -1000;
inline constexpr int32_t kMostPriority = 1000;

/// What somebody wants answered. Token ids in, token ids out.
struct Request {
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  int64_t max_tokens = 16;
  int64_t min_tokens = 0;      // no end token and no stop id before
  int64_t max_predict_ns = 0;  // no token more, so long after the first one; 0: no limit
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  std::optional<int32_t> logprobs;         // 0 .. 20 alternatives a generated token
  std::optional<int32_t> prompt_logprobs;  // the same for the prompt
  bool logits_hash = false;
  bool wants_progress = false;  // EventSink::on_prompt_progress
  std::string cache_salt;       // of the prefix-cache tenant
  int32_t priority = 0;         // a lower one is handled earlier; kLeastPriority .. kMostPriority
  uint32_t tenant = 0;          // who asks: service is shared out evenly among those who wait
  int64_t not_before_ns = 0;    // by the engine's clock: counts as submitted then
  uint64_t tag = 0;             // the caller's own, comes back with every event
  std::shared_ptr<TokenWatcher> watcher;
  std::shared_ptr<PromptRowSink> prompt_rows;
};

enum class FinishReason { kStop, kLength, kCancelled };
std::string_view finish_reason_name(FinishReason reason);

/// Why kStop: an end token (nothing), one of stop_token_ids, or a stop string.
using StopReason = std::variant<std::monostate, int32_t, std::string>;

struct TokenLogprob {
  int32_t token_id = 0;
  float logprob = 0;
};

/// Log-probabilities of a run of tokens, each with the same number of alternatives.
struct LogprobList {
  int32_t num_top = 0;
  std::vector<TokenLogprob> tokens;
  std::vector<TokenLogprob> alternatives;  // [tokens, num_top], best first

  std::span<const TokenLogprob> top(size_t token) const {
    return std::span(alternatives)
        .subspan(token * static_cast<size_t>(num_top), static_cast<size_t>(num_top));
  }
};

/// Where a request's time went, by the engine's clock; -1: it never came to that.
struct RequestTiming {
  int64_t submitted_ns = -1;  // or when it was due, if that was later
  int64_t scheduled_ns = -1;
  int64_t first_token_ns = -1;
  int64_t last_token_ns = -1;
  int64_t finished_ns = -1;

  // The account: every nanosecond from submitted_ns to finished_ns is in one of these.
  int64_t queue_ns = 0;         // until it was first admitted
  int64_t cache_lookup_ns = 0;  // finding its prefix in the cache, at each admission
  /// Its share, by tokens, of the steps that computed tokens of its prompt (or of what it had
  /// before a preemption).
  int64_t prefill_own_ns = 0;
  /// The others' share of these steps, and the time in which it had no tokens in a step though it
  /// had been admitted: taken off, short of blocks or of budget.
  int64_t others_ns = 0;
  /// From step to step while it generates: the steps it decodes in, what lies between them, and
  /// giving its tokens away.
  int64_t decode_ns = 0;
  int64_t sampling_ns = 0;  // choosing its tokens, where the executor has not done so

  int64_t accounted_ns() const {
    return queue_ns + cache_lookup_ns + prefill_own_ns + others_ns + decode_ns + sampling_ns;
  }

  std::optional<double> queue_ms() const { return ms(submitted_ns, scheduled_ns); }
  std::optional<double> ttft_ms() const { return ms(submitted_ns, first_token_ns); }
  std::optional<double> prompt_ms() const { return ms(scheduled_ns, first_token_ns); }
  std::optional<double> decode_ms() const { return ms(first_token_ns, last_token_ns); }
  std::optional<double> total_ms() const { return ms(submitted_ns, finished_ns); }
  /// Milliseconds a token after the first; nothing below two tokens.
  std::optional<double> tpot_ms(int64_t num_generated) const;
  /// Prompt tokens a second from being scheduled to the first token, cached ones left out.
  std::optional<double> prompt_per_second(int64_t prompt_tokens, int64_t cached_tokens) const;
  /// Tokens a second after the first; nothing below two tokens.
  std::optional<double> predicted_per_second(int64_t num_generated) const;

 private:
  static std::optional<double> ms(int64_t from_ns, int64_t to_ns);
};

/// The whole story of one request.
struct RequestResult {
  RequestId id = 0;
  uint64_t tag = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  std::vector<int32_t> token_ids;  // generated; a final end token included
  FinishReason finish_reason = FinishReason::kLength;
  StopReason stop_reason;
  LogprobList logprobs;         // per generated token, if wanted
  LogprobList prompt_logprobs;  // per prompt token from the second on, if wanted
  std::vector<uint64_t> logits_hashes;
  RequestTiming timing;
  MissReason miss = MissReason::kOff;
  int64_t miss_diverged_at = 0;
  int64_t num_preemptions = 0;
  uint64_t seed = 0;  // the one that was used
};

struct TokenEvent {
  RequestId id = 0;
  uint64_t tag = 0;
  int64_t index = 0;  // of the answer, from 0
  int32_t token_id = 0;
  int64_t time_ns = 0;
  bool is_end = false;                    // an end token or stop id: it has no part in the text
  const TokenLogprob* logprob = nullptr;  // if wanted; valid during the call, as is `top`
  std::span<const TokenLogprob> top = {};
};

/// How far the prompt of a request is.
struct PromptProgress {
  RequestId id = 0;
  uint64_t tag = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t processed_tokens = 0;  // the cached ones included
  int64_t scheduled_ns = 0;      // as in RequestTiming
  int64_t time_ns = 0;
};

/// Where the engine's thread puts what happens. Must not call back into the engine but for
/// submit() and cancel().
class EventSink {
 public:
  virtual ~EventSink() = default;
  /// Of a request that wants it: what the cache had of its prompt, then after each step in which
  /// more of it was computed than ever before. The last one, before the first token, has all.
  virtual void on_prompt_progress(const PromptProgress&) {}
  virtual void on_token(const TokenEvent& event) = 0;
  /// Exactly once for each accepted request.
  virtual void on_finished(RequestResult result) = 0;
};

}  // namespace quern
