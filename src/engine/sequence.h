#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/request.h"

namespace quern {

/// The states of a request and how they follow one another:
///   pending (not yet due) -> waiting -> running -> finished
/// Preemption leads from running back to waiting, cancellation from anywhere to finished.
enum class SequenceState { kPending, kWaiting, kRunning, kFinished };

/// One request in progress. All memory that its steps need is taken by the thread that submits it.
struct Sequence {
  static constexpr int32_t kNoSlot = -1;

  Sequence(RequestId id, Request accepted, int64_t max_new, uint64_t used_seed);

  /// Enters the time up to `until_ns` that has not been accounted for yet under `part`.
  void spend(int64_t RequestTiming::*part, int64_t until_ns) {
    result.timing.*part += until_ns - accounted_until_ns;
    accounted_until_ns = until_ns;
  }

  /// ENSUREs that the step follows the graph above.
  void move_to(SequenceState next);

  int64_t num_tokens() const { return static_cast<int64_t>(tokens.size()); }
  int64_t num_prompt() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t num_generated() const { return num_tokens() - num_prompt(); }
  int64_t num_left() const { return num_tokens() - num_computed; }
  std::span<const int32_t> generated() const {
    return std::span(tokens).subspan(request.prompt.size());
  }
  /// Whether the next step is one token that follows from a generated one.
  bool is_decoding() const { return num_generated() > 0 && num_left() == 1; }
  /// Whether rows of prompt tokens are wanted, and from which position on they still are.
  bool wants_prompt_rows() const {
    return request.prompt_logprobs.has_value() || request.prompt_rows != nullptr;
  }
  bool wants_row(int64_t position) const {
    return wants_prompt_rows() && position >= next_prompt_row && position < num_prompt() - 1;
  }
  /// Whether it ends with its prompt: nothing is to be generated.
  bool is_scoring() const { return max_new == 0; }
  /// Prompt and answer at their longest: what it reserves of EngineOptions::max_live_tokens.
  int64_t max_tokens() const { return num_prompt() + max_new; }
  /// Tokens that have keys and values at the end: the last generated one never does.
  int64_t max_kv_tokens() const { return num_prompt() + std::max<int64_t>(0, max_new - 1); }

  Request request;
  RequestResult result;
  std::vector<int32_t> tokens;  // prompt and answer
  int64_t max_new = 0;          // tokens to generate at most
  uint64_t order = 0;           // of becoming due: first come, first served
  uint64_t admitted = 0;        // of being admitted: last come, first taken off
  SequenceState state = SequenceState::kPending;
  int32_t slot = kNoSlot;
  int64_t num_computed = 0;     // tokens whose keys and values are in the cache
  int64_t num_charged = 0;      // tokens that its tenant has been charged for, or found cached
  int64_t next_prompt_row = 0;  // rows before have been delivered
  /// Preemptions since it last gained a token; from two on it comes back only where it cannot be
  /// taken off again.
  int64_t fruitless_preemptions = 0;
  int64_t reported_tokens = -1;    // of the prompt, by EventSink::on_prompt_progress
  int64_t accounted_until_ns = 0;  // the time before is in the account
  int64_t last_step = 0;           // number of the last step that had tokens of it
  bool was_scheduled = false;
  bool planned = false;  // it is part of the step that is being made

  Sequence* previous = nullptr;  // in its SequenceQueue
  Sequence* next = nullptr;
  Sequence* next_in_bucket = nullptr;  // of SequenceIndex
};

/// A list that owns its sequences and takes no memory to hold them.
class SequenceQueue {
 public:
  SequenceQueue() = default;
  SequenceQueue(const SequenceQueue&) = delete;
  SequenceQueue& operator=(const SequenceQueue&) = delete;
  ~SequenceQueue();

  Sequence* front() const { return front_; }
  Sequence* back() const { return back_; }
  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void push_back(std::unique_ptr<Sequence> sequence) { insert(std::move(sequence), nullptr); }
  void push_front(std::unique_ptr<Sequence> sequence) { insert(std::move(sequence), front_); }
  /// Puts it before `next`, at the end if that is null.
  void insert(std::unique_ptr<Sequence> sequence, Sequence* next);
  std::unique_ptr<Sequence> remove(Sequence& sequence);

 private:
  Sequence* front_ = nullptr;
  Sequence* back_ = nullptr;
  int64_t size_ = 0;
};

/// Finds a sequence by its id, however many there are, and takes no memory to hold them. Ids count
/// up, so their low bits spread the live ones evenly.
class SequenceIndex {
 public:
  SequenceIndex() : buckets_(kBuckets) {}
  void add(Sequence& sequence);
  void remove(Sequence& sequence);
  Sequence* find(RequestId id) const;
  static constexpr int64_t bytes() { return kBuckets * static_cast<int64_t>(sizeof(Sequence*)); }

 private:
  static constexpr int64_t kBuckets = 4096;
  static size_t bucket_of(RequestId id) { return static_cast<size_t>(id % kBuckets); }

  std::vector<Sequence*> buckets_;
};

}  // namespace quern
