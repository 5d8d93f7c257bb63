#pragma once

#include <cstdint>
#include <vector>

namespace quern {

/// How requests arrive on their own, independent of answers.
struct Arrivals {
  double rate = 0;           // requests a second; 0: all at once
  double burstiness = 1;     // of the gaps: 1 Poisson, below 1 in bursts, above 1 more even
  bool is_constant = false;  // equal gaps
};

/// When `count` requests are meant to go out, in nanoseconds from the start, ascending. Gaps are
/// gamma distributed with shape `burstiness` and mean 1 / rate, as behind vLLM's `--burstiness`;
/// the same seed gives the same times. The whole is stretched so that the last one comes at
/// count / rate: a short run too has the rate that was asked for.
std::vector<int64_t> arrival_times(int64_t count, const Arrivals& arrivals, uint64_t seed);

}  // namespace quern
