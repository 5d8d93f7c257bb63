#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "exec/cpu/arena.h"
#include "exec/cpu/plan.h"
#include "exec/cpu/products.h"
#include "exec/executor.h"

namespace quern::cpu {

/// All weights of a Program as the kernels read them: matrices packed into panels, vectors as fp32.
class Weights {
 public:
  /// Streams every weight through a few rows of scratch per thread, the largest file tensors first
  /// and each released at once, so that file pages and packed copy are never both whole in memory.
  /// Or reads what an earlier load kept in options.weight_cache, and keeps there what it packs.
  static Result<Weights> load(const Program& program, const WeightTypes& types,
                              const WeightSource& source, const Plan& plan, ThreadPool& pool,
                              const ExecOptions& options);

  const PackedMatrix& matrix(WeightId id) const {
    return *matrices_[static_cast<size_t>(id.index)];
  }
  /// [size], or nullptr for kNoWeight.
  const float* vector(WeightId id) const {
    return id.valid() ? vectors_[static_cast<size_t>(id.index)] : nullptr;
  }

 private:
  /// Where everything lies in arena_.
  void point(const Program& program, const WeightTypes& types, const Plan& plan);
  void pack(WeightId id, DType dtype, const WeightSource& source, ThreadPool& pool);

  Arena arena_;
  std::vector<std::optional<PackedMatrix>> matrices_;  // by WeightId
  std::vector<const float*> vectors_;                  // by WeightId
};

}  // namespace quern::cpu
