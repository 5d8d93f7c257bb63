#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

namespace quern {

/// The same product by another library, on one thread.
struct PeerBench {
  std::string library, format;
  /// Multiplies `rows` x `cols` weights by `tokens`, other weights each time.
  void (*run)(benchmark::State& state, int64_t rows, int64_t cols, int64_t tokens);
};
/// Of the libraries that were there when this build was configured.
std::vector<PeerBench> peer_benches();

}  // namespace quern
