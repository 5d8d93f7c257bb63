#pragma once

#include <cstdint>

namespace quern {

/// A bug of the pool, the scheduler or the engine that can be switched on: the simulation is worth
/// something only if it finds each of them. Nothing but the simulation sets one.
enum class PlantedBug {
  kNone,
  kDoubleFreeOnCancelInPrefill,
  kNoReleaseOnPreempt,
  kNoReferenceOnShare,
  kEvictHeldBlock,
  kFindBlockOneTokenEarly,
  kHashWithoutParent,
  kHashWithoutSalt,
  kWindowFreesOneBlockEarly,
  kCompletionAfterCancel,
  kQueueOrderAfterPreempt,
  kHitLeavesNothingToCompute,
  kPriorityLostOnPreempt,
  kPriorityForgottenAcrossTenants,
  kGeneratedTokensNotCharged,
  kNoLiftAfterIdle,
  kReservationKeptOnCancel,
  kFinishSentTwice,
  kTimeTakenOffIsLost,
  kResetForgetsRunningOnes,
  kSaltShareNotKept,
  kWatcherMissesFirstToken,
  kSeedShared,
};

/// A place where the simulation may make something rare happen.
enum class FaultPoint {
  kShortStep,   // give the step only part of its token budget
  kPreemptNow,  // take the youngest sequence off, blocks or not
  kEvictNow,    // drop the oldest cached block of each group
};

/// Handed to the engine by the simulation; everything else runs without one.
class Faults {
 public:
  virtual ~Faults() = default;
  virtual bool fire(FaultPoint point) = 0;

  PlantedBug planted = PlantedBug::kNone;
};

inline bool is_planted(const Faults* faults, PlantedBug bug) {
  return faults != nullptr && faults->planted == bug;
}

inline bool fires(Faults* faults, FaultPoint point) {
  return faults != nullptr && faults->fire(point);
}

}  // namespace quern
