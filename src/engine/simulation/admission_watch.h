#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "engine/scheduler.h"

namespace quern {

/// Watches from outside whom a scheduler admits, and counts anew what each tenant receives.
class AdmissionWatch {
 public:
  /// Before a step is planned: who runs.
  void before(const Scheduler& scheduler);
  /// After: what is wrong with whom it has admitted or what it has charged, if anything.
  /// `judges_order`: a static batch takes in whom it serves later, so its order says nothing.
  std::optional<std::string> after(const Scheduler& scheduler, bool judges_order);
  /// Whenever nothing is being planned: whether somebody has come back with saved-up service.
  std::optional<std::string> between(const Scheduler& scheduler);

  int64_t num_contested() const { return num_contested_; }

 private:
  /// What the range brings the tenant that it has not been charged for yet.
  int64_t charge_for(const StepRange& range, const Sequence& sequence);
  std::optional<std::string> check_order(const Scheduler& scheduler) const;

  std::set<RequestId> ran_before_;
  std::map<RequestId, int64_t> charged_;  // tokens of each
  std::map<RequestId, int64_t> charges_;  // of the step just planned
  std::map<uint32_t, int64_t> served_;    // by tenant
  int64_t least_service_ = 0;             // of those who waited last
  int64_t preemptions_ = 0;
  int64_t num_contested_ = 0;  // admissions while another tenant waited
};

}  // namespace quern
