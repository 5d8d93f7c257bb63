#include "engine/waiting_line.h"

#include <algorithm>

namespace quern {

namespace {

bool goes_before(const Sequence& one, const Sequence& other) {
  return one.request.priority != other.request.priority
             ? one.request.priority < other.request.priority
             : one.order < other.order;
}

}  // namespace

WaitingLine::WaitingLine(int64_t max_tenants, const Faults* faults)
    : faults_(faults),
      tenants_(static_cast<size_t>(max_tenants)),
      queues_(static_cast<size_t>(max_tenants)) {}

int64_t WaitingLine::bytes(int64_t max_tenants) {
  return max_tenants * static_cast<int64_t>(sizeof(Tenant) + sizeof(SequenceQueue));
}

void WaitingLine::add(std::unique_ptr<Sequence> sequence) {
  const uint32_t tenant = sequence->request.tenant;
  SequenceQueue& queue = queues_[tenant];
  if (queue.empty()) lift(tenant);
  Sequence* later = nullptr;  // looked for from the end, where who has just come mostly stands
  for (Sequence* at = queue.back(); at != nullptr && goes_before(*sequence, *at);
       at = at->previous) {
    later = at;
  }
  queue.insert(std::move(sequence), later);
  ++size_;
}

void WaitingLine::put_back(std::unique_ptr<Sequence> sequence) {
  SequenceQueue& queue = queues_[sequence->request.tenant];
  ++size_;
  if (is_planted(faults_, PlantedBug::kQueueOrderAfterPreempt)) {
    return queue.push_back(std::move(sequence));
  }
  if (is_planted(faults_, PlantedBug::kPriorityLostOnPreempt)) {
    return queue.push_front(std::move(sequence));
  }
  Sequence* later = queue.front();  // from the front, for it came before all of its priority
  while (later != nullptr && !goes_before(*sequence, *later)) later = later->next;
  queue.insert(std::move(sequence), later);
}

std::unique_ptr<Sequence> WaitingLine::remove(Sequence& sequence) {
  SequenceQueue& queue = queues_[sequence.request.tenant];
  std::unique_ptr<Sequence> removed = queue.remove(sequence);
  if (queue.empty()) last_to_leave_ = sequence.request.tenant;
  --size_;
  return removed;
}

void WaitingLine::lift(uint32_t tenant) {
  if (is_planted(faults_, PlantedBug::kNoLiftAfterIdle)) return;
  int64_t least = INT64_MAX;
  for (size_t other = 0; other < tenants_.size(); ++other) {
    if (!queues_[other].empty()) least = std::min(least, tenants_[other].service());
  }
  // Nobody waits: as much as who waited last, or the first to come back would have all its past
  // to catch up on.
  if (least == INT64_MAX) least = tenants_[last_to_leave_].service();
  Tenant& at = tenants_[tenant];
  at.lifted += std::max<int64_t>(0, least - at.service());
}

Sequence* WaitingLine::next() const {
  Sequence* best = nullptr;
  for (const SequenceQueue& queue : queues_) {
    Sequence* at = queue.front();
    if (at == nullptr) continue;
    if (best == nullptr) {
      best = at;
      continue;
    }
    const int64_t urgency = is_planted(faults_, PlantedBug::kPriorityForgottenAcrossTenants)
                                ? 0
                                : int64_t{at->request.priority} - best->request.priority;
    const int64_t service =
        tenants_[at->request.tenant].service() - tenants_[best->request.tenant].service();
    if (urgency != 0 ? urgency < 0 : service != 0 ? service < 0 : at->order < best->order) {
      best = at;
    }
  }
  return best;
}

void WaitingLine::charge(uint32_t tenant, int64_t service) { tenants_[tenant].served += service; }

}  // namespace quern
