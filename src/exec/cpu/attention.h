#pragma once

#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "exec/cpu/arena.h"
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/plan.h"
#include "exec/executor.h"
#include "tensor/matrix.h"

namespace quern::cpu {

/// Attention of one step's tokens over the paged cache, cut into work for the pool in whatever way
/// is fastest for the batch. The bits do not depend on the cut: a segment of 128 keys at absolute
/// positions is computed for each query row by itself, and segments are merged in ascending order.
class Attention {
 public:
  Attention(const KernelTable& kernels, ThreadPool& pool, const Arena& work, const Arena& kv,
            const Plan& plan, const Program& program, const ExecShape& shape);

  /// Reads the ranges of the batch once, before the first layer.
  void begin_step(const Batch& batch);
  /// Position in its sequence of each token of the step.
  std::span<const int32_t> positions() const { return positions_; }

  void append(int32_t layer, Matrix<const float> k, Matrix<const float> v);
  void attend(const Attend& step, Matrix<float> out, Matrix<const float> q);
  void copy_blocks(int32_t group, std::span<const int32_t> from, std::span<const int32_t> to);

 private:
  struct Range {  // the tokens of one sequence
    int64_t first_token = 0;
    int64_t count = 0;
    int64_t first_position = 0;
  };
  struct Tile {  // some tokens of one sequence against one key/value head
    int64_t sequence = 0;
    int64_t first_token = 0;  // of the batch
    int64_t count = 0;
    int64_t first_position = 0;
    int64_t kv_head = 0;
  };
  struct LayerView {  // what does not change while one step of one layer runs
    const Attend* step = nullptr;
    Matrix<float> out;
    Matrix<const float> q;
    int64_t num_kv_heads = 0, head_dim = 0, dh16 = 0, group = 0;
    int32_t kv_group = 0;
    const BlockTable* table = nullptr;
  };
  struct RowState {        // running result of some query rows
    float* acc = nullptr;  // [rows][dh16]
    float* largest = nullptr;
    float* sum = nullptr;
  };

  int64_t first_key(const LayerView& view, int64_t position) const;
  int64_t first_segment(const LayerView& view, const Tile& tile) const;
  int64_t last_segment(const Tile& tile) const;
  RowState rows_at(float* memory, int64_t rows, int64_t dh16) const;

  const std::byte* head_keys(const LayerView& view, int32_t block, int64_t kv_head) const;
  const std::byte* head_values(const LayerView& view, int32_t block, int64_t kv_head) const;
  template <typename Take>
  void run_segment(const LayerView& view, const Tile& tile, int64_t segment, int64_t next_segment,
                   bool widen, int worker, const Take& take) const;
  void run_tile(const LayerView& view, const Tile& tile, int worker) const;
  void start(const RowState& state, int64_t rows, int64_t dh16) const;
  void write_out(const LayerView& view, const Tile& tile, const RowState& state) const;
  void run_split(const LayerView& view, int64_t num_tiles);
  Tile direct_tile(const LayerView& view, int64_t index) const;

  const KernelTable& kernels_;
  ThreadPool& pool_;
  const Arena& work_;
  const Arena& kv_;
  const Plan& plan_;
  const Program& program_;
  DType kv_dtype_;
  const KvKernels& kv_kernels_;

  const Batch* batch_ = nullptr;
  std::vector<Range> ranges_;
  std::vector<int32_t> positions_;    // of each token
  std::vector<int32_t> sequence_of_;  // of each token
  std::vector<int64_t> direct_;       // ranges few of whose rows share a read: see kDirectRows
  std::vector<int64_t> tiled_;        // the others,
  std::vector<int64_t> tiles_up_to_;  // and their numbers of tiles, summed up
};

}  // namespace quern::cpu
