// What the engine shows to other threads: copied at the end of each step, so that nobody who looks
// has to wait for one.

#include "engine/engine_snapshot.h"

#include "engine/engine.h"

namespace quern {

/// Makes what other threads may see. Called where nothing is in flight.
void Engine::publish(int64_t now_ns) {
  const StepPlan& plan = scheduler_.plan();
  const std::lock_guard lock(snapshot_mutex_);
  snapshot_.num_pending = pending_.size();
  snapshot_.num_waiting = scheduler_.waiting().size();
  snapshot_.num_running = scheduler_.running().size();
  snapshot_.num_decoding = scheduler_.num_decoding();
  for (int64_t g = 0; g < pool_.num_groups(); ++g) {
    snapshot_.kv_groups[static_cast<size_t>(g)] = {pool_.num_blocks(g), pool_.num_free(g),
                                                   pool_.num_cached(g)};
  }
  snapshot_.stats = stats_;
  snapshot_.scheduler = scheduler_.stats();
  snapshot_.pool = pool_.stats();
  snapshot_.last_progress_ns = now_ns;
  if (!plan.empty()) {
    snapshot_.last_step_tokens = plan.num_tokens();
    snapshot_.last_step_prompt_tokens = plan.num_prompt_tokens();
    snapshot_.last_step_sequences = static_cast<int64_t>(plan.ranges().size());
    snapshot_.last_step_ns = now_ns - step_began_ns_;
    snapshot_.last_step_end_ns = now_ns;
  }
  views_.clear();
  for (const Sequence* at = scheduler_.running().front(); at != nullptr; at = at->next) {
    views_.push_back({.id = at->result.id,
                      .tag = at->request.tag,
                      .slot = at->slot,
                      .priority = at->request.priority,
                      .tenant = at->request.tenant,
                      .is_decoding = at->is_decoding(),
                      .prompt_tokens = at->num_prompt(),
                      .cached_tokens = at->result.cached_tokens,
                      .computed_tokens = at->num_computed,
                      .generated_tokens = at->num_generated(),
                      .max_new_tokens = at->max_new,
                      .num_preemptions = at->result.num_preemptions});
  }
}

EngineSnapshot Engine::snapshot() const {
  EngineSnapshot copy;
  copy.kv_groups.reserve(options_.kv_groups.size());  // not while the engine may have to wait
  {
    const std::lock_guard lock(snapshot_mutex_);
    copy = snapshot_;
  }
  copy.live_requests = load_.requests();
  copy.reserved_tokens = load_.tokens();
  return copy;
}

std::vector<SequenceView> Engine::sequences() const {
  std::vector<SequenceView> copy;
  copy.reserve(static_cast<size_t>(options_.max_num_seqs));
  const std::lock_guard lock(snapshot_mutex_);
  copy = views_;
  return copy;
}

}  // namespace quern
