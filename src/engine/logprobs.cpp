#include "engine/logprobs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/ensure.h"

namespace quern {

LogSoftmax::LogSoftmax(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) largest = std::max(largest, logit);
  max_ = double{largest};
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - max_);
  log_sum_ = std::log(sum);
}

float LogSoftmax::logprob(float logit) const {
  return static_cast<float>(double{logit} - max_ - log_sum_);
}

void select_best(std::span<const float> logits, std::span<TokenLogit> best) {
  ENSURE(best.size() <= logits.size());
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  const auto plain = [](float logit) { return logit != logit ? kLowest : logit; };
  // Ascending ids and a strict comparison: of equal logits the lower id stays in front. Few of
  // many: nearly every logit fails the first comparison.
  size_t count = 0;
  for (size_t id = 0; id < logits.size() && !best.empty(); ++id) {
    const float logit = plain(logits[id]);
    if (count == best.size() && !(logit > plain(best[count - 1].logit))) continue;
    size_t place = count < best.size() ? count++ : count - 1;
    for (; place > 0 && logit > plain(best[place - 1].logit); --place)
      best[place] = best[place - 1];
    best[place] = {static_cast<int32_t>(id), logits[id]};
  }
}

void append_logprobs(LogprobList& list, std::span<const float> logits, int32_t token_id) {
  const LogSoftmax softmax(logits);
  list.tokens.push_back({token_id, softmax.logprob(logits[static_cast<size_t>(token_id)])});
  if (list.num_top == 0) return;
  std::array<TokenLogit, kMaxTopLogprobs> best;
  const std::span<TokenLogit> top(best.data(), static_cast<size_t>(list.num_top));
  select_best(logits, top);
  for (const TokenLogit& one : top) {
    list.alternatives.push_back({one.token_id, softmax.logprob(one.logit)});
  }
}

}  // namespace quern
