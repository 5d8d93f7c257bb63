#include "engine/simulation/history.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "base/cat.h"
#include "base/hash.h"
#include "engine/engine.h"
#include "engine/logprobs.h"
#include "engine/simulation/admission_watch.h"
#include "engine/simulation/hash_executor.h"
#include "engine/simulation/workload.h"

namespace quern {

namespace {

constexpr int64_t kMaxRounds = 20'000;
constexpr int64_t kClockJump = 3'600'000'000'000;  // the machine slept for an hour

/// Moves on a little whenever somebody looks at it, as time does.
class VirtualClock final : public Clock {
 public:
  int64_t now_ns() const override { return now += 7 + (++num_looks % 5) * 11; }
  mutable int64_t now = 0;
  mutable int64_t num_looks = 0;
};

class DrawnFaults final : public Faults {
 public:
  DrawnFaults(uint64_t seed, bool enabled) : draws_(~seed), enabled_(enabled) {}
  bool fire(FaultPoint point) override {
    if (!enabled_) return false;
    switch (point) {
      case FaultPoint::kShortStep:
        return draws_.chance(10);
      case FaultPoint::kPreemptNow:
        return draws_.chance(3);
      case FaultPoint::kEvictNow:
        return draws_.chance(3);
    }
    return false;
  }

 private:
  Draws draws_;
  bool enabled_;
};

/// Runs one history and watches it.
class History final : public EventSink {
 public:
  History(uint64_t seed, PlantedBug planted);
  HistoryOutcome run();

  void on_token(const TokenEvent& event) override;
  void on_finished(RequestResult result) override;

 private:
  enum class Moment { kBetweenSteps, kInFlight };

  void fail(std::string what);
  void trace(std::initializer_list<uint64_t> what);
  void clients_act(Moment moment);
  void submit(Client& client);
  int64_t most_tokens(const Client& client) const;
  int64_t live_requests() const;
  int64_t live_tokens() const;
  void cancel(Client& client);
  void note_who_is_due();
  void check_in_flight();
  void check_invariants();
  void check_liveness();
  void check_end();
  void check_answer(const Client& client, const RequestResult& result);
  void check_logprobs(const Client& client, const RequestResult& result);
  void check_cached(const Client& client, const RequestResult& result);
  void check_account(const RequestResult& result);
  void check_snapshot();
  void check_reset();
  void count_events();

  Draws draws_;
  EngineOptions options_;
  bool with_faults_;
  bool may_reset_;
  DrawnFaults faults_;
  std::vector<Client> clients_;
  VirtualClock clock_;
  HashExecutor executor_;
  std::unique_ptr<Engine> engine_;
  AdmissionWatch admissions_;
  std::map<RequestId, Client*> by_id_;
  int64_t round_ = 0;
  int64_t tokens_out_ = 0;
  int64_t tokens_in_results_ = 0;
  HistoryOutcome outcome_;
};

History::History(uint64_t seed, PlantedBug planted)
    : draws_(seed),
      options_(draw_options(draws_)),
      with_faults_(draws_.chance(50)),
      may_reset_(draws_.chance(20)),
      faults_(seed, with_faults_),
      clients_(draw_clients(draws_, options_)),
      executor_({.vocab_size = options_.vocab_size,
                 .groups = options_.kv_groups,
                 .max_num_seqs = options_.max_num_seqs,
                 .max_batched_tokens = options_.max_num_batched_tokens,
                 .max_wanted_rows = options_.max_wanted_rows}) {
  faults_.planted = planted;
  EngineOptions options = options_;
  options.faults = &faults_;
  engine_ = std::move(Engine::make(executor_, std::move(options), *this, clock_)).value();
}

void History::fail(std::string what) {
  if (!outcome_.violation) outcome_.violation = cat("round ", round_, ": ", what);
}

void History::trace(std::initializer_list<uint64_t> what) {
  std::array<uint64_t, 8> words{};
  std::ranges::copy(what, words.begin());
  outcome_.trace_hash = xxh64(std::as_bytes(std::span(words)), outcome_.trace_hash);
}

HistoryOutcome History::run() {
  const auto all_sent = [&] {
    return std::ranges::all_of(clients_,
                               [&](const Client& client) { return client.submit_round < round_; });
  };
  for (; !outcome_.violation && !(all_sent() && engine_->idle()); ++round_) {
    if (round_ > kMaxRounds) fail("no end in sight");
    clock_.now += draws_.below(4) * 1'000'000;
    if (with_faults_ && draws_.chance(1)) clock_.now += kClockJump;
    clients_act(Moment::kBetweenSteps);
    note_who_is_due();
    admissions_.before(engine_->scheduler());
    if (engine_->launch()) {
      check_in_flight();
      // A planted bug can leave a step that must not be completed.
      if (outcome_.violation) break;
      clients_act(Moment::kInFlight);
      const bool resets = may_reset_ && draws_.chance(2);
      if (resets) engine_->reset_prefix_cache();
      clock_.now += draws_.below(3) * 1'000'000;
      engine_->complete();
      if (resets) check_reset();
      check_invariants();
      check_snapshot();
    } else {
      if (may_reset_ && draws_.chance(2)) engine_->reset_prefix_cache();
      check_snapshot();
      clients_act(Moment::kInFlight);
      clock_.now += 10'000'000;
      check_invariants();
    }
    check_liveness();
  }
  if (!outcome_.violation) check_end();
  count_events();
  return outcome_;
}

void History::clients_act(Moment moment) {
  const bool in_flight = moment == Moment::kInFlight;
  for (Client& client : clients_) {
    if (client.submit_round == round_ && client.submits_in_flight == in_flight) submit(client);
    if (!client.accepted || client.cancels_in_flight != in_flight) continue;
    for (const int64_t after : client.cancel_after) {
      if (client.submit_round + after == round_) cancel(client);
    }
  }
}

void History::submit(Client& client) {
  const bool has_room = live_requests() < options_.max_live_requests &&
                        live_tokens() + most_tokens(client) <= options_.max_live_tokens;
  Result<RequestId> id = engine_->submit(client.request);
  if (!id) {
    ++outcome_.events.refused_requests;
    const bool for_load = id.error().code == ErrorCode::kOverloaded;
    if (for_load) ++outcome_.events.refused_for_load;
    if (client.is_valid != for_load) fail(cat("refused otherwise than due: ", id.error().message));
    if (for_load && has_room) fail(cat("refused although there is room: ", id.error().message));
    return;
  }
  if (!client.is_valid) fail("an invalid request was accepted");
  if (!has_room) fail("a request was accepted beyond what may be live");
  client.id = *id;
  client.accepted = true;
  // One that names no seed gets one of its own, which the engine's seed and its number give.
  client.answer = answer_alone(
      client, client.request.sampling.seed.value_or(random_bits(options_.seed, *id, 1)), options_);
  by_id_[*id] = &client;
  ++outcome_.requests;
}

int64_t History::most_tokens(const Client& client) const {
  const auto num_prompt = static_cast<int64_t>(client.request.prompt.size());
  return std::min(num_prompt + client.request.max_tokens, options_.max_model_len);
}

int64_t History::live_requests() const {
  return std::ranges::count_if(
      clients_, [](const Client& client) { return client.accepted && !client.finished; });
}

int64_t History::live_tokens() const {
  int64_t tokens = 0;
  for (const Client& client : clients_) {
    if (client.accepted && !client.finished) tokens += most_tokens(client);
  }
  return tokens;
}

void History::cancel(Client& client) {
  engine_->cancel(client.id);
  if (client.finished) {
    ++outcome_.events.cancelled_after_the_end;
  } else if (client.cancelled_round < 0) {
    client.cancelled_round = round_;
  }
}

/// Gives each request that has just become due the number of steps it may take: four times its own
/// and those of all who are due with it, and of those who come later and may overtake it. Faults
/// take steps that nobody accounts for.
void History::note_who_is_due() {
  if (with_faults_) return;
  const auto is_due = [&](const Client& client) {
    return client.accepted && !client.finished && client.request.not_before_ns <= clock_.now;
  };
  int64_t all = 0;
  for (const Client& client : clients_) all += is_due(client) ? own_steps(client, options_) : 0;
  for (Client& client : clients_) {
    if (!is_due(client) || client.due_step >= 0) continue;
    client.due_step = engine_->stats().steps;
    client.step_limit = 4 * all + 4;
    for (Client& other : clients_) {
      const bool may_be_overtaken = client.request.tenant != other.request.tenant ||
                                    client.request.priority < other.request.priority;
      if (!is_due(other) || other.due_step < 0 || &other == &client || !may_be_overtaken) continue;
      other.step_limit += 4 * own_steps(client, options_);
    }
  }
}

void History::on_token(const TokenEvent& event) {
  const auto found = by_id_.find(event.id);
  if (found == by_id_.end()) return fail("a token of a request that nobody made");
  Client& client = *found->second;
  trace({1, event.id, static_cast<uint64_t>(event.index), static_cast<uint64_t>(event.token_id)});
  ++tokens_out_;
  const std::string who = cat("request ", event.id);
  if (client.finished) return fail(cat(who, " gets a token after its end"));
  if (event.index != client.num_events++) return fail(cat(who, " gets tokens out of order"));
  if (event.index >= static_cast<int64_t>(client.answer.token_ids.size())) {
    return fail(cat(who, " gets more tokens than alone"));
  }
  const int32_t wanted = client.answer.token_ids[static_cast<size_t>(event.index)];
  if (event.token_id != wanted) {
    fail(cat(who, ", token ", event.index, ": ", event.token_id, ", alone it is ", wanted));
  }
}

void History::on_finished(RequestResult result) {
  const auto found = by_id_.find(result.id);
  if (found == by_id_.end()) return fail("the end of a request that nobody made");
  Client& client = *found->second;
  trace({2, result.id, result.token_ids.size(), static_cast<uint64_t>(result.finish_reason),
         static_cast<uint64_t>(result.cached_tokens), static_cast<uint64_t>(result.miss)});
  if (client.finished) return fail(cat("request ", result.id, " ends twice"));
  client.finished = true;
  tokens_in_results_ += static_cast<int64_t>(result.token_ids.size());
  check_answer(client, result);
  check_logprobs(client, result);
  check_cached(client, result);
  check_account(result);
  if (client.due_step >= 0 && engine_->stats().steps - client.due_step > client.step_limit) {
    fail(cat("L1: request ", result.id, " took ", engine_->stats().steps - client.due_step,
             " steps, ", client.step_limit, " were to be enough"));
  }
}

void History::check_answer(const Client& client, const RequestResult& result) {
  const std::string who = cat("request ", result.id);
  if (static_cast<int64_t>(result.token_ids.size()) != client.num_events) {
    fail(cat("I9: ", who, " was sent ", client.num_events, " tokens, its result has ",
             result.token_ids.size()));
  }
  if (result.finish_reason == FinishReason::kCancelled) {
    if (client.cancelled_round < 0) fail(cat(who, " was cancelled by nobody"));
    return;
  }
  if (result.token_ids != client.answer.token_ids) fail(cat(who, " answers not as alone"));
  if (result.finish_reason != client.answer.finish_reason ||
      result.stop_reason != client.answer.stop_reason) {
    fail(cat(who, " ends for another reason than alone"));
  }
  RareEvents& events = outcome_.events;
  events.stopped_by_id += std::holds_alternative<int32_t>(result.stop_reason) ? 1 : 0;
  events.stopped_by_watcher += std::holds_alternative<std::string>(result.stop_reason) ? 1 : 0;
  events.ended_by_length += result.finish_reason == FinishReason::kLength ? 1 : 0;
  events.scored_prompts += client.request.max_tokens == 0 ? 1 : 0;
}

void History::check_logprobs(const Client& client, const RequestResult& result) {
  std::vector<float> logits(static_cast<size_t>(options_.vocab_size));
  const Request& request = client.request;
  const auto check = [&](const LogprobList& list, size_t first_prefix, size_t count) {
    if (list.tokens.size() != count) {
      return fail(cat("request ", result.id, " has ", list.tokens.size(),
                      " log-probabilities, it should have ", count));
    }
    for (size_t i = 0; i < count; ++i) {
      HashExecutor::fill_logits(client.answer.prefixes[first_prefix + i], logits);
      const TokenLogprob& one = list.tokens[i];
      const float wanted = LogSoftmax(logits).logprob(logits[static_cast<size_t>(one.token_id)]);
      if (one.logprob != wanted) {
        return fail(cat("request ", result.id, ", log-probability ", i, " is another's"));
      }
    }
  };
  if (request.logprobs) check(result.logprobs, request.prompt.size(), result.token_ids.size());
  if (request.prompt_logprobs && result.finish_reason != FinishReason::kCancelled) {
    check(result.prompt_logprobs, 1, request.prompt.size() - 1);
  }
  if (!request.logits_hash) return;
  for (size_t i = 0; i < result.logits_hashes.size(); ++i) {
    HashExecutor::fill_logits(client.answer.prefixes[request.prompt.size() + i], logits);
    if (result.logits_hashes[i] != xxh64(std::as_bytes(std::span(logits)))) {
      return fail(cat("request ", result.id, ", logits hash ", i, " is another's"));
    }
  }
}

/// What a request finds in the cache somebody with the same salt must have had computed.
void History::check_cached(const Client& client, const RequestResult& result) {
  const int64_t cached = result.cached_tokens;
  if (cached == 0) return;
  ++outcome_.events.prefix_hits;
  if (cached >= result.prompt_tokens || cached % kKvBlockTokens != 0) {
    return fail(cat("request ", result.id, " found ", cached, " of its ", result.prompt_tokens,
                    " tokens in the cache"));
  }
  const auto at = static_cast<size_t>(cached);
  for (const Client& other : clients_) {
    if (&other == &client || !other.accepted) continue;
    if (other.request.cache_salt != client.request.cache_salt) continue;
    if (other.answer.prefixes.size() > at &&
        other.answer.prefixes[at] == client.answer.prefixes[at]) {
      return;
    }
  }
  fail(cat("request ", result.id, " found a prefix that nobody with its salt has had"));
}

void History::check_account(const RequestResult& result) {
  const RequestTiming& timing = result.timing;
  const int64_t total = timing.finished_ns - timing.submitted_ns;
  if (timing.accounted_ns() != total) {
    fail(cat("I12: request ", result.id, " took ", total, " ns, its account has ",
             timing.accounted_ns()));
  }
  if (std::min({timing.queue_ns, timing.cache_lookup_ns, timing.prefill_own_ns, timing.others_ns,
                timing.decode_ns, timing.sampling_ns}) < 0) {
    fail(cat("I12: request ", result.id, " has a negative part in its account"));
  }
  if (result.num_preemptions > 0 && timing.others_ns > 0) ++outcome_.events.waits_taken_off;
}

void History::check_snapshot() {
  const EngineSnapshot seen = engine_->snapshot();
  const Scheduler& scheduler = engine_->scheduler();
  if (seen.live_requests != live_requests() || seen.reserved_tokens != live_tokens() ||
      seen.num_pending + seen.num_waiting + seen.num_running != live_requests() ||
      seen.num_waiting != scheduler.waiting().size() ||
      seen.num_running != scheduler.running().size() ||
      seen.stats.steps != engine_->stats().steps) {
    fail("I13: the snapshot is of another engine");
  }
  for (size_t g = 0; g < seen.kv_groups.size(); ++g) {
    const KvGroupCounts& group = seen.kv_groups[g];
    if (group.held() < 0 ||
        group.free + group.cached != engine_->pool().num_available(static_cast<int64_t>(g))) {
      fail(cat("I13: the snapshot miscounts the blocks of group ", g));
    }
  }
  const std::vector<SequenceView> views = engine_->sequences();
  if (static_cast<int64_t>(views.size()) != seen.num_running) {
    fail("I13: the list of sequences is not that of the running ones");
  }
  for (const SequenceView& view : views) {
    const auto found = by_id_.find(view.id);
    if (found == by_id_.end() || view.generated_tokens != found->second->num_events ||
        view.computed_tokens > view.prompt_tokens + view.generated_tokens) {
      fail(cat("I13: request ", view.id, " is shown otherwise than it is"));
    }
  }
}

/// Who has been running since before a reset leaves nothing to be found.
void History::check_reset() {
  for (int64_t g = 0; g < engine_->pool().num_groups(); ++g) {
    if (engine_->pool().num_findable(g) > 0) {
      fail(cat("I14: ", engine_->pool().num_findable(g), " blocks of group ", g,
               " are found after the cache was reset"));
    }
  }
  if (!engine_->scheduler().running().empty()) ++outcome_.events.resets_while_some_run;
}

void History::check_in_flight() {
  const Scheduler& scheduler = engine_->scheduler();
  const KvPool& pool = engine_->pool();
  if (const auto wrong = admissions_.after(scheduler, !options_.static_scheduling)) {
    return fail(cat("I10: ", *wrong));
  }
  int64_t prompt_tokens = 0;
  for (const StepRange& range : scheduler.plan().ranges()) {
    const Sequence* sequence = scheduler.owner(range);
    if (sequence == nullptr) return fail("a planned range has no owner");
    trace({3, range.id, static_cast<uint64_t>(range.first), static_cast<uint64_t>(range.count)});
    if (!sequence->is_decoding()) prompt_tokens += range.count;
    for (int64_t g = 0; g < pool.num_groups(); ++g) {
      for (int64_t position = range.first; position < range.first + range.count; ++position) {
        if (!pool.is_private(range.slot, g, position)) {
          return fail(cat("I4: request ", range.id, " writes position ", position, " of group ", g,
                          " in a block that is not its own"));
        }
      }
    }
  }
  if (prompt_tokens > options_.max_num_batched_tokens) {
    fail(cat("I8: a step of ", prompt_tokens, " prompt tokens"));
  }
  if (options_.max_step_stretch > 0 && prompt_tokens < options_.max_num_batched_tokens &&
      scheduler.plan().num_decoding() > 0) {
    for (const Sequence* at = scheduler.running().front(); at != nullptr; at = at->next) {
      if (at->num_left() > 1 && !at->planned) ++outcome_.events.paced_steps;
    }
  }
  for (int64_t g = 0; g < pool.num_groups(); ++g) {
    if (pool.num_available(g) == 0) ++outcome_.events.last_block_taken;
  }
  if (executor_.violation()) fail(*executor_.violation());
}

void History::check_invariants() {
  if (executor_.violation()) fail(*executor_.violation());
  if (const auto wrong = engine_->pool().check()) fail(cat("I1-I5: ", *wrong));
  if (const auto wrong = engine_->scheduler().check()) fail(cat("I6: ", *wrong));
  if (const auto wrong = admissions_.between(engine_->scheduler())) fail(cat("I10: ", *wrong));
  const int64_t finished = std::ranges::count_if(clients_, &Client::finished);
  if (engine_->idle() != (live_requests() == 0)) {
    fail("I9: idle with live requests, or busy without");
  }
  if (engine_->load().requests() != live_requests() || engine_->load().tokens() != live_tokens()) {
    fail(cat("I11: ", engine_->load().requests(), " requests and ", engine_->load().tokens(),
             " tokens are reserved, ", live_requests(), " and ", live_tokens(), " live"));
  }
  if (engine_->stats().finished != finished) fail("I9: requests are lost or counted twice");
}

void History::check_liveness() {
  for (const Client& client : clients_) {
    if (client.cancelled_round >= 0 && !client.finished && round_ - client.cancelled_round >= 2) {
      fail(cat("L3: request ", client.id, " is still there two rounds after its cancellation"));
    }
  }
  const Scheduler& scheduler = engine_->scheduler();
  std::vector<const SequenceQueue*> queues = {&scheduler.running()};
  for (uint32_t tenant = 0; tenant < options_.max_tenants; ++tenant) {
    queues.push_back(&scheduler.waiting().of(tenant));
  }
  for (const SequenceQueue* queue : queues) {
    for (const Sequence* at = queue->front(); at != nullptr; at = at->next) {
      if (at->fruitless_preemptions > 3) {
        fail(cat("L2: request ", at->result.id, " was preempted ", at->fruitless_preemptions,
                 " times without progress"));
      }
    }
  }
}

void History::check_end() {
  const KvPool& pool = engine_->pool();
  for (int64_t g = 0; g < pool.num_groups(); ++g) {
    if (pool.num_available(g) != pool.num_blocks(g)) {
      fail(cat("I7: ", pool.num_blocks(g) - pool.num_available(g), " blocks of group ", g,
               " are held by nobody"));
    }
  }
  for (const Client& client : clients_) {
    if (client.accepted != client.finished) fail(cat("request ", client.id, " has no end"));
  }
  if (tokens_out_ != tokens_in_results_ || tokens_out_ != engine_->stats().generated_tokens) {
    fail("I9: tokens sent, in results and counted differ");
  }
}

void History::count_events() {
  outcome_.steps = engine_->stats().steps;
  outcome_.tokens = tokens_out_;
  const SchedulerStats& scheduler = engine_->scheduler().stats();
  const KvPoolStats& pool = engine_->pool().stats();
  const EngineStats& engine = engine_->stats();
  RareEvents& events = outcome_.events;
  events.preemptions = scheduler.preemptions - scheduler.forced_preemptions;
  events.forced_preemptions = scheduler.forced_preemptions;
  events.prefix_waits = scheduler.prefix_waits;
  events.stalled_prefills = scheduler.stalled_ranges;
  events.evictions = pool.evictions;
  events.hits_on_a_running_owner = pool.shared_with_owner;
  events.merged_blocks = pool.merged;
  events.window_frees = pool.window_frees;
  events.reservations_refused = pool.ran_out;
  events.cancelled_pending = engine.cancelled_pending;
  events.cancelled_waiting = engine.cancelled_waiting;
  events.cancelled_prefilling = engine.cancelled_prefilling;
  events.cancelled_decoding = engine.cancelled_decoding;
  events.dropped_results = engine.dropped_ranges;
  events.static_histories = options_.static_scheduling ? 1 : 0;
  events.histories_without_cache = options_.no_kv_cache ? 1 : 0;
  events.evictions_over_share = pool.over_share;
  events.prefix_cache_resets = engine.prefix_cache_resets;
  events.contested_admissions = admissions_.num_contested();
  trace({4, static_cast<uint64_t>(outcome_.steps), static_cast<uint64_t>(pool.evictions)});
}

}  // namespace

namespace {

/// Every counter once: its name and where it is.
constexpr std::pair<std::string_view, int64_t RareEvents::*> kCounters[] = {
    {"preemptions", &RareEvents::preemptions},
    {"forced_preemptions", &RareEvents::forced_preemptions},
    {"evictions", &RareEvents::evictions},
    {"prefix_hits", &RareEvents::prefix_hits},
    {"hits_on_a_running_owner", &RareEvents::hits_on_a_running_owner},
    {"prefix_waits", &RareEvents::prefix_waits},
    {"merged_blocks", &RareEvents::merged_blocks},
    {"window_frees", &RareEvents::window_frees},
    {"last_block_taken", &RareEvents::last_block_taken},
    {"reservations_refused", &RareEvents::reservations_refused},
    {"stalled_prefills", &RareEvents::stalled_prefills},
    {"cancelled_pending", &RareEvents::cancelled_pending},
    {"cancelled_waiting", &RareEvents::cancelled_waiting},
    {"cancelled_prefilling", &RareEvents::cancelled_prefilling},
    {"cancelled_decoding", &RareEvents::cancelled_decoding},
    {"dropped_results", &RareEvents::dropped_results},
    {"cancelled_after_the_end", &RareEvents::cancelled_after_the_end},
    {"refused_requests", &RareEvents::refused_requests},
    {"refused_for_load", &RareEvents::refused_for_load},
    {"stopped_by_id", &RareEvents::stopped_by_id},
    {"stopped_by_watcher", &RareEvents::stopped_by_watcher},
    {"ended_by_length", &RareEvents::ended_by_length},
    {"scored_prompts", &RareEvents::scored_prompts},
    {"static_histories", &RareEvents::static_histories},
    {"histories_without_cache", &RareEvents::histories_without_cache},
    {"paced_steps", &RareEvents::paced_steps},
    {"evictions_over_share", &RareEvents::evictions_over_share},
    {"prefix_cache_resets", &RareEvents::prefix_cache_resets},
    {"resets_while_some_run", &RareEvents::resets_while_some_run},
    {"waits_taken_off", &RareEvents::waits_taken_off},
    {"contested_admissions", &RareEvents::contested_admissions},
};

}  // namespace

void RareEvents::add(const RareEvents& other) {
  for (const auto& [name, counter] : kCounters) this->*counter += other.*counter;
}

std::vector<std::pair<std::string_view, int64_t>> RareEvents::named() const {
  std::vector<std::pair<std::string_view, int64_t>> all;
  for (const auto& [name, counter] : kCounters) all.emplace_back(name, this->*counter);
  return all;
}

HistoryOutcome run_history(uint64_t seed, PlantedBug planted) {
  return History(seed, planted).run();
}

}  // namespace quern
