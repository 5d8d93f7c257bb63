#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_pool.h"
#include "engine/sequence.h"
#include "exec/batch.h"

namespace quern {

/// The part of a step that belongs to one sequence. The sequence may be gone when the step has
/// ended: the slot's generation tells.
struct StepRange {
  RequestId id = 0;
  uint64_t tag = 0;
  int32_t slot = Sequence::kNoSlot;
  uint64_t generation = 0;
  int64_t first = 0;  // position of its first token
  int64_t count = 0;
  int64_t first_wish = 0;  // its wishes: rows of the prompt, then perhaps the one to sample from
  int64_t num_wishes = 0;
  bool samples = false;
  bool decodes = false;  // it is the one token that follows from a generated one
};

/// The flat arrays of one step, taken once at start and filled anew for each.
class StepPlan {
 public:
  struct Limits {
    int64_t max_tokens = 0;
    int64_t max_sequences = 0;
    int64_t max_wanted_rows = 0;
  };
  StepPlan(const Limits& limits, const KvPool& pool);

  void clear();
  /// Adds `count` tokens of a sequence whose blocks are reserved.
  void add(const Sequence& sequence, uint64_t generation, int64_t count, const KvPool& pool);
  /// Valid until the next clear() or add().
  const Batch& batch();

  std::span<const StepRange> ranges() const { return ranges_; }
  std::span<const RowWish> wishes() const { return wishes_; }
  bool empty() const { return ranges_.empty(); }
  int64_t num_decoding() const { return num_decoding_; }
  int64_t num_prompt_tokens() const { return num_tokens() - num_decoding_; }
  int64_t num_tokens() const { return static_cast<int64_t>(token_ids_.size()); }
  int64_t num_wishes() const { return static_cast<int64_t>(wishes_.size()); }
  int64_t rows_left() const { return limits_.max_wanted_rows - num_wishes(); }
  static int64_t bytes(const Limits& limits, int64_t num_groups, int64_t table_blocks);

 private:
  Limits limits_;
  int64_t stride_;
  int64_t num_decoding_ = 0;
  std::vector<StepRange> ranges_;
  std::vector<int32_t> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> query_start_;
  std::vector<int32_t> context_len_;
  std::vector<int32_t> adapter_ids_;
  std::vector<RowWish> wishes_;
  std::vector<std::vector<int32_t>> tables_;  // per group [max_sequences, stride]
  std::vector<BlockTable> block_tables_;
  Batch batch_;
};

}  // namespace quern
