#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/cat.h"
#include "base/ensure.h"

namespace quern {

namespace {

constexpr int64_t kMaxFruitlessPreemptions = 2;

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, KvPool& pool)
    : options_(options),
      pool_(pool),
      plan_({.max_tokens = options.max_num_batched_tokens + options.max_num_seqs,
             .max_sequences = options.max_num_seqs,
             .max_wanted_rows = options.max_wanted_rows},
            pool),
      waiting_(options.max_tenants, options.faults),
      slots_(static_cast<size_t>(options.max_num_seqs)) {
  for (auto slot = static_cast<int32_t>(options.max_num_seqs); slot > 0; --slot) {
    free_slots_.push_back(slot - 1);
  }
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  sequence->move_to(SequenceState::kWaiting);
  waiting_.add(std::move(sequence));
}

std::unique_ptr<Sequence> Scheduler::remove(Sequence& sequence) {
  if (sequence.state != SequenceState::kRunning) return waiting_.remove(sequence);
  if (is_planted(options_.faults, PlantedBug::kDoubleFreeOnCancelInPrefill) &&
      sequence.num_generated() == 0 && !sequence.is_scoring()) {
    pool_.plant_double_free(sequence.slot);
  }
  pool_.close(sequence.slot);
  leave_slot(sequence);
  return running_.remove(sequence);
}

Sequence* Scheduler::owner(const StepRange& range) const {
  const Slot& slot = slots_[static_cast<size_t>(range.slot)];
  return slot.generation == range.generation ? slot.sequence : nullptr;
}

void Scheduler::take_slot(Sequence& sequence) {
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[static_cast<size_t>(sequence.slot)].sequence = &sequence;
}

void Scheduler::leave_slot(Sequence& sequence) {
  Slot& slot = slots_[static_cast<size_t>(sequence.slot)];
  slot.sequence = nullptr;
  ++slot.generation;
  free_slots_.push_back(sequence.slot);
  sequence.slot = Sequence::kNoSlot;
}

int64_t Scheduler::num_decoding() const {
  int64_t count = 0;
  for (const Sequence* at = running_.front(); at != nullptr; at = at->next) {
    count += at->is_decoding() ? 1 : 0;
  }
  return count;
}

int64_t Scheduler::num_prompts() const {
  const auto slots = static_cast<int64_t>(free_slots_.size());
  return running_.size() - num_decoding() + std::min<int64_t>(slots, waiting_.size());
}

StepPlan& Scheduler::schedule(const Clock& clock, int64_t budget) {
  plan_.clear();
  preempted_now_ = false;
  const bool was_empty = running_.empty();
  for (Sequence* at = running_.front(); at != nullptr; at = at->next) at->planned = false;
  if (fires(options_.faults, FaultPoint::kEvictNow)) pool_.evict_oldest();
  if (fires(options_.faults, FaultPoint::kPreemptNow) && running_.size() > 1) {
    ++stats_.forced_preemptions;
    --running_.back()->fruitless_preemptions;
    preempt(*running_.back());
  }

  ENSURE(budget >= 0 && budget <= options_.max_num_batched_tokens);
  if (fires(options_.faults, FaultPoint::kShortStep)) budget = std::min(budget, 1 + budget / 3);
  plan_decodes();
  plan_prefills(budget);
  if (!preempted_now_ && (!options_.is_static || was_empty)) admit(budget, clock);
  return plan_;
}

void Scheduler::plan(Sequence& sequence, int64_t count) {
  // What is computed again after a preemption is nobody's gain, so it is charged once.
  const int64_t end = sequence.num_computed + count;
  const int64_t from = std::max(sequence.num_computed, sequence.num_charged);
  int64_t service = std::max<int64_t>(0, std::min(end, sequence.num_prompt()) - from);
  sequence.num_charged = std::max(from, end);
  plan_.add(sequence, slots_[static_cast<size_t>(sequence.slot)].generation, count, pool_);
  sequence.planned = true;
  if (plan_.ranges().back().samples &&
      !is_planted(options_.faults, PlantedBug::kGeneratedTokensNotCharged)) {
    service += WaitingLine::kServicePerGenerated;
  }
  waiting_.charge(sequence.request.tenant, service);
}

void Scheduler::plan_decodes() {
  for (Sequence* at = running_.front(); at != nullptr; at = at->next) {
    if (!at->is_decoding()) continue;
    while (!pool_.reserve(at->slot, at->num_tokens(), at->num_tokens())) {
      // Whoever stands behind has not been planned yet, so it can still be taken off.
      const bool is_last = running_.back() == at;
      preempt(*running_.back());
      if (is_last) return;
    }
    plan(*at, 1);
  }
}

void Scheduler::plan_prefills(int64_t& budget) {
  for (Sequence* at = running_.front(); at != nullptr && budget > 0; at = at->next) {
    if (at->planned) continue;
    const int64_t wanted = within_rows(*at, std::min(at->num_left(), budget));
    if (wanted == 0) continue;
    // Whole-context blocks were reserved at admission, so only windows can lack some: a shorter
    // chunk will do, and if there is none at all, the last one gives way.
    int64_t end = 0;
    for (;;) {
      end = pool_.reservable_end(at->slot, at->num_computed + wanted);
      Sequence& last = *running_.back();
      if (end > at->num_computed || &last == at || last.planned) break;
      preempt(last);
    }
    if (end <= at->num_computed) {
      ++stats_.stalled_ranges;
      continue;
    }
    const int64_t count = within_rows(*at, end - at->num_computed);
    if (count == 0) continue;
    const bool reserved =
        pool_.reserve(at->slot, at->num_computed + count, at->num_computed + count);
    ENSURE(reserved, "blocks that were there are gone");
    plan(*at, count);
    budget -= count;
  }
}

void Scheduler::admit(int64_t& budget, const Clock& clock) {
  // A static batch takes in whoever has room, even if the budget serves them in later steps only.
  while (!waiting_.empty() && !free_slots_.empty() && (budget > 0 || options_.is_static)) {
    const int64_t before = plan_.num_tokens();
    if (!try_admit(*waiting_.next(), budget, clock)) return;
    budget -= plan_.num_tokens() - before;
  }
}

bool Scheduler::try_admit(Sequence& sequence, int64_t budget, const Clock& clock) {
  // At least the last token is computed, for it is its row that the next one comes from; where
  // rows of the prompt are wanted, all whose rows have not been delivered are.
  int64_t max_cached = sequence.num_tokens() - 1;
  if (is_planted(options_.faults, PlantedBug::kHitLeavesNothingToCompute)) ++max_cached;
  if (sequence.wants_prompt_rows() && sequence.next_prompt_row < sequence.num_prompt() - 1) {
    max_cached = std::min(max_cached, sequence.next_prompt_row);
  }
  take_slot(sequence);
  const int64_t began_ns = clock.now_ns();
  const PrefixMatch match =
      pool_.open(sequence.slot, sequence.tokens, sequence.request.cache_salt, max_cached);
  const int64_t looked_up_ns = clock.now_ns();
  sequence.num_computed = match.tokens;

  const int64_t wanted = within_rows(sequence, std::min(sequence.num_left(), budget));
  const int64_t end = pool_.reservable_end(sequence.slot, match.tokens + wanted);
  const int64_t count = within_rows(sequence, end - match.tokens);
  const bool can_begin = count > 0 || (options_.is_static && budget == 0);
  const bool waits = prefix_is_coming(sequence, match.tokens, max_cached);
  if (waits) ++stats_.prefix_waits;
  if (waits || !can_begin ||
      !pool_.reserve(sequence.slot, match.tokens + count, sequence.num_tokens()) ||
      !leaves_headroom(sequence)) {
    pool_.close(sequence.slot);
    leave_slot(sequence);
    sequence.num_computed = 0;
    return false;
  }

  if (sequence.was_scheduled && is_planted(options_.faults, PlantedBug::kTimeTakenOffIsLost)) {
    sequence.accounted_until_ns = began_ns;
  }
  sequence.spend(sequence.was_scheduled ? &RequestTiming::others_ns : &RequestTiming::queue_ns,
                 began_ns);
  sequence.spend(&RequestTiming::cache_lookup_ns, looked_up_ns);
  if (!sequence.was_scheduled) {
    sequence.was_scheduled = true;
    sequence.result.timing.scheduled_ns = began_ns;
    sequence.result.cached_tokens = match.tokens;
    sequence.result.miss = match.reason;
    sequence.result.miss_diverged_at = match.diverged_at;
  }
  sequence.move_to(SequenceState::kRunning);
  run(waiting_.remove(sequence));
  sequence.planned = false;
  if (count > 0) plan(sequence, count);
  return true;
}

/// Whether this step computes more of its prefix for a sequence that came before: then computing it
/// a second time beside that one would cost more than the step it waits.
bool Scheduler::prefix_is_coming(const Sequence& sequence, int64_t cached,
                                 int64_t max_cached) const {
  if (!options_.prefix_caching || options_.is_static) return false;
  for (const StepRange& range : plan_.ranges()) {
    const Sequence& other = *slots_[static_cast<size_t>(range.slot)].sequence;
    if (other.request.cache_salt != sequence.request.cache_salt) continue;
    if (!pool_.will_be_found(range.slot)) continue;
    const int64_t end = std::min({range.first + range.count, sequence.num_tokens(), max_cached});
    int64_t common = cached;
    while (common < end && other.tokens[static_cast<size_t>(common)] ==
                               sequence.tokens[static_cast<size_t>(common)]) {
      ++common;
    }
    // Equal tokens after different ones are another prefix.
    if (common / kKvBlockTokens * kKvBlockTokens > cached &&
        std::equal(sequence.tokens.begin(), sequence.tokens.begin() + cached,
                   other.tokens.begin())) {
      return true;
    }
  }
  return false;
}

/// How many of `count` tokens fit the rows of logits that this step has left.
int64_t Scheduler::within_rows(const Sequence& sequence, int64_t count) const {
  const int64_t end = sequence.num_computed + count;
  const int64_t rows = plan_.rows_left();
  // Rows of the prompt that are wanted follow one another, up to its last but one token; the row
  // of the last known token is sampled from.
  int64_t wanted = 0;
  if (sequence.wants_prompt_rows()) {
    const int64_t from = std::max(sequence.num_computed, sequence.next_prompt_row);
    const int64_t to = std::min(end, sequence.num_prompt() - 1);
    wanted = std::max<int64_t>(0, to - from);
    if (wanted > rows) return from + rows - sequence.num_computed;
  }
  const bool samples = end == sequence.num_tokens() && !sequence.is_scoring();
  return samples && wanted == rows ? count - 1 : count;
}

/// Whether each running sequence could still take one block, which puts off the next preemption.
bool Scheduler::leaves_headroom(const Sequence& sequence) const {
  if (running_.empty()) return true;
  const auto must_stay = [](const Sequence& one) {
    return one.fruitless_preemptions >= kMaxFruitlessPreemptions;
  };
  const Sequence* behind = running_.front();  // the first who stands behind it
  while (behind != nullptr && behind->request.priority <= sequence.request.priority) {
    behind = behind->next;
  }
  const Sequence* last = nullptr;  // who must stay and stands behind it
  for (const Sequence* at = behind; at != nullptr; at = at->next) {
    if (must_stay(*at)) last = at;
  }
  if (last != nullptr && !fits_at_largest(sequence, last->next)) return false;
  if (must_stay(sequence)) return last != nullptr || fits_at_largest(sequence, behind);
  if (fits_at_largest(sequence, nullptr)) return true;
  for (int64_t g = 0; g < pool_.num_groups(); ++g) {
    if (pool_.num_available(g) < running_.size()) return false;
  }
  return true;
}

/// Whether it and all who run before `end` fit the pool at their largest, each on its own.
bool Scheduler::fits_at_largest(const Sequence& sequence, const Sequence* end) const {
  const int64_t chunk = options_.max_num_batched_tokens;
  for (int64_t g = 0; g < pool_.num_groups(); ++g) {
    const auto worst = [&](const Sequence& one) {
      return worst_case_blocks(pool_.window(g), one.max_kv_tokens(), chunk);
    };
    int64_t needed = worst(sequence);
    for (const Sequence* at = running_.front(); at != end; at = at->next) needed += worst(*at);
    if (needed > pool_.num_blocks(g)) return false;
  }
  return true;
}

void Scheduler::run(std::unique_ptr<Sequence> sequence) {
  sequence->admitted = next_admitted_++;
  Sequence* behind = nullptr;
  for (Sequence* at = running_.back();
       at != nullptr && at->request.priority > sequence->request.priority; at = at->previous) {
    behind = at;
  }
  running_.insert(std::move(sequence), behind);
}

void Scheduler::preempt(Sequence& sequence) {
  ENSURE(!sequence.planned, "request ", sequence.result.id, " is part of the step already");
  if (!is_planted(options_.faults, PlantedBug::kNoReleaseOnPreempt)) pool_.close(sequence.slot);
  leave_slot(sequence);
  sequence.num_computed = 0;
  ++sequence.fruitless_preemptions;
  ++sequence.result.num_preemptions;
  ++stats_.preemptions;
  preempted_now_ = true;
  sequence.move_to(SequenceState::kWaiting);
  waiting_.put_back(running_.remove(sequence));
}

void Scheduler::restart(Sequence& sequence) {
  pool_.close(sequence.slot);
  pool_.open(sequence.slot, sequence.tokens, sequence.request.cache_salt, 0);
  sequence.num_computed = 0;
}

std::optional<std::string> Scheduler::check() const {
  const Sequence* before = nullptr;
  int64_t num_slots = 0;
  for (const Sequence* at = running_.front(); at != nullptr; at = at->next) {
    if (at->state != SequenceState::kRunning) return cat("request ", at->result.id, " runs not");
    if (at->slot < 0 || slots_[static_cast<size_t>(at->slot)].sequence != at) {
      return cat("request ", at->result.id, " runs without a slot of its own");
    }
    if (at->num_computed > at->num_tokens()) {
      return cat("request ", at->result.id, " has more computed than known");
    }
    if (before != nullptr && std::pair(before->request.priority, before->admitted) >=
                                 std::pair(at->request.priority, at->admitted)) {
      return cat("request ", before->result.id, " runs before ", at->result.id,
                 ", which is more urgent or was admitted first");
    }
    const Sequence* waits = waiting_.of(at->request.tenant).front();
    while (waits != nullptr && waits->request.priority < at->request.priority) waits = waits->next;
    if (waits != nullptr && waits->request.priority == at->request.priority &&
        waits->order < at->order) {
      return cat("request ", at->result.id, " runs, ", waits->result.id,
                 ", which came first, waits");
    }
    before = at;
    ++num_slots;
  }
  if (num_slots > options_.max_num_seqs) return cat(num_slots, " sequences run");
  if (num_slots + static_cast<int64_t>(free_slots_.size()) != options_.max_num_seqs) {
    return cat(num_slots, " slots are used, ", free_slots_.size(), " free");
  }
  int64_t num_waiting = 0;
  for (uint32_t tenant = 0; tenant < waiting_.max_tenants(); ++tenant) {
    before = nullptr;
    for (const Sequence* at = waiting_.of(tenant).front(); at != nullptr; at = at->next) {
      ++num_waiting;
      if (at->state != SequenceState::kWaiting || at->slot != Sequence::kNoSlot ||
          at->request.tenant != tenant) {
        return cat("request ", at->result.id, " waits in another state, with a slot or as another");
      }
      if (before != nullptr && std::pair(before->request.priority, before->order) >=
                                   std::pair(at->request.priority, at->order)) {
        return cat("request ", before->result.id, " stands before ", at->result.id,
                   ", which is more urgent or came first");
      }
      before = at;
    }
  }
  if (num_waiting != waiting_.size()) return cat(num_waiting, " wait, counted ", waiting_.size());
  return std::nullopt;
}

}  // namespace quern
