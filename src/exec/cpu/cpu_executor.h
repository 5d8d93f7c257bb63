#pragma once

#include "exec/executor.h"

namespace quern {

/// The fast one: packed weights, SIMD kernels for the instruction set level that `--isa` or the CPU
/// chooses, a pool of pinned threads whose worker 0 is the thread that calls submit(). README.md in
/// this folder states its arithmetic.
extern const ExecutorKind kCpuExecutor;

}  // namespace quern
