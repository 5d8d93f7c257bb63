#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine_snapshot.h"
#include "engine/kv_pool.h"
#include "engine/live_load.h"
#include "engine/request.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/step_pacer.h"
#include "exec/executor.h"

namespace quern {

struct EngineOptions {
  int64_t vocab_size = 0;
  int64_t max_model_len = 0;
  int64_t max_num_seqs = 16;
  int64_t max_num_batched_tokens = 512;
  int64_t max_wanted_rows = 16;             // at least max_num_seqs
  std::vector<KvGroupSize> kv_groups = {};  // as the executor has them
  bool prefix_caching = true;
  bool no_kv_cache = false;  // each token computes its whole prefix anew; the ladder's baseline
  bool static_scheduling = false;
  /// A step with tokens of one prompt takes at most about so many times what it would without, so
  /// that who decodes keeps his pace; several prompts make it longer (StepPacer). 0: as many prompt
  /// tokens as fit.
  double max_step_stretch = 0;
  std::vector<int32_t> eos_token_ids = {};
  int64_t max_live_requests = INT64_MAX;  // accepted and not finished
  int64_t max_live_tokens = INT64_MAX;    // prompt and most new tokens of all of them together
  int64_t max_tenants = 64;               // Request::tenant is below
  double max_salt_share = 1;  // of the KV blocks that may be cached under one cache_salt
  uint64_t seed = 0;          // of requests without one of their own
  uint64_t hash_key = 0;      // of the prefix cache; random where strangers ask
  Faults* faults = nullptr;
};

/// What the program and the executor's shape decide of it.
EngineOptions engine_options(const Program& program, const ExecShape& shape);
/// Blocks for each KV group of the program with which `max_num_seqs` sequences of `max_model_len`
/// fit at once.
std::vector<int64_t> kv_blocks_for(const Program& program, int64_t max_model_len,
                                   int64_t max_num_seqs, int64_t max_num_batched_tokens);
/// kDoesNotFit for a prompt that is longer than the context.
Result<void> check_prompt_length(int64_t length, int64_t max_model_len);
/// Bytes that the engine itself takes at start, for the memory plan.
int64_t engine_bytes(const EngineOptions& options);

/// The engine: takes requests from any thread and answers them on the one that calls step().
///
///   submit, cancel -> inbox -> scheduler -> executor -> sampler -> events
///
/// A step allocates nothing: the memory of a request is taken by the thread that submits it,
/// everything else at construction.
class Engine {
 public:
  /// The executor, the sink and the clock must outlive the engine. Fails where the KV blocks do
  /// not hold one sequence of max_model_len, or the executor cannot do what the engine needs.
  static Result<std::unique_ptr<Engine>> make(Executor& executor, EngineOptions options,
                                              EventSink& sink, const Clock& clock = steady_clock());

  /// Any thread. A refusal says what is wrong with the request, or, with kOverloaded, that there
  /// is no room for it at the moment.
  Result<RequestId> submit(Request request);
  /// Any thread, any number of times, also for requests that are long gone.
  void cancel(RequestId id);

  /// Any thread. From the next step on no prompt finds what was computed before; who runs keeps
  /// what he has. EngineStats::prefix_cache_resets counts it when it has happened.
  void reset_prefix_cache();

  /// One step: schedule, compute, sample, deliver. False if there was nothing to compute.
  bool step();
  /// The two halves of a step, for those who have something to do in between.
  bool launch();
  void complete();
  /// Steps until all is answered, and sleeps where all there is to do is to wait for a request
  /// that is not due.
  void run_until_idle();
  /// Sleeps until something comes in, the next pending request is due, or `most_ns` have passed.
  void wait_for_work(int64_t most_ns);

  /// Any thread: copies of what the last step left; the engine's thread is held up for as long as a
  /// copy takes, never for a step.
  EngineSnapshot snapshot() const;
  /// Those that run, in the order in which steps serve them.
  std::vector<SequenceView> sequences() const;

  /// No request is live, and every answer has been given to the sink. From any thread; stats(),
  /// pool() and scheduler() are for the engine's own.
  bool idle() const { return load_.requests() == 0; }
  /// Any thread: what the live requests have reserved.
  const LiveLoad& load() const { return load_; }
  const EngineOptions& options() const { return options_; }
  const EngineStats& stats() const { return stats_; }
  const KvPool& pool() const { return pool_; }
  const Scheduler& scheduler() const { return scheduler_; }

 private:
  Engine(Executor& executor, EngineOptions options, EventSink& sink, const Clock& clock);

  Result<void> check(const Request& request) const;
  Result<void> take_place(int64_t tokens);
  Result<void> check_tokens(std::span<const int32_t> ids, std::string_view field) const;

  void take_inbox();
  void accept(std::unique_ptr<Sequence> sequence);
  void queue_what_is_due();
  void cancel_now(RequestId id);

  void process(const StepRange& range, const StepResult& result, int64_t now_ns);
  void account(Sequence& sequence, const StepRange& range, int64_t now_ns);
  void publish(int64_t now_ns);
  void deliver_prompt_row(Sequence& sequence, int64_t position, std::span<const float> logits);
  int32_t choose(Sequence& sequence, std::span<const float> logits);
  void append_token(Sequence& sequence, int32_t token_id, int64_t now_ns);
  void finish(std::unique_ptr<Sequence> sequence, FinishReason reason);
  void report_progress(Sequence& sequence, int64_t processed, int64_t now_ns);
  std::span<const float> row(const StepResult& result, int64_t wish_idx) const;

  Executor& executor_;
  EngineOptions options_;
  EventSink& sink_;
  const Clock& clock_;
  KvPool pool_;
  Scheduler scheduler_;
  StepPacer pacer_;
  Sampler sampler_;
  SequenceIndex live_;     // all of which the engine's thread knows
  SequenceQueue pending_;  // by the time they are due
  uint64_t next_order_ = 1;
  bool in_flight_ = false;
  Ticket ticket_ = 0;
  int64_t step_began_ns_ = 0;
  int64_t step_planned_ns_ = 0;
  EngineStats stats_;

  // Everything below crosses threads.
  std::mutex inbox_mutex_;
  std::condition_variable inbox_filled_;
  SequenceQueue submitted_;
  std::vector<RequestId> cancelled_;
  int64_t resets_wanted_ = 0;
  std::vector<RequestId> cancelling_;  // engine's thread only: what cancelled_ is swapped with
  std::atomic<RequestId> next_id_ = 1;
  LiveLoad load_;
  mutable std::mutex snapshot_mutex_;
  EngineSnapshot snapshot_;
  std::vector<SequenceView> views_;
};

}  // namespace quern
