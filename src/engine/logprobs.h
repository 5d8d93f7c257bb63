#pragma once

#include <cstdint>
#include <span>

#include "engine/request.h"

namespace quern {

/// What turns the logits of a row into log-probabilities: logprob = logit - max - log(sum of
/// exp(logit - max)).
///
/// Order: the sum runs over ascending ids in double, the result is rounded to float once, so equal
/// rows give equal bits wherever they come from.
class LogSoftmax {
 public:
  explicit LogSoftmax(std::span<const float> logits);
  float logprob(float logit) const;

 private:
  double max_;
  double log_sum_;
};

/// The best of `logits`, best first, ties to the lower id: as many as `best` holds. What is not a
/// number is never among them unless nothing else is left.
void select_best(std::span<const float> logits, std::span<TokenLogit> best);

/// Adds `token_id` and the `list.num_top` best alternatives of a row.
void append_logprobs(LogprobList& list, std::span<const float> logits, int32_t token_id);

inline constexpr int32_t kMaxTopLogprobs = 20;

}  // namespace quern
