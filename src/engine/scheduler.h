#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/kv_pool.h"
#include "engine/sequence.h"
#include "engine/step_plan.h"

namespace quern {

struct SchedulerOptions {
  int64_t max_num_seqs = 16;
  int64_t max_num_batched_tokens = 512;  // prompt tokens of a step; decoding ones come on top
  int64_t max_wanted_rows = 16;
  /// Static: a batch is admitted only when the one before has ended; the ladder's baseline.
  bool is_static = false;
  /// A prompt waits a step for the blocks of its prefix that this step computes for somebody else.
  bool prefix_caching = true;
  Faults* faults = nullptr;
};

struct SchedulerStats {
  int64_t preemptions = 0;
  int64_t forced_preemptions = 0;  // by a fault point, part of the above
  int64_t stalled_ranges = 0;      // prefills that got no block in a step
  int64_t prefix_waits = 0;        // admissions put off for blocks that the step computes
};

/// Waiting and running sequences -> the next step. Integers only.
///
/// First come, first served: all running sequences came before all waiting ones, and nobody
/// overtakes. A step takes the one token of each decoding sequence, then prompt tokens in order of
/// arrival up to the budget, then admits. A sequence is admitted if its blocks up to its last
/// known token are there and one for each running sequence besides. When blocks run out, the
/// youngest is taken off and computed again later; its answer stays as it was.
class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, KvPool& pool);

  /// Queues a sequence behind all that came before.
  void add(std::unique_ptr<Sequence> sequence);
  /// Takes it out wherever it is and gives its blocks back.
  std::unique_ptr<Sequence> remove(Sequence& sequence);
  /// Plans the next step; it is empty if there is nothing to do. The plan stays until the next
  /// call.
  StepPlan& schedule(int64_t now_ns);
  /// The sequence of a range, unless it has left its slot since.
  Sequence* owner(const StepRange& range) const;
  /// Starts a running sequence over: the mode without a KV cache.
  void restart(Sequence& sequence);

  Sequence* find(RequestId id) const;
  const SequenceQueue& waiting() const { return waiting_; }
  const SequenceQueue& running() const { return running_; }
  bool empty() const { return waiting_.empty() && running_.empty(); }
  const SchedulerStats& stats() const { return stats_; }
  const StepPlan& plan() const { return plan_; }
  /// Nothing if all is in order, else what is not. For tests.
  std::optional<std::string> check() const;

 private:
  struct Slot {
    Sequence* sequence = nullptr;
    uint64_t generation = 0;  // grows when the slot is left
  };

  void plan_decodes();
  void plan_prefills(int64_t& budget);
  void admit(int64_t& budget, int64_t now_ns);
  bool prefix_is_coming(const Sequence& sequence, int64_t cached, int64_t max_cached) const;
  bool try_admit(Sequence& sequence, int64_t budget, int64_t now_ns);
  bool leaves_headroom(const Sequence& sequence) const;
  bool can_never_be_preempted(const Sequence& sequence) const;
  int64_t within_rows(const Sequence& sequence, int64_t count) const;
  void plan(Sequence& sequence, int64_t count);
  void preempt(Sequence& sequence);
  void take_slot(Sequence& sequence);
  void leave_slot(Sequence& sequence);

  SchedulerOptions options_;
  KvPool& pool_;
  StepPlan plan_;
  SequenceQueue waiting_;
  SequenceQueue running_;
  std::vector<Slot> slots_;
  std::vector<int32_t> free_slots_;
  bool preempted_now_ = false;
  SchedulerStats stats_;
};

}  // namespace quern
