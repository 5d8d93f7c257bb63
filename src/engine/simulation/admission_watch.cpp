#include "engine/simulation/admission_watch.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/cat.h"

namespace quern {

void AdmissionWatch::before(const Scheduler& scheduler) {
  ran_before_.clear();
  for (const Sequence* at = scheduler.running().front(); at != nullptr; at = at->next) {
    ran_before_.insert(at->result.id);
  }
}

int64_t AdmissionWatch::charge_for(const StepRange& range, const Sequence& sequence) {
  int64_t& charged = charged_[range.id];
  int64_t charge = range.samples ? 2 : 0;
  for (int64_t position = range.first; position < range.first + range.count; ++position) {
    if (position >= charged && position < sequence.num_prompt()) ++charge;
  }
  charged = std::max(charged, range.first + range.count);
  return charge;
}

std::optional<std::string> AdmissionWatch::after(const Scheduler& scheduler, bool judges_order) {
  charges_.clear();
  for (const StepRange& range : scheduler.plan().ranges()) {
    const Sequence* sequence = scheduler.owner(range);
    if (sequence == nullptr) return cat("request ", range.id, " is planned and gone");
    served_[sequence->request.tenant] += charges_[range.id] = charge_for(range, *sequence);
  }
  for (const auto& [tenant, served] : served_) {
    if (scheduler.waiting().tenant(tenant).served == served) continue;
    return cat("tenant ", tenant, " has received ", served, ", counted are ",
               scheduler.waiting().tenant(tenant).served);
  }
  for (const Sequence* at = scheduler.running().front(); at != nullptr; at = at->next) {
    if (ran_before_.contains(at->result.id)) continue;
    for (uint32_t tenant = 0; tenant < scheduler.waiting().max_tenants(); ++tenant) {
      const Sequence* waits = scheduler.waiting().of(tenant).front();
      if (waits == nullptr) continue;
      if (tenant != at->request.tenant) ++num_contested_;
      if (waits->request.priority < at->request.priority) {
        return cat("request ", at->result.id, " was admitted, the more urgent ", waits->result.id,
                   " waits");
      }
    }
  }
  return judges_order ? check_order(scheduler) : std::nullopt;
}

/// Takes the admissions of the step back, last first: at each, nobody as urgent that waited may
/// have had less.
std::optional<std::string> AdmissionWatch::check_order(const Scheduler& scheduler) const {
  std::map<uint32_t, int64_t> service;
  std::vector<const Sequence*> waited;
  for (uint32_t tenant = 0; tenant < scheduler.waiting().max_tenants(); ++tenant) {
    service[tenant] = scheduler.waiting().tenant(tenant).service();
    const Sequence* first = scheduler.waiting().of(tenant).front();
    if (first != nullptr) waited.push_back(first);
  }
  const std::span<const StepRange> ranges = scheduler.plan().ranges();
  for (size_t i = ranges.size(); i > 0; --i) {
    const StepRange& range = ranges[i - 1];
    if (ran_before_.contains(range.id)) break;
    const Sequence* admitted = scheduler.owner(range);
    service[admitted->request.tenant] -= charges_.at(range.id);
    for (const Sequence* other : waited) {
      if (other->request.priority != admitted->request.priority) continue;
      const int64_t mine = service[admitted->request.tenant];
      const int64_t others = service[other->request.tenant];
      if (others < mine || (others == mine && other->order < admitted->order)) {
        return cat("request ", admitted->result.id, " of a tenant that has had ", mine,
                   " was admitted before ", other->result.id, " of one that has had ", others);
      }
    }
    waited.push_back(admitted);
  }
  return std::nullopt;
}

std::optional<std::string> AdmissionWatch::between(const Scheduler& scheduler) {
  int64_t least = INT64_MAX;
  for (uint32_t tenant = 0; tenant < scheduler.waiting().max_tenants(); ++tenant) {
    if (scheduler.waiting().of(tenant).empty()) continue;
    least = std::min(least, scheduler.waiting().tenant(tenant).service());
  }
  // Who was taken off comes back with what it had; that is no saving.
  const bool preempted = scheduler.stats().preemptions != preemptions_;
  preemptions_ = scheduler.stats().preemptions;
  if (least == INT64_MAX) return std::nullopt;
  const int64_t before = std::exchange(least_service_, least);
  if (least < before && !preempted) {
    return cat("a tenant came back with a service of ", least, ", the least was ", before);
  }
  return std::nullopt;
}

}  // namespace quern
