#pragma once

#include "exec/executor.h"

namespace quern {

/// The oracle of all other executors: fp32 throughout, one plain loop per step kind, one thread.
/// Weights are rounded to their types and back, keys and values to the cache's type, so that it
/// gives the exact meaning of a format; activations are never rounded.
extern const ExecutorKind kReferenceExecutor;

}  // namespace quern
