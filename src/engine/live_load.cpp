#include "engine/live_load.h"

#include "base/ensure.h"

namespace quern {

namespace {

/// Adds `amount` unless that would be more than `most`.
bool add_within(std::atomic<int64_t>& total, int64_t amount, int64_t most) {
  int64_t before = total.load();
  do {
    if (before > most - amount) return false;
  } while (!total.compare_exchange_weak(before, before + amount));
  return true;
}

}  // namespace

LiveLoad::Outcome LiveLoad::take(int64_t tokens) {
  ENSURE(tokens >= 0);
  if (!add_within(requests_, 1, max_requests_)) return Outcome::kTooManyRequests;
  if (!add_within(tokens_, tokens, max_tokens_)) {
    requests_.fetch_sub(1);
    return Outcome::kTooManyTokens;
  }
  return Outcome::kTaken;
}

void LiveLoad::give_back(int64_t tokens) {
  const int64_t tokens_before = tokens_.fetch_sub(tokens);
  const int64_t requests_before = requests_.fetch_sub(1);  // last: zero says that all is over
  ENSURE(tokens_before >= tokens && requests_before > 0, "a request gives back more than it took");
}

}  // namespace quern
