#pragma once

#include <atomic>
#include <cstdint>

namespace quern {

/// What the live requests (accepted and not finished) take together, and how much they may. A
/// request takes its place before it is queued and gives it back once, when it has ended. Any
/// thread; at no time is more taken than allowed, and nobody is refused who would have fitted.
class LiveLoad {
 public:
  LiveLoad(int64_t max_requests, int64_t max_tokens)
      : max_requests_(max_requests), max_tokens_(max_tokens) {}

  enum class Outcome { kTaken, kTooManyRequests, kTooManyTokens };
  Outcome take(int64_t tokens);
  void give_back(int64_t tokens);

  int64_t requests() const { return requests_.load(); }
  int64_t tokens() const { return tokens_.load(); }

 private:
  const int64_t max_requests_;
  const int64_t max_tokens_;
  std::atomic<int64_t> requests_ = 0;
  std::atomic<int64_t> tokens_ = 0;
};

}  // namespace quern
