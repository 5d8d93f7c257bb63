#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/philox.h"
#include "engine/request.h"

namespace quern {

/// Random decisions, one after the other, from one seed.
class Draws {
 public:
  explicit Draws(uint64_t seed) : seed_(seed) {}
  int64_t below(int64_t count) {
    return static_cast<int64_t>(random_bits(seed_, next_++) % static_cast<uint64_t>(count));
  }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool chance(int64_t percent) { return below(100) < percent; }

 private:
  uint64_t seed_;
  uint64_t next_ = 0;
};

/// What a request must be answered with, computed from the request alone.
struct SoloAnswer {
  std::vector<int32_t> token_ids;
  FinishReason finish_reason = FinishReason::kLength;
  StopReason stop_reason;
  std::vector<uint64_t> prefixes;  // hash of the first n tokens of prompt and answer, n = 0 ..
};

/// One client of a history: what it asks, when, and when it changes its mind. Times are rounds.
struct Client {
  Request request;
  int64_t stop_after = 0;  // its watcher ends the answer there; 0: it has none
  std::string stop_text;   // its watcher ends the answer with it; empty: it has none
  bool is_valid = true;
  int64_t submit_round = 0;
  bool submits_in_flight = false;     // between the two halves of a step
  std::vector<int64_t> cancel_after;  // rounds after submission
  bool cancels_in_flight = false;
  SoloAnswer answer;

  // What has happened to it.
  RequestId id = 0;
  bool accepted = false;
  bool finished = false;
  int64_t num_events = 0;
  int64_t cancelled_round = -1;
  int64_t due_step = -1;
  int64_t step_limit = 0;
};

/// The answer by the rules, from the model itself: no cache, no batch, no scheduler.
SoloAnswer answer_alone(const Client& client, uint64_t seed, const EngineOptions& options);

EngineOptions draw_options(Draws& draws);
std::vector<Client> draw_clients(Draws& draws, const EngineOptions& options);
/// The most steps that a request alone should need; generous.
int64_t own_steps(const Client& client, const EngineOptions& options);

}  // namespace quern
