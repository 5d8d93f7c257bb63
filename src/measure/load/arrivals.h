#pragma once

#include <cstdint>
#include <vector>

namespace quern {

/// How the rate goes from the first request's to the last one's: by equal steps, or by equal
/// factors.
enum class Ramp { kNone, kLinear, kExponential };

/// How requests arrive on their own, independent of answers.
struct Arrivals {
  double rate = 0;           // requests a second; 0: all at once
  double burstiness = 1;     // of the gaps: 1 Poisson, below 1 in bursts, above 1 more even
  bool is_constant = false;  // equal gaps, where the rate stays
  Ramp ramp = Ramp::kNone;
  double end_rate = 0;  // of a ramp, which begins at `rate`
};

/// Requests a second over the whole of many arrivals: of a ramp the harmonic mean of its rates.
double mean_rate(const Arrivals& arrivals);

/// When `count` requests are meant to go out, in nanoseconds from the start, ascending. Gaps are
/// gamma distributed with shape `burstiness` and mean 1 / rate, as behind vLLM's `--burstiness`;
/// the same seed gives the same times. The whole is stretched so that the last one comes at
/// count / rate: a short run too has the rate that was asked for. Of a ramp each gap's mean is 1 /
/// its request's own rate, as behind vLLM's `--ramp-up-strategy`, and the last request comes at the
/// sum of those means.
std::vector<int64_t> arrival_times(int64_t count, const Arrivals& arrivals, uint64_t seed);

}  // namespace quern
