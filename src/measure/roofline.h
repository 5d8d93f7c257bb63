#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "exec/executor.h"
#include "measure/ceiling_store.h"
#include "measure/model_speed.h"

namespace quern {

/// What a piece of work must do at least.
struct Work {
  double bytes = 0;  // that cross from where they live
  /// Bytes that are read again and again: where these fit a cache, they live in it.
  int64_t live_bytes = 0;
  std::map<cpu::Unit, double> operations;
};

/// The least time for it, and the figure that sets it: reading and reckoning go on at once, so it
/// is the longer of both.
struct Floor {
  double seconds = 0;
  std::string ceiling;  // "read_gb_s", "l3_gb_s" or a unit's name
};
/// Nothing where `ceilings` lacks a figure that the work needs.
std::optional<Floor> floor_of(const Work& work, const Ceilings& ceilings, int64_t l3_bytes);

/// The unit that the cpu executor's products with such weights use on a level: int8 for quantised
/// weights, unless activations are f32; VDPBF16PS for bf16 on the level named after it; else FMA.
cpu::Unit unit_of_products(std::string_view isa, DType weight, Activations activations);

/// The timed part of one repetition. Bytes: every weight once a step (of the embedding the rows
/// that are read) and the keys and values of the context; activations stay in caches and are not
/// counted. Operations: the products with weights, a multiply-add as two; attention comes on top of
/// them and is not counted.
Work bench_work(const RunPlan& plan, const ModelBenchCase& bench_case, std::string_view isa,
                Activations activations);

/// The part of a ceiling that a bench reached.
struct ShareOfCeiling {
  double share = 0;
  std::string ceiling;
};
/// By the mean rate of the repetitions; nothing where ceilings for so many threads are not stored.
std::optional<ShareOfCeiling> share_of_ceiling(const ModelBenchResult& result, const Work& work,
                                               const CeilingsByThreads& ceilings, int threads,
                                               int64_t l3_bytes);

}  // namespace quern
