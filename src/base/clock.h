#pragma once

#include <cstdint>

namespace quern {

/// Monotonic time, behind an interface so that scheduling and cancellation can be simulated in
/// virtual time.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Nanoseconds since an arbitrary start; never goes back.
  virtual int64_t now_ns() const = 0;
};

/// The machine's own CLOCK_MONOTONIC.
const Clock& steady_clock();

}  // namespace quern
