#pragma once

#include <cstdint>
#include <vector>

#include "exec/cpu/layout.h"
#include "exec/executor.h"

namespace quern::cpu {

/// Query rows that one attention tile holds at most, unless one token alone has more.
inline constexpr int64_t kAttendTileRows = 96;
/// The most query rows that a kernel takes, over all levels.
inline constexpr int64_t kMaxAttendRows = 8;
/// Query rows of one sequence and key/value head up to which keys and values are read as stored;
/// more rows widen them once first.
inline constexpr int64_t kDirectRows = 12;
/// The most tokens that one wish may name (RowWish::k).
inline constexpr int32_t kMaxBest = 1024;

/// Where one worker keeps what it computes with.
struct WorkerPlaces {
  int64_t sums;          // products: [tokens][panels * 16]
  int64_t keys, values;  // attention: a segment widened to fp32
  int64_t state;         // [rows][Dh16], then largest and sum
  int64_t segment;       // one group's segment: [rows][Dh16], then largest and sum
  int64_t bounds;        // first and last key of each row
};

/// Every byte the executor will hold, found from (Program, WeightTypes, ExecShape, threads) alone:
/// need() adds it up and load() reserves exactly it.
struct Plan {
  // In the arena of weights, by WeightId.
  std::vector<int64_t> weights;
  int64_t weight_bytes = 0;

  // In the arena of keys and values, by group: block b begins at kv_groups[group] + b *
  // kv_block_bytes[group], and holds all layers of the group.
  std::vector<int64_t> kv_groups;
  std::vector<int64_t> kv_block_bytes;
  // By layer: where its keys begin in a block, and behind those its values.
  std::vector<int64_t> kv_in_block;
  std::vector<int64_t> kv_values_begin;
  int64_t kv_bytes = 0;

  /// Where the keys of a layer of `group` begin in block b.
  int64_t keys_at(size_t layer, int32_t group, int64_t block) const {
    const auto g = static_cast<size_t>(group);
    return kv_groups[g] + block * kv_block_bytes[g] + kv_in_block[layer];
  }

  // In the arena of work.
  std::vector<int64_t> buffers;  // by Slot::buffer; buffers that never live together share bytes
  std::vector<int64_t> ropes;    // cosines [T][half], then sines
  int64_t int8_q = 0, int8_scale = 0, int8_neg_sum = 0, int8_neg_half_sum = 0, int8_scaled_sum = 0;
  int64_t int8_rows_q = 0, int8_rows_scale = 0, int8_rows_neg_sum = 0;
  int64_t float_form = 0, pair_form = 0;
  int64_t position_row = 0;  // one row of a table of positions, decoded
  std::vector<WorkerPlaces> workers;
  int64_t partials = 0, num_partials = 0, partial_floats = 0;  // of segments computed in parallel
  int64_t best = 0;
  int64_t work_bytes = 0;

  int64_t other_bytes = 0;
};

Plan make_plan(const Program& program, const WeightTypes& types, const ExecShape& shape,
               Activations activations, int threads);

/// Bytes of one head's keys, or of its values, in a block of the cache (KvKernels).
inline int64_t kv_head_bytes(DType kv_dtype, int64_t width) {
  return kKvBlockTokens * kv_dtype.row_bytes(width);
}

/// Dh rounded up to whole vectors: the stride of values.
constexpr int64_t padded_head(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

}  // namespace quern::cpu
