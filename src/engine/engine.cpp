#include "engine/engine.h"

#include <algorithm>
#include <bit>
#include <chrono>

#include "base/cat.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "engine/logprobs.h"
#include "engine/philox.h"

namespace quern {

namespace {

static_assert(std::endian::native == std::endian::little, "logits_hash is over little-endian rows");

constexpr size_t kMaxStopIds = 1024;

KvPoolOptions pool_options(const EngineOptions& options) {
  return {.groups = options.kv_groups,
          .max_sequences = options.max_num_seqs,
          .max_model_len = options.max_model_len,
          .prefix_caching = options.prefix_caching && !options.no_kv_cache,
          .max_salt_share = options.max_salt_share,
          .hash_key = options.hash_key,
          .faults = options.faults};
}

SchedulerOptions scheduler_options(const EngineOptions& options) {
  return {.max_num_seqs = options.max_num_seqs,
          .max_num_batched_tokens = options.max_num_batched_tokens,
          .max_wanted_rows = options.max_wanted_rows,
          .is_static = options.static_scheduling,
          .prefix_caching = options.prefix_caching && !options.no_kv_cache,
          .max_tenants = options.max_tenants,
          .faults = options.faults};
}

Error bad_field(std::string_view field, int64_t found, std::string_view wanted) {
  return Error{
      ErrorCode::kBadInput, cat(field, " is ", found, ", it must be ", wanted, "; change it"),
      std::string(field),   cat(found),
      std::string(wanted),  "change the value"};
}

bool contains(std::span<const int32_t> ids, int32_t id) {
  return std::ranges::find(ids, id) != ids.end();
}

}  // namespace

EngineOptions engine_options(const Program& program, const ExecShape& shape) {
  ENSURE(shape.kv_blocks.size() == program.kv_groups.size());
  EngineOptions options{.vocab_size = program.vocab_size,
                        .max_model_len = shape.max_model_len,
                        .max_num_seqs = shape.max_num_seqs,
                        .max_num_batched_tokens = shape.max_batched_tokens,
                        .max_wanted_rows = shape.max_wanted_rows,
                        .no_kv_cache = shape.no_kv_cache};
  for (size_t g = 0; g < program.kv_groups.size(); ++g) {
    options.kv_groups.push_back({shape.kv_blocks[g], program.kv_groups[g].window});
  }
  return options;
}

std::vector<int64_t> kv_blocks_for(const Program& program, int64_t max_model_len,
                                   int64_t max_num_seqs, int64_t max_num_batched_tokens) {
  std::vector<int64_t> blocks;
  for (const KvGroup& group : program.kv_groups) {
    const int64_t alone = worst_case_blocks(group.window, max_model_len, max_num_batched_tokens);
    // The prompt tokens of one step are shared out, so only one chunk's worth comes on top of
    // what each sequence holds while it decodes, and a block each for a chunk's uneven ends.
    const int64_t decoding = worst_case_blocks(group.window, max_model_len, 1) + 1;
    const int64_t chunk = group.window == 0 ? 0 : max_num_batched_tokens / kKvBlockTokens + 1;
    blocks.push_back(
        std::max(alone, std::min(max_num_seqs * alone, max_num_seqs * decoding + chunk)));
  }
  return blocks;
}

Result<void> check_prompt_length(int64_t length, int64_t max_model_len) {
  if (length <= max_model_len) return {};
  return Error{ErrorCode::kDoesNotFit,
               cat("the prompt has ", length, " tokens, the context holds ", max_model_len,
                   "; shorten the prompt or raise --max-model-len"),
               "prompt",
               cat(length, " tokens"),
               cat("at most ", max_model_len),
               "shorten the prompt or raise --max-model-len"};
}

int64_t engine_bytes(const EngineOptions& options) {
  const int64_t table_blocks = (options.max_model_len + kKvBlockTokens - 1) / kKvBlockTokens;
  return KvPool::bytes(pool_options(options)) + Sampler::bytes(options.vocab_size) +
         StepPlan::bytes({.max_tokens = options.max_num_batched_tokens + options.max_num_seqs,
                          .max_sequences = options.max_num_seqs,
                          .max_wanted_rows = options.max_wanted_rows},
                         static_cast<int64_t>(options.kv_groups.size()), table_blocks) +
         WaitingLine::bytes(options.max_tenants) + StepPacer::bytes(options.max_num_seqs) +
         SequenceIndex::bytes();
}

Result<std::unique_ptr<Engine>> Engine::make(Executor& executor, EngineOptions options,
                                             EventSink& sink, const Clock& clock) {
  ENSURE(options.vocab_size > 0 && options.max_model_len > 0 && options.max_num_seqs > 0 &&
         options.max_num_batched_tokens > 0 && !options.kv_groups.empty());
  ENSURE(options.max_wanted_rows >= options.max_num_seqs && options.max_tenants > 0);
  const Capabilities& able = executor.capabilities();
  if (!able.paged_kv) {
    return Error{ErrorCode::kUnsupported,
                 "this executor keeps the cache of a sequence in one piece; the engine needs one "
                 "in blocks; choose another with --executor"};
  }
  if (able.max_ranges < options.max_num_seqs) {
    return Error{ErrorCode::kUnsupported,
                 cat("this executor runs ", able.max_ranges, " sequences at once, --max-num-seqs ",
                     "asks for ", options.max_num_seqs, "; lower --max-num-seqs"),
                 "--max-num-seqs",
                 cat(options.max_num_seqs),
                 cat("at most ", able.max_ranges),
                 "lower --max-num-seqs"};
  }
  for (const KvGroupSize& group : options.kv_groups) {
    const int64_t needed = worst_case_blocks(group.window, options.max_model_len, 1);
    if (group.num_blocks >= needed) continue;
    return Error{ErrorCode::kDoesNotFit,
                 cat("one sequence of ", options.max_model_len, " tokens needs ", needed,
                     " blocks of keys and values, there are ", group.num_blocks,
                     "; lower --max-model-len or raise --memory-limit"),
                 "--max-model-len",
                 cat(group.num_blocks, " blocks"),
                 cat(needed, " blocks"),
                 "lower --max-model-len or raise --memory-limit"};
  }
  return std::unique_ptr<Engine>(new Engine(executor, std::move(options), sink, clock));
}

Engine::Engine(Executor& executor, EngineOptions options, EventSink& sink, const Clock& clock)
    : executor_(executor),
      options_(std::move(options)),
      sink_(sink),
      clock_(clock),
      pool_(pool_options(options_)),
      scheduler_(scheduler_options(options_), pool_),
      pacer_({.max_stretch = options_.max_step_stretch,
              .max_prompt_tokens = options_.max_num_batched_tokens,
              .max_sequences = options_.max_num_seqs}),
      sampler_(options_.vocab_size),
      load_(options_.max_live_requests, options_.max_live_tokens) {
  snapshot_.kv_groups.resize(options_.kv_groups.size());
  views_.reserve(static_cast<size_t>(options_.max_num_seqs));
  publish(-1);
}

// -- What comes in, on any thread ---------------------------------------------------------------

Result<void> Engine::check_tokens(std::span<const int32_t> ids, std::string_view field) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < options_.vocab_size) continue;
    return bad_field(cat(field, "[", i, "]"), ids[i],
                     cat("a token id from 0 to ", options_.vocab_size - 1));
  }
  return {};
}

Result<void> Engine::check(const Request& request) const {
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length == 0) {
    return Error{ErrorCode::kBadInput,
                 "the prompt has no tokens, the model needs one to begin from; give it some text",
                 "prompt",
                 "0 tokens",
                 "at least 1 token",
                 "give it some text"};
  }
  RETURN_IF_ERROR(check_prompt_length(length, options_.max_model_len));
  RETURN_IF_ERROR(check_tokens(request.prompt, "prompt"));
  RETURN_IF_ERROR(check_tokens(request.stop_token_ids, "stop_token_ids"));
  RETURN_IF_ERROR(check_sampling(request.sampling, options_.vocab_size));
  if (request.stop_token_ids.size() > kMaxStopIds) {
    return bad_field("number of stop_token_ids",
                     static_cast<int64_t>(request.stop_token_ids.size()), "at most 1024");
  }
  if (request.max_tokens < 0) return bad_field("max_tokens", request.max_tokens, "0 or more");
  if (request.min_tokens < 0 || request.min_tokens > request.max_tokens) {
    return bad_field("min_tokens", request.min_tokens,
                     cat("from 0 to max_tokens, which is ", request.max_tokens));
  }
  for (const auto& [field, wanted] : {std::pair{"logprobs", request.logprobs},
                                      std::pair{"prompt_logprobs", request.prompt_logprobs}}) {
    const int64_t most = std::min<int64_t>(kMaxTopLogprobs, options_.vocab_size);
    if (wanted && (*wanted < 0 || *wanted > most)) {
      return bad_field(field, *wanted, cat("from 0 to ", most));
    }
  }
  if (request.priority < kLeastPriority || request.priority > kMostPriority) {
    return bad_field("priority", request.priority,
                     cat("from ", kLeastPriority, " to ", kMostPriority));
  }
  if (request.tenant >= options_.max_tenants) {
    return bad_field("tenant", request.tenant, cat("from 0 to ", options_.max_tenants - 1));
  }
  if (static_cast<int64_t>(request.cache_salt.size()) > KvPool::kMaxSaltBytes) {
    return bad_field("length of cache_salt", static_cast<int64_t>(request.cache_salt.size()),
                     cat("at most ", KvPool::kMaxSaltBytes, " bytes"));
  }
  return {};
}

/// What a request of so many tokens takes of what may be live at once.
Result<void> Engine::take_place(int64_t tokens) {
  if (tokens > options_.max_live_tokens) {
    return Error{ErrorCode::kDoesNotFit,
                 cat("prompt and answer may come to ", tokens, " tokens, all requests together to ",
                     options_.max_live_tokens, "; lower max_tokens or shorten the prompt"),
                 "max_tokens",
                 cat(tokens, " tokens"),
                 cat("at most ", options_.max_live_tokens),
                 "lower max_tokens or shorten the prompt"};
  }
  const auto full = [](int64_t most, std::string_view what) {
    return Error{ErrorCode::kOverloaded,
                 cat("the queue is full: ", most, " ", what,
                     " are the most that are answered or wait at once; try again later"),
                 "queue",
                 cat(most, " ", what),
                 std::nullopt,
                 "try again later"};
  };
  switch (load_.take(tokens)) {
    case LiveLoad::Outcome::kTaken:
      break;
    case LiveLoad::Outcome::kTooManyRequests:
      return full(options_.max_live_requests, "requests");
    case LiveLoad::Outcome::kTooManyTokens:
      return full(options_.max_live_tokens, "tokens");
  }
  return {};
}

Result<RequestId> Engine::submit(Request request) {
  RETURN_IF_ERROR(check(request));
  const auto num_prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t max_new = std::min(request.max_tokens, options_.max_model_len - num_prompt);
  RETURN_IF_ERROR(take_place(num_prompt + max_new));
  const RequestId id = next_id_.fetch_add(1);
  const RequestId stream = is_planted(options_.faults, PlantedBug::kSeedShared) ? 0 : id;
  const uint64_t seed = request.sampling.seed.value_or(random_bits(options_.seed, stream, 1));
  auto sequence = std::make_unique<Sequence>(id, std::move(request), max_new, seed);
  sequence->result.timing.submitted_ns = std::max(clock_.now_ns(), sequence->request.not_before_ns);
  sequence->accounted_until_ns = sequence->result.timing.submitted_ns;
  {
    const std::lock_guard lock(inbox_mutex_);
    submitted_.push_back(std::move(sequence));
  }
  inbox_filled_.notify_one();
  return id;
}

void Engine::cancel(RequestId id) {
  {
    const std::lock_guard lock(inbox_mutex_);
    cancelled_.push_back(id);
  }
  inbox_filled_.notify_one();
}

void Engine::reset_prefix_cache() {
  {
    const std::lock_guard lock(inbox_mutex_);
    ++resets_wanted_;
  }
  inbox_filled_.notify_one();
}

// -- The engine's thread ------------------------------------------------------------------------

void Engine::take_inbox() {
  SequenceQueue submitted;
  int64_t resets = 0;
  cancelling_.clear();
  {
    const std::lock_guard lock(inbox_mutex_);
    while (!submitted_.empty()) submitted.push_back(submitted_.remove(*submitted_.front()));
    cancelling_.swap(cancelled_);
    std::swap(resets, resets_wanted_);
  }
  if (resets > 0) pool_.forget_prefixes();
  stats_.prefix_cache_resets += resets;
  while (!submitted.empty()) accept(submitted.remove(*submitted.front()));
  for (const RequestId id : cancelling_) cancel_now(id);
  queue_what_is_due();
}

void Engine::accept(std::unique_ptr<Sequence> sequence) {
  ++stats_.accepted;
  live_.add(*sequence);
  const int64_t due = sequence->request.not_before_ns;
  Sequence* later =
      nullptr;  // who becomes due after it; looked for from the end, where it mostly is
  for (Sequence* at = pending_.back(); at != nullptr && at->request.not_before_ns > due;
       at = at->previous) {
    later = at;
  }
  pending_.insert(std::move(sequence), later);
}

void Engine::queue_what_is_due() {
  const int64_t now = clock_.now_ns();
  while (!pending_.empty() && pending_.front()->request.not_before_ns <= now) {
    std::unique_ptr<Sequence> sequence = pending_.remove(*pending_.front());
    sequence->order = next_order_++;
    if (sequence->is_scoring() && !sequence->wants_prompt_rows()) {
      finish(std::move(sequence), FinishReason::kLength);  // nothing is wanted of it
    } else {
      scheduler_.add(std::move(sequence));
    }
  }
}

void Engine::cancel_now(RequestId id) {
  Sequence* sequence = live_.find(id);
  if (sequence == nullptr) return;  // it has ended, or never was
  if (sequence->state == SequenceState::kPending) {
    ++stats_.cancelled_pending;
    return finish(pending_.remove(*sequence), FinishReason::kCancelled);
  }
  if (sequence->state == SequenceState::kWaiting) {
    ++stats_.cancelled_waiting;
  } else {
    ++(sequence->is_decoding() ? stats_.cancelled_decoding : stats_.cancelled_prefilling);
  }
  finish(scheduler_.remove(*sequence), FinishReason::kCancelled);
}

bool Engine::step() {
  if (!launch()) return false;
  complete();
  return true;
}

bool Engine::launch() {
  ENSURE(!in_flight_);
  step_began_ns_ = clock_.now_ns();
  take_inbox();
  const int64_t budget = pacer_.budget(scheduler_.num_decoding(), scheduler_.num_prompts());
  StepPlan& plan = scheduler_.schedule(clock_, budget);
  step_planned_ns_ = clock_.now_ns();
  if (plan.empty()) {
    publish(step_planned_ns_);
    return false;
  }
  ticket_ = executor_.submit(plan.batch());
  in_flight_ = true;
  return true;
}

void Engine::complete() {
  ENSURE(in_flight_);
  const StepResult& result = executor_.wait(ticket_);
  const int64_t computed_ns = clock_.now_ns();
  in_flight_ = false;
  // Cancellations count from here on: the blocks of who is gone are free, its results are dropped.
  take_inbox();
  const StepPlan& plan = scheduler_.plan();
  ++stats_.steps;
  stats_.computed_tokens += plan.num_tokens();
  for (const StepRange& range : plan.ranges()) process(range, result, computed_ns);
  const int64_t now = clock_.now_ns();
  stats_.schedule_ns += step_planned_ns_ - step_began_ns_;
  stats_.forward_ns += computed_ns - step_planned_ns_;
  stats_.deliver_ns += now - computed_ns;
  pacer_.learn(plan.num_decoding(), plan.num_prompt_tokens(), now - step_began_ns_);
  publish(now);
}

/// Enters the step that ended at `now_ns` into the account of a sequence that had tokens in it.
void Engine::account(Sequence& sequence, const StepRange& range, int64_t now_ns) {
  // What lies before the step is the own pace of who decodes in one step after the other; whoever
  // else waited for others. (Who was admitted in this step is accounted for up to then.)
  const bool came_along = sequence.last_step == stats_.steps - 1;
  sequence.last_step = stats_.steps;
  sequence.spend(
      range.decodes && came_along ? &RequestTiming::decode_ns : &RequestTiming::others_ns,
      std::max(sequence.accounted_until_ns, step_began_ns_));
  if (range.decodes) return sequence.spend(&RequestTiming::decode_ns, now_ns);
  const int64_t whole = now_ns - sequence.accounted_until_ns;
  const int64_t tokens = scheduler_.plan().num_tokens();
  // whole * count / tokens, without a product that could overflow
  const int64_t own = whole / tokens * range.count + whole % tokens * range.count / tokens;
  sequence.spend(&RequestTiming::prefill_own_ns, sequence.accounted_until_ns + own);
  sequence.spend(&RequestTiming::others_ns, now_ns);
}

void Engine::process(const StepRange& range, const StepResult& result, int64_t now_ns) {
  Sequence* sequence = scheduler_.owner(range);
  if (sequence == nullptr) {
    ++stats_.dropped_ranges;
    if (is_planted(options_.faults, PlantedBug::kCompletionAfterCancel)) {
      sink_.on_token({.id = range.id, .tag = range.tag});
    }
    return;
  }
  account(*sequence, range, now_ns);
  if (sequence->request.wants_progress && sequence->reported_tokens < 0) {
    report_progress(*sequence, sequence->result.cached_tokens, step_planned_ns_);
  }
  sequence->num_computed += range.count;
  if (sequence->request.wants_progress) {
    report_progress(*sequence, std::min(sequence->num_computed, sequence->result.prompt_tokens),
                    now_ns);
  }
  pool_.commit(sequence->slot, sequence->tokens, sequence->num_computed);

  const std::span<const RowWish> wishes = scheduler_.plan().wishes();
  int64_t wish_idx = range.first_wish;
  for (; wish_idx < range.first_wish + range.num_wishes - (range.samples ? 1 : 0); ++wish_idx) {
    deliver_prompt_row(*sequence, sequence->next_prompt_row, row(result, wish_idx));
  }
  if (range.samples) {
    const RowWish& wish = wishes[static_cast<size_t>(wish_idx)];
    if (wish.what == RowWish::What::kArgMax) {
      append_token(*sequence, result.best[static_cast<size_t>(wish_idx)][0].token_id, now_ns);
      return;
    }
    // What lies between the step and this is the others' sampling.
    sequence->spend(range.decodes ? &RequestTiming::decode_ns : &RequestTiming::others_ns,
                    clock_.now_ns());
    const int32_t token_id = choose(*sequence, row(result, wish_idx));
    const int64_t chosen_ns = clock_.now_ns();
    sequence->spend(&RequestTiming::sampling_ns, chosen_ns);
    append_token(*sequence, token_id, chosen_ns);
  } else if (sequence->num_left() == 0) {
    finish(scheduler_.remove(*sequence), FinishReason::kLength);  // it was scored, that is all
  }
}

/// Unless as much has been told before.
void Engine::report_progress(Sequence& sequence, int64_t processed, int64_t now_ns) {
  if (processed <= sequence.reported_tokens) return;
  sequence.reported_tokens = processed;
  const RequestResult& result = sequence.result;
  sink_.on_prompt_progress({.id = result.id,
                            .tag = result.tag,
                            .prompt_tokens = result.prompt_tokens,
                            .cached_tokens = result.cached_tokens,
                            .processed_tokens = processed,
                            .scheduled_ns = result.timing.scheduled_ns,
                            .time_ns = now_ns});
}

std::span<const float> Engine::row(const StepResult& result, int64_t wish_idx) const {
  return {result.logits.row(wish_idx), static_cast<size_t>(options_.vocab_size)};
}

void Engine::deliver_prompt_row(Sequence& sequence, int64_t position,
                                std::span<const float> logits) {
  const Request& request = sequence.request;
  if (request.prompt_logprobs) {
    append_logprobs(sequence.result.prompt_logprobs, logits,
                    request.prompt[static_cast<size_t>(position + 1)]);
  }
  if (request.prompt_rows != nullptr) request.prompt_rows->on_row(position, logits);
  ++sequence.next_prompt_row;
}

int32_t Engine::choose(Sequence& sequence, std::span<const float> logits) {
  const Request& request = sequence.request;
  Sampler::Draw draw{.params = request.sampling,
                     .seed = sequence.result.seed,
                     .position = sequence.num_tokens(),
                     .prompt = request.prompt,
                     .output = sequence.generated()};
  if (sequence.num_generated() < request.min_tokens) {
    draw.banned = request.stop_token_ids;
    if (!request.ignore_eos) draw.banned_too = options_.eos_token_ids;
  }
  const int32_t token_id = sampler_.sample(logits, draw);
  if (request.logprobs) append_logprobs(sequence.result.logprobs, logits, token_id);
  if (request.logits_hash) sequence.result.logits_hashes.push_back(xxh64(std::as_bytes(logits)));
  return token_id;
}

void Engine::append_token(Sequence& sequence, int32_t token_id, int64_t now_ns) {
  ENSURE(token_id >= 0 && token_id < options_.vocab_size, "the executor chose token ", token_id);
  const Request& request = sequence.request;
  RequestResult& result = sequence.result;
  const int64_t index = sequence.num_generated();
  sequence.tokens.push_back(token_id);
  sequence.fruitless_preemptions = 0;
  ++stats_.generated_tokens;
  if (index == 0) result.timing.first_token_ns = now_ns;
  result.timing.last_token_ns = now_ns;

  std::optional<FinishReason> reason;
  const bool may_stop = index + 1 > request.min_tokens;
  bool is_end = false;
  if (may_stop && contains(request.stop_token_ids, token_id)) {
    reason = FinishReason::kStop;
    result.stop_reason = token_id;
    is_end = true;
  } else if (may_stop && !request.ignore_eos && contains(options_.eos_token_ids, token_id)) {
    reason = FinishReason::kStop;
    is_end = true;
  } else {
    const bool misses =
        index == 0 && is_planted(options_.faults, PlantedBug::kWatcherMissesFirstToken);
    if (request.watcher != nullptr && !misses) {
      if (std::optional<std::string> stop = request.watcher->on_token(token_id, index + 1)) {
        reason = FinishReason::kStop;
        result.stop_reason = std::move(*stop);
      }
    }
    const bool took_too_long = request.max_predict_ns > 0 &&
                               now_ns - result.timing.first_token_ns >= request.max_predict_ns;
    if (!reason && (took_too_long || index + 1 >= sequence.max_new)) {
      reason = FinishReason::kLength;
    }
  }

  TokenEvent event{.id = result.id,
                   .tag = result.tag,
                   .index = index,
                   .token_id = token_id,
                   .time_ns = now_ns,
                   .is_end = is_end};
  if (request.logprobs) {
    event.logprob = &result.logprobs.tokens.back();
    event.top = result.logprobs.top(static_cast<size_t>(index));
  }
  sink_.on_token(event);
  if (reason) {
    finish(scheduler_.remove(sequence), *reason);
  } else if (options_.no_kv_cache) {
    scheduler_.restart(sequence);
  }
}

void Engine::finish(std::unique_ptr<Sequence> sequence, FinishReason reason) {
  live_.remove(*sequence);
  RequestResult& result = sequence->result;
  RequestTiming& timing = result.timing;
  timing.finished_ns = clock_.now_ns();
  if (timing.submitted_ns > timing.finished_ns) {  // it never became due
    timing.submitted_ns = sequence->accounted_until_ns = timing.finished_ns;
  }
  const bool generates =
      sequence->state == SequenceState::kRunning && sequence->num_generated() > 0;
  sequence->spend(!sequence->was_scheduled ? &RequestTiming::queue_ns
                  : generates              ? &RequestTiming::decode_ns
                                           : &RequestTiming::others_ns,
                  timing.finished_ns);
  sequence->move_to(SequenceState::kFinished);
  const std::span<const int32_t> generated = sequence->generated();
  result.token_ids.assign(generated.begin(), generated.end());
  result.finish_reason = reason;
  ++stats_.finished;
  stats_.cached_tokens += result.cached_tokens;
  stats_.prompt_tokens += result.prompt_tokens;
  if (is_planted(options_.faults, PlantedBug::kFinishSentTwice) &&
      reason == FinishReason::kCancelled && !result.token_ids.empty()) {
    sink_.on_finished(result);
  }
  sink_.on_finished(std::move(result));
  const bool keeps = is_planted(options_.faults, PlantedBug::kReservationKeptOnCancel) &&
                     reason == FinishReason::kCancelled && !sequence->was_scheduled;
  load_.give_back(keeps ? 0 : sequence->max_tokens());  // last: who sees idle() has every answer
}

void Engine::wait_for_work(int64_t most_ns) {
  if (!pending_.empty()) {
    most_ns = std::min(most_ns, pending_.front()->request.not_before_ns - clock_.now_ns());
  }
  std::unique_lock lock(inbox_mutex_);
  inbox_filled_.wait_for(lock, std::chrono::nanoseconds(std::max<int64_t>(0, most_ns)), [this] {
    return !submitted_.empty() || !cancelled_.empty() || resets_wanted_ > 0;
  });
}

void Engine::run_until_idle() {
  constexpr int64_t kSecond = 1'000'000'000;
  while (!idle()) {
    if (!step() && !idle()) wait_for_work(kSecond);
  }
}

}  // namespace quern
