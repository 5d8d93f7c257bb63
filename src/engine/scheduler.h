#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/kv_pool.h"
#include "engine/sequence.h"
#include "engine/step_plan.h"
#include "engine/waiting_line.h"

namespace quern {

struct SchedulerOptions {
  int64_t max_num_seqs = 16;
  int64_t max_num_batched_tokens = 512;  // prompt tokens of a step; decoding ones come on top
  int64_t max_wanted_rows = 16;
  /// Static: a batch is admitted only when the one before has ended; the ladder's baseline.
  bool is_static = false;
  /// A prompt waits a step for the blocks of its prefix that this step computes for somebody else.
  bool prefix_caching = true;
  int64_t max_tenants = 1;
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
/// Who waits is admitted by priority, then by what his tenant has received, then by arrival
/// (WaitingLine); nobody overtakes who is next. Who runs stays on, but when blocks run out, the
/// last admitted of the least urgent priority is taken off and computed again later; its answer
/// stays as it was. So running sequences stand by priority and then by admission, and each step
/// serves them in that order.
///
/// A step takes the one token of each decoding sequence, then prompt tokens up to the budget, then
/// admits. A sequence is admitted if its blocks up to its last known token are there and one for
/// each running sequence besides. One that was taken off twice without having gained a token is
/// admitted only where it and all who stand before it fit at their largest, and until it has
/// gained one nobody more urgent is admitted who would undo that: it makes progress whatever comes.
class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, KvPool& pool);

  /// Queues a sequence that has just come.
  void add(std::unique_ptr<Sequence> sequence);
  /// Takes it out wherever it is and gives its blocks back.
  std::unique_ptr<Sequence> remove(Sequence& sequence);
  /// Plans the next step with up to `budget` prompt tokens, at most max_num_batched_tokens; it is
  /// empty if there is nothing to do. The plan stays until the next call.
  StepPlan& schedule(const Clock& clock, int64_t budget);
  /// Who takes one token of the next step, if nobody is taken off.
  int64_t num_decoding() const;
  /// Those whose prompt is not computed yet, running or waiting while there are slots for them.
  int64_t num_prompts() const;
  /// The sequence of a range, unless it has left its slot since.
  Sequence* owner(const StepRange& range) const;
  /// Starts a running sequence over: the mode without a KV cache.
  void restart(Sequence& sequence);

  const WaitingLine& waiting() const { return waiting_; }
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
  void admit(int64_t& budget, const Clock& clock);
  bool prefix_is_coming(const Sequence& sequence, int64_t cached, int64_t max_cached) const;
  bool try_admit(Sequence& sequence, int64_t budget, const Clock& clock);
  bool leaves_headroom(const Sequence& sequence) const;
  bool fits_at_largest(const Sequence& sequence, const Sequence* end) const;
  int64_t within_rows(const Sequence& sequence, int64_t count) const;
  void plan(Sequence& sequence, int64_t count);
  void run(std::unique_ptr<Sequence> sequence);
  void preempt(Sequence& sequence);
  void take_slot(Sequence& sequence);
  void leave_slot(Sequence& sequence);

  SchedulerOptions options_;
  KvPool& pool_;
  StepPlan plan_;
  WaitingLine waiting_;
  SequenceQueue running_;  // by priority, then by admission
  uint64_t next_admitted_ = 1;
  std::vector<Slot> slots_;
  std::vector<int32_t> free_slots_;
  bool preempted_now_ = false;
  SchedulerStats stats_;
};

}  // namespace quern
