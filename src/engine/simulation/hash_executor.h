#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/kv_pool.h"
#include "exec/executor.h"

namespace quern {

struct HashExecutorOptions {
  int64_t vocab_size = 0;
  std::vector<KvGroupSize> groups = {};
  int64_t max_num_seqs = 0;
  int64_t max_batched_tokens = 0;
  int64_t max_wanted_rows = 0;
};

/// An executor whose model is a hash of the whole prefix. The "key and value" of a position is the
/// hash of all tokens up to it; each position that a token looks at is checked to continue the one
/// before it, so any block that is mixed up, overwritten or given up too early shows at once. What
/// is wrong is kept, not asserted, for the simulation to report.
class HashExecutor final : public Executor {
 public:
  explicit HashExecutor(const HashExecutorOptions& options);

  const Capabilities& capabilities() const override { return capabilities_; }
  Ticket submit(const Batch& batch) override;
  const StepResult& wait(Ticket ticket) override;
  void copy_blocks(int32_t group, std::span<const int32_t> from,
                   std::span<const int32_t> to) override;

  /// The first thing that went wrong, if any.
  const std::optional<std::string>& violation() const { return violation_; }
  int64_t num_steps() const { return static_cast<int64_t>(last_ticket_); }

  /// The model itself: the hash of a prefix one token longer, and the logits that follow a hash.
  static constexpr uint64_t kEmptyPrefix = 0x243F6A8885A308D3;
  static uint64_t extend(uint64_t prefix, int32_t token_id);
  static void fill_logits(uint64_t prefix, std::span<float> logits);

 private:
  struct Cell {
    uint64_t prefix = 0;
    int32_t token_id = -1;
    int32_t position = -1;
  };

  void report(std::string what);
  void check_limits(const Batch& batch);
  Cell* cell(const Batch& batch, size_t group, int64_t sequence, int64_t position);
  void append(const Batch& batch, int64_t sequence);
  void check_attended(const Batch& batch, int64_t sequence);

  HashExecutorOptions options_;
  Capabilities capabilities_;
  std::vector<std::vector<Cell>> cells_;  // per group [blocks, kKvBlockTokens]
  std::vector<uint64_t> prefixes_;        // of each token of the batch
  std::vector<float> logits_;             // [wanted rows, V]
  std::vector<TokenLogit> best_;
  std::vector<std::span<const TokenLogit>> best_spans_;
  StepResult result_;
  Ticket last_ticket_ = 0;
  std::optional<std::string> violation_;
};

}  // namespace quern
