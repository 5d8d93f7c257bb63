#include "engine/step_plan.h"

#include <algorithm>

#include "base/ensure.h"

namespace quern {

StepPlan::StepPlan(const Limits& limits, const KvPool& pool)
    : limits_(limits), stride_(pool.max_table_blocks()) {
  const auto sequences = static_cast<size_t>(limits.max_sequences);
  ranges_.reserve(sequences);
  token_ids_.reserve(static_cast<size_t>(limits.max_tokens));
  positions_.reserve(static_cast<size_t>(limits.max_tokens));
  query_start_.reserve(sequences + 1);
  context_len_.reserve(sequences);
  adapter_ids_.assign(sequences, -1);
  wishes_.reserve(static_cast<size_t>(limits.max_wanted_rows));
  for (int64_t g = 0; g < pool.num_groups(); ++g) {
    tables_.emplace_back(sequences * static_cast<size_t>(stride_), kNoBlock);
    block_tables_.push_back({tables_.back().data(), stride_});
  }
  clear();
}

int64_t StepPlan::bytes(const Limits& limits, int64_t num_groups, int64_t table_blocks) {
  return limits.max_tokens * 8 + limits.max_wanted_rows * static_cast<int64_t>(sizeof(RowWish)) +
         limits.max_sequences *
             (static_cast<int64_t>(sizeof(StepRange)) + 12 + 4 * num_groups * table_blocks);
}

void StepPlan::clear() {
  ranges_.clear();
  num_decoding_ = 0;
  token_ids_.clear();
  positions_.clear();
  query_start_.assign(1, 0);
  context_len_.clear();
  wishes_.clear();
}

void StepPlan::add(const Sequence& sequence, uint64_t generation, int64_t count,
                   const KvPool& pool) {
  const int64_t first = sequence.num_computed, end = first + count;
  ENSURE(num_tokens() + count <= limits_.max_tokens);
  ENSURE(static_cast<int64_t>(ranges_.size()) < limits_.max_sequences);
  const auto s = static_cast<int64_t>(ranges_.size());
  StepRange& range = ranges_.emplace_back(StepRange{.id = sequence.result.id,
                                                    .tag = sequence.request.tag,
                                                    .slot = sequence.slot,
                                                    .generation = generation,
                                                    .first = first,
                                                    .count = count,
                                                    .first_wish = num_wishes()});
  const Request& request = sequence.request;
  const bool plain = request.sampling.is_plain_greedy() && !request.logprobs &&
                     !request.logits_hash && sequence.num_generated() >= request.min_tokens;
  range.decodes = sequence.is_decoding();
  num_decoding_ += range.decodes ? 1 : 0;
  range.samples = end == sequence.num_tokens() && !sequence.is_scoring();
  for (int64_t position = first; position < end; ++position) {
    const auto row = static_cast<int32_t>(num_tokens());
    token_ids_.push_back(sequence.tokens[static_cast<size_t>(position)]);
    positions_.push_back(static_cast<int32_t>(position));
    if (sequence.wants_row(position)) {
      wishes_.push_back({.row = row});
    } else if (range.samples && position + 1 == end) {
      wishes_.push_back({.row = row,
                         .what = plain ? RowWish::What::kArgMax : RowWish::What::kLogits,
                         .k = plain ? 1 : 0});
    }
  }
  range.num_wishes = num_wishes() - range.first_wish;
  ENSURE(num_wishes() <= limits_.max_wanted_rows);
  query_start_.push_back(static_cast<int32_t>(num_tokens()));
  context_len_.push_back(static_cast<int32_t>(end));
  for (int64_t g = 0; g < pool.num_groups(); ++g) {
    const std::span<const int32_t> table = pool.table(sequence.slot, g);
    std::ranges::copy(table, tables_[static_cast<size_t>(g)].begin() + s * stride_);
  }
}

const Batch& StepPlan::batch() {
  batch_ = {.token_ids = token_ids_,
            .positions = positions_,
            .position_axes = 1,
            .query_start = query_start_,
            .context_len = context_len_,
            .block_tables = block_tables_,
            .adapter_ids = std::span(adapter_ids_).first(ranges_.size()),
            .wishes = wishes_};
  return batch_;
}

}  // namespace quern
