#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "exec/batch.h"
#include "program/program.h"
#include "program/weight_source.h"

namespace quern {

class Trace;

/// What an executor can do; the engine adapts to it or refuses with the reason.
struct Capabilities {
  int64_t max_ranges = INT64_MAX;  // sequences in one batch
  bool invariant_bits = true;      // promise 2: bits independent of batch, chunks, threads
  bool paged_kv = true;
};

/// How int8 activations come in: with quantised weights by default, never with float ones.
enum class Activations { kAuto, kF32, kInt8 };

/// Everything about a run that decides its memory, known before a byte of weights is read.
struct ExecShape {
  int64_t max_batched_tokens = 512;  // prompt tokens of a step; each sequence may decode besides
  int64_t max_num_seqs = 16;
  int64_t max_model_len = 0;       // tokens of a sequence, prompt and answer
  int64_t max_wanted_rows = 16;    // rows of logits a step may ask for
  std::vector<int64_t> kv_blocks;  // per KV group of the Program
  DType kv_dtype = DType::of<F16>();
  bool no_kv_cache = false;

  int64_t max_step_tokens() const { return max_batched_tokens + max_num_seqs; }
};

/// Exact bytes, an upper bound by construction: what `plan` prints and the engine reserves.
struct MemoryNeed {
  int64_t weights = 0;
  int64_t kv = 0;
  int64_t work = 0;   // activations, tables, partial results
  int64_t other = 0;  // stacks, code, the process itself

  int64_t total() const { return weights + kv + work + other; }
};

/// What the command line says about one executor's way of working. Fields an executor has no use
/// for are refused by it (kUsage), never ignored.
struct ExecOptions {
  std::string isa = "auto";
  int threads = 0;  // 0: all cores the process may use
  Activations activations = Activations::kAuto;
  std::filesystem::path weight_cache = {};  // folder of packed weights; empty: none are kept
  std::function<void(double fraction)> progress = {};  // of loading, 0 .. 1; may be empty
  Trace* trace = nullptr;  // gets a span of each step of the Program; may be nullptr
};

using Ticket = uint64_t;

/// One device that holds one Program's weights and key/value blocks.
///
/// Bytes of a step are decided by (Program, WeightTypes, ExecShape) alone; a step allocates
/// nothing. Failures of the outside (memory refused) happen in load(), never in a step.
class Executor {
 public:
  virtual ~Executor() = default;

  virtual const Capabilities& capabilities() const = 0;
  /// Starts a step. The arrays of `batch` must live until wait() has returned.
  virtual Ticket submit(const Batch& batch) = 0;
  /// Ends it. Results stay valid until the next submit().
  virtual const StepResult& wait(Ticket ticket) = 0;
  /// Copies whole blocks of one KV group, in order: to[i] = from[i].
  virtual void copy_blocks(int32_t group, std::span<const int32_t> from,
                           std::span<const int32_t> to) = 0;
  /// "avx512vnni", or "" where there is no such choice; for reports.
  virtual std::string isa() const { return {}; }
  /// Threads that work on a step.
  virtual int num_threads() const { return 1; }
};

/// One way to run a Program. `check` and `need` are pure: no file, no device.
struct ExecutorKind {
  std::string_view name;
  /// Refuses what this executor has no form of: a step, a weight's type, the keys' type, an option.
  /// `need` and `load` are only for what has passed.
  Result<void> (*check)(const Program& program, const WeightTypes& types, DType kv_dtype,
                        const ExecOptions& options);
  MemoryNeed (*need)(const Program& program, const WeightTypes& types, const ExecShape& shape,
                     const ExecOptions& options);
  Result<std::unique_ptr<Executor>> (*load)(const Program& program, const WeightTypes& types,
                                            const WeightSource& source, const ExecShape& shape,
                                            const ExecOptions& options);
};

/// Bytes of one token's keys and values in all layers of one KV group.
int64_t kv_bytes_per_token(const Program& program, int32_t group, DType kv_dtype);

/// Keys and values are stored head by head: refuses a type whose blocks do not divide a head.
Result<void> check_kv_heads(const Program& program, DType kv_dtype);

/// What keys and values of larger magnitude become before they are stored: beyond it the type, or
/// the scale of a block, would be infinite.
float kv_bound(DType kv_dtype);

}  // namespace quern
