#pragma once

#include <cstdint>
#include <vector>

#include "engine/kv_pool.h"
#include "engine/request.h"
#include "engine/scheduler.h"

namespace quern {

struct EngineStats {
  int64_t steps = 0;
  int64_t computed_tokens = 0;  // tokens that went through the executor
  int64_t generated_tokens = 0;
  int64_t cached_tokens = 0;  // prompt tokens that the prefix cache spared
  int64_t prompt_tokens = 0;  // of requests that have ended
  int64_t accepted = 0;
  int64_t finished = 0;           // for whatever reason
  int64_t cancelled_pending = 0;  // by the state they were in
  int64_t cancelled_waiting = 0;
  int64_t cancelled_prefilling = 0;
  int64_t cancelled_decoding = 0;
  int64_t dropped_ranges = 0;       // results that came after a cancellation
  int64_t prefix_cache_resets = 0;  // that have taken effect
  /// Where the time of steps went: making the plan, what came in included; the executor; choosing
  /// tokens and giving them away.
  int64_t schedule_ns = 0;
  int64_t forward_ns = 0;
  int64_t deliver_ns = 0;
};

/// The blocks of one KV group.
struct KvGroupCounts {
  int64_t total = 0;
  int64_t free = 0;
  int64_t cached = 0;  // held by nobody, still findable
  int64_t held() const { return total - free - cached; }
};

/// What the engine was like when it last finished a step, or found that there is none to do.
struct EngineSnapshot {
  int64_t live_requests = 0;    // accepted and not finished; as of now
  int64_t reserved_tokens = 0;  // prompts and longest answers of these; as of now
  int64_t num_pending = 0;      // not yet due
  int64_t num_waiting = 0;
  int64_t num_running = 0;
  int64_t num_decoding = 0;  // of the running ones
  std::vector<KvGroupCounts> kv_groups;
  EngineStats stats;
  SchedulerStats scheduler;
  KvPoolStats pool;
  int64_t last_step_tokens = 0;
  int64_t last_step_prompt_tokens = 0;
  int64_t last_step_sequences = 0;
  int64_t last_step_ns = 0;       // what it took
  int64_t last_step_end_ns = -1;  // by the engine's clock; -1: there was none
  /// When the engine last finished a step or found that there was none to do: live requests while
  /// this stays behind for long say that it is stuck.
  int64_t last_progress_ns = -1;
};

/// A running sequence as the last step left it.
struct SequenceView {
  RequestId id = 0;
  uint64_t tag = 0;
  int32_t slot = 0;
  int32_t priority = 0;
  uint32_t tenant = 0;
  bool is_decoding = false;  // else its prompt, or what it had before a preemption, is computed
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, when it was first admitted
  int64_t computed_tokens = 0;
  int64_t generated_tokens = 0;
  int64_t max_new_tokens = 0;
  int64_t num_preemptions = 0;
};

}  // namespace quern
