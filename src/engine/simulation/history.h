#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/faults.h"

namespace quern {

/// Things that must happen now and then in a simulation that is worth something.
struct RareEvents {
  int64_t preemptions = 0;
  int64_t forced_preemptions = 0;
  int64_t evictions = 0;
  int64_t prefix_hits = 0;
  int64_t hits_on_a_running_owner = 0;
  int64_t prefix_waits = 0;
  int64_t merged_blocks = 0;
  int64_t window_frees = 0;
  int64_t last_block_taken = 0;  // steps after which some group had no block left
  int64_t reservations_refused = 0;
  int64_t stalled_prefills = 0;
  int64_t cancelled_pending = 0;
  int64_t cancelled_waiting = 0;
  int64_t cancelled_prefilling = 0;
  int64_t cancelled_decoding = 0;
  int64_t dropped_results = 0;  // cancelled while their step was being computed
  int64_t cancelled_after_the_end = 0;
  int64_t refused_requests = 0;
  int64_t refused_for_load = 0;  // part of the above
  int64_t stopped_by_id = 0;
  int64_t stopped_by_watcher = 0;
  int64_t ended_by_length = 0;
  int64_t scored_prompts = 0;
  int64_t static_histories = 0;
  int64_t histories_without_cache = 0;
  int64_t paced_steps = 0;  // with fewer prompt tokens than there are and fit
  int64_t evictions_over_share = 0;
  int64_t prefix_cache_resets = 0;
  int64_t resets_while_some_run = 0;  // with blocks that could be found
  int64_t waits_taken_off = 0;        // requests with time in their account for that
  int64_t contested_admissions = 0;   // while another tenant waited

  void add(const RareEvents& other);
  std::vector<std::pair<std::string_view, int64_t>> named() const;
};

/// One engine's life: a configuration, a workload and faults, all drawn from a seed, in virtual
/// time on one thread, over the executor whose model is a hash of the whole prefix.
struct HistoryOutcome {
  std::optional<std::string> violation;  // nothing: every invariant held, every answer was right
  uint64_t trace_hash = 0;               // of all events and steps; a seed always gives the same
  int64_t steps = 0;
  int64_t requests = 0;
  int64_t tokens = 0;
  RareEvents events;
};
HistoryOutcome run_history(uint64_t seed, PlantedBug planted = PlantedBug::kNone);

}  // namespace quern
