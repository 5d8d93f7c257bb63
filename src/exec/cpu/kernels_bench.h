#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace quern {

/// A micro-benchmark of the cpu executor:
///   multiply/FORMAT/ACTIVATIONS/ISA/TOKENS  one product kernel over fresh weights, on one thread
///   peer/LIBRARY/FORMAT/TOKENS              the same by another library
///   step/FORMAT/WHAT                        a whole step of a model of Llama-3.2-1B's shape with
///                                           random weights; prints on stderr where its time went.
///                                           QUERN_BENCH_ISA and QUERN_BENCH_THREADS choose how
struct KernelBench {
  std::string name;
  std::string format;
  std::string activations;  // int8 or float; empty for a step and a peer
  std::string isa;          // empty for a step and a peer
  int64_t tokens = 0;
};

struct KernelRun {
  const KernelBench& bench;
  double seconds = 0;     // of an iteration
  double bytes = 0;       // of weights it reads; 0 for a step
  double operations = 0;  // a multiply-add as two; 0 for a step
};

/// Runs those whose name the regular expression matches, reporting each as it ends; how many there
/// were. Needs google-benchmark, which only the program that links this file needs.
int64_t run_kernel_benches(const std::string& filter,
                           const std::function<void(const KernelRun&)>& report);

}  // namespace quern
