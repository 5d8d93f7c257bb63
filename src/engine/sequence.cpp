#include "engine/sequence.h"

#include <algorithm>

#include "base/ensure.h"

namespace quern {

namespace {

void reserve_logprobs(LogprobList& list, std::optional<int32_t> num_top, int64_t tokens) {
  if (!num_top) return;
  list.num_top = *num_top;
  list.tokens.reserve(static_cast<size_t>(tokens));
  list.alternatives.reserve(static_cast<size_t>(tokens * *num_top));
}

}  // namespace

Sequence::Sequence(RequestId id, Request accepted, int64_t most_new, uint64_t used_seed)
    : request(std::move(accepted)), max_new(most_new) {
  result.id = id;
  result.tag = request.tag;
  result.seed = used_seed;
  result.prompt_tokens = num_prompt();
  result.token_ids.reserve(static_cast<size_t>(max_new));
  tokens.reserve(static_cast<size_t>(num_prompt() + max_new));
  tokens = request.prompt;
  reserve_logprobs(result.logprobs, request.logprobs, max_new);
  reserve_logprobs(result.prompt_logprobs, request.prompt_logprobs, num_prompt());
  if (request.logits_hash) result.logits_hashes.reserve(static_cast<size_t>(max_new));
}

void Sequence::move_to(SequenceState after) {
  using enum SequenceState;
  const bool follows = after == kFinished ? state != kFinished
                                          : (state == kPending && after == kWaiting) ||
                                                (state == kWaiting && after == kRunning) ||
                                                (state == kRunning && after == kWaiting);
  ENSURE(follows, "request ", result.id, " goes from state ", static_cast<int>(state), " to ",
         static_cast<int>(after));
  state = after;
}

SequenceQueue::~SequenceQueue() {
  while (front_ != nullptr) remove(*front_);
}

void SequenceQueue::insert(std::unique_ptr<Sequence> owned, Sequence* after) {
  Sequence* sequence = owned.release();
  sequence->next = after;
  sequence->previous = after != nullptr ? after->previous : back_;
  (sequence->previous != nullptr ? sequence->previous->next : front_) = sequence;
  (after != nullptr ? after->previous : back_) = sequence;
  ++size_;
}

std::unique_ptr<Sequence> SequenceQueue::remove(Sequence& sequence) {
  (sequence.previous != nullptr ? sequence.previous->next : front_) = sequence.next;
  (sequence.next != nullptr ? sequence.next->previous : back_) = sequence.previous;
  sequence.previous = sequence.next = nullptr;
  --size_;
  return std::unique_ptr<Sequence>(&sequence);
}

void SequenceIndex::add(Sequence& sequence) {
  Sequence*& first = buckets_[bucket_of(sequence.result.id)];
  sequence.next_in_bucket = first;
  first = &sequence;
}

void SequenceIndex::remove(Sequence& sequence) {
  Sequence** link = &buckets_[bucket_of(sequence.result.id)];
  while (*link != nullptr && *link != &sequence) link = &(*link)->next_in_bucket;
  ENSURE(*link != nullptr, "request ", sequence.result.id, " is not among the live ones");
  *link = sequence.next_in_bucket;
}

Sequence* SequenceIndex::find(RequestId id) const {
  Sequence* at = buckets_[bucket_of(id)];
  while (at != nullptr && at->result.id != id) at = at->next_in_bucket;
  return at;
}

}  // namespace quern
