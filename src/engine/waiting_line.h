#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/faults.h"
#include "engine/sequence.h"

namespace quern {

/// Who waits, and who of them is next: the most urgent priority first; among equals the tenant
/// that has received least service; of its requests the one that came first.
///
/// Service is counted in tokens: a prompt token that was computed is 1, a generated one is
/// kServicePerGenerated. A tenant that comes after having had nothing waiting is lifted to the
/// least served of those who wait, so that nobody saves service up by staying away. Where several
/// have something waiting all the time, their services thus stay within about one request of each
/// other. A tenant alone is served in the order of arrival.
/// Source: Sheng et al. 2024, "Fairness in Serving Large Language Models", arXiv:2401.00588 (the
/// virtual token counter; 1 and 2 are its weights).
///
/// All memory but the sequences' own is taken at construction.
class WaitingLine {
 public:
  static constexpr int64_t kServicePerGenerated = 2;

  struct Tenant {
    int64_t served = 0;  // what it has received
    int64_t lifted = 0;  // what it was given for having been away
    int64_t service() const { return served + lifted; }
  };

  explicit WaitingLine(int64_t max_tenants, const Faults* faults = nullptr);

  /// Queues who has just come.
  void add(std::unique_ptr<Sequence> sequence);
  /// Queues who ran and was taken off: at the place that it has by its arrival.
  void put_back(std::unique_ptr<Sequence> sequence);
  std::unique_ptr<Sequence> remove(Sequence& sequence);
  /// Null if nobody waits.
  Sequence* next() const;
  void charge(uint32_t tenant, int64_t service);

  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t max_tenants() const { return static_cast<int64_t>(tenants_.size()); }
  const Tenant& tenant(uint32_t id) const { return tenants_[id]; }
  /// Those of a tenant, the more urgent first, then by arrival.
  const SequenceQueue& of(uint32_t tenant) const { return queues_[tenant]; }
  static int64_t bytes(int64_t max_tenants);

 private:
  void lift(uint32_t tenant);

  const Faults* faults_;
  std::vector<Tenant> tenants_;
  std::vector<SequenceQueue> queues_;  // of each tenant
  uint32_t last_to_leave_ = 0;         // whose queue became empty last
  int64_t size_ = 0;
};

}  // namespace quern
