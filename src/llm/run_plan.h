#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "exec/executor.h"
#include "models/model.h"
#include "models/weight_types.h"
#include "program/fuse.h"

namespace quern {

/// Everything the load flags of a command say (contract: "Flag of every command that loads a
/// model"). Plain data with the contract's defaults.
struct RunOptions {
  std::string executor = "cpu";
  ExecOptions exec;
  std::optional<DType> dtype;  // nothing: as stored
  std::vector<DTypeOverride> dtype_overrides;
  std::optional<DType> kv_cache_dtype;   // nothing: auto
  std::optional<int64_t> max_model_len;  // nothing: auto
  int64_t max_num_seqs = 16;
  int64_t max_num_batched_tokens = 512;
  int64_t extra_wanted_rows =
      0;  // rows of logits beside one per sequence (prompt log-probabilities)
  std::optional<uint64_t> memory_limit;
  /// Of the blocks that all sequences share; nothing: as many as all need at their longest.
  std::optional<uint64_t> kv_cache_memory_bytes;
  bool no_kv_cache = false;
  bool enable_prefix_caching = true;
  bool static_scheduling = false;
  // As in EngineOptions.
  int64_t max_live_requests = INT64_MAX;
  int64_t max_live_tokens = INT64_MAX;
  double max_step_stretch = 0;
  double max_salt_share = 1;
  uint64_t hash_key = 0;
  FuseOptions fuse;
  uint64_t seed = 0;  // of requests without one of their own
};

/// What a run will be and will take, decided from headers alone: what `plan` prints and what a run
/// then reserves. Planned bytes are an upper bound by construction.
struct RunPlan {
  Program program;  // fused
  WeightTypes types;
  std::vector<Fallback> fallbacks;
  ExecShape shape;
  EngineOptions engine;
  MemoryNeed need;
  int64_t kv_bytes_per_token = 0;
  int64_t available_bytes = 0;           // the memory limit, else what the system has to give
  bool context_lowered = false;          // auto took less than the model's context
  int64_t max_context_that_fits = 0;     // for max_num_seqs sequences
  int64_t max_seqs_that_fit = 0;         // at max_model_len
  std::optional<int64_t> most_kv_bytes;  // RunOptions::kv_cache_memory_bytes

  bool fits() const { return need.total() <= available_bytes && kv_fits(); }
  /// Whether the keys and values of one sequence are within their bound.
  bool kv_fits() const { return need.kv <= most_kv_bytes.value_or(INT64_MAX); }
  /// kDoesNotFit with what is needed, what is there, what to try.
  Error does_not_fit() const;
};

/// kDoesNotFit: what `flag` asks for is above a context of `context` tokens.
Error beyond_context(std::string_view flag, int64_t found, int64_t context);

/// kUsage or kUnsupported for options that cannot be; kDoesNotFit where max_model_len is above the
/// model's context. A plan that needs more memory than there is comes back all the same.
Result<RunPlan> plan_run(const Model& model, const RunOptions& options);

/// Every executor, by the word of --executor.
std::span<const ExecutorKind* const> executors();
/// Their names, with commas.
std::string executor_names();
/// kUnsupported, with the list, for a name that is not there.
Result<const ExecutorKind*> find_executor(std::string_view name);

}  // namespace quern
