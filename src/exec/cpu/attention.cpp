#include "exec/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/ensure.h"

namespace quern::cpu {

namespace {

constexpr int64_t kSegmentBlocks = kSoftmaxSegment / kKvBlockTokens;
static_assert(kSegmentBlocks * kKvBlockTokens == kSoftmaxSegment);
constexpr int64_t kUnknown = -1;
/// What keys and values are widened to where many rows share them.
constexpr DType kWide = DType::of<F32>();

}  // namespace

Attention::Attention(const KernelTable& kernels, ThreadPool& pool, const Arena& work,
                     const Arena& kv, const Plan& plan, const Program& program,
                     const ExecShape& shape)
    : kernels_(kernels),
      pool_(pool),
      work_(work),
      kv_(kv),
      plan_(plan),
      program_(program),
      kv_dtype_(shape.kv_dtype),
      kv_kernels_(kernels.kv[shape.kv_dtype.index()]) {
  ENSURE(program.kv_layers.empty() || kv_kernels_.attend != nullptr, "keys and values as ",
         kv_dtype_.name());
  const auto sequences = static_cast<size_t>(shape.max_num_seqs);
  const auto tokens = static_cast<size_t>(shape.max_step_tokens());
  ranges_.reserve(sequences);
  direct_.reserve(sequences);
  tiled_.reserve(sequences);
  tiles_up_to_.reserve(sequences);
  positions_.reserve(tokens);
  sequence_of_.reserve(tokens);
}

void Attention::begin_step(const Batch& batch) {
  batch_ = &batch;
  ranges_.clear();
  positions_.clear();
  sequence_of_.clear();
  for (int64_t s = 0; s < batch.num_sequences(); ++s) {
    const auto i = static_cast<size_t>(s);
    const int64_t first = batch.query_start[i], end = batch.query_start[i + 1];
    const int64_t position = batch.context_len[i] - (end - first);
    ENSURE(position >= 0, "sequence ", s, " has fewer keys than tokens");
    ranges_.push_back({first, end - first, position});
    for (int64_t t = 0; t < end - first; ++t) {
      positions_.push_back(static_cast<int32_t>(position + t));
      sequence_of_.push_back(static_cast<int32_t>(s));
    }
  }
  ENSURE(static_cast<int64_t>(positions_.size()) == batch.num_tokens());
}

const std::byte* Attention::head_keys(const LayerView& view, int32_t block, int64_t kv_head) const {
  return kv_.at(plan_.keys_at(static_cast<size_t>(view.step->layer), view.kv_group, block) +
                kv_head * kv_head_bytes(kv_dtype_, view.head_dim));
}

const std::byte* Attention::head_values(const LayerView& view, int32_t block,
                                        int64_t kv_head) const {
  const auto layer = static_cast<size_t>(view.step->layer);
  return kv_.at(plan_.keys_at(layer, view.kv_group, block) + plan_.kv_values_begin[layer] +
                kv_head * kv_head_bytes(kv_dtype_, view.dh16));
}

void Attention::append(int32_t layer_index, Matrix<const float> k, Matrix<const float> v) {
  const auto index = static_cast<size_t>(layer_index);
  const KvLayer& layer = program_.kv_layers[index];
  const BlockTable& table = batch_->block_tables[static_cast<size_t>(layer.group)];
  const int64_t key_bytes = kv_head_bytes(kv_dtype_, layer.head_dim);
  const int64_t value_bytes = kv_head_bytes(kv_dtype_, padded_head(layer.head_dim));
  // Neighbouring tokens share lines of keys: a chunk is as long as a block.
  const int64_t chunks = k.rows < 2 * kKvBlockTokens ? 1 : (k.rows + 31) / kKvBlockTokens;
  const int64_t step = chunks == 1 ? k.rows : kKvBlockTokens;
  pool_.parallel_for(chunks, [&](int64_t chunk, int) {
    for (int64_t t = chunk * step; t < std::min(k.rows, (chunk + 1) * step); ++t) {
      const int32_t position = positions_[static_cast<size_t>(t)];
      const int32_t block = table.block(sequence_of_[static_cast<size_t>(t)], position);
      ENSURE(block != kNoBlock, "no block for position ", position);
      std::byte* const keys = kv_.at(plan_.keys_at(index, layer.group, block));
      std::byte* const values = keys + plan_.kv_values_begin[index];
      for (int64_t h = 0; h < layer.num_key_value_heads; ++h) {
        kv_kernels_.append(keys + h * key_bytes, values + h * value_bytes,
                           position % kKvBlockTokens, k.row(t) + h * layer.head_dim,
                           v.row(t) + h * layer.head_dim, layer.head_dim);
      }
    }
  });
}

int64_t Attention::first_key(const LayerView& view, int64_t position) const {
  return view.step->window > 0 ? std::max<int64_t>(0, position - view.step->window + 1) : 0;
}
int64_t Attention::first_segment(const LayerView& view, const Tile& tile) const {
  return first_key(view, tile.first_position) / kSoftmaxSegment;
}
int64_t Attention::last_segment(const Tile& tile) const {
  return (tile.first_position + tile.count - 1) / kSoftmaxSegment;
}

Attention::RowState Attention::rows_at(float* memory, int64_t rows, int64_t dh16) const {
  return {memory, memory + rows * dh16, memory + rows * (dh16 + 1)};
}

/// Computes one segment for all rows of the tile and gives each row that looks at any of its keys
/// to take(row, largest, sum, acc). `widen` reads keys and values once into fp32 for all rows.
/// `next_segment` is what this worker will do next, if it knows: its keys are far from these.
template <typename Take>
void Attention::run_segment(const LayerView& view, const Tile& tile, int64_t segment,
                            int64_t next_segment, bool widen, int worker, const Take& take) const {
  const WorkerPlaces& places = plan_.workers[static_cast<size_t>(worker)];
  auto* const first = work_.as<int32_t>(places.bounds);
  const int64_t rows = tile.count * view.group;
  int32_t* const last = first + rows;
  const int64_t base = segment * kSoftmaxSegment;
  int64_t lowest = kSoftmaxSegment, highest = -1;
  for (int64_t t = 0; t < tile.count; ++t) {
    const int64_t position = tile.first_position + t;
    int64_t from = std::max<int64_t>(0, first_key(view, position) - base);
    int64_t to = std::min<int64_t>(kSoftmaxSegment - 1, position - base);
    if (from > to) {
      from = 0, to = -1;
    } else {
      lowest = std::min(lowest, from);
      highest = std::max(highest, to);
    }
    for (int64_t r = t * view.group; r < (t + 1) * view.group; ++r) {
      first[r] = static_cast<int32_t>(from);
      last[r] = static_cast<int32_t>(to);
    }
  }
  if (highest < 0) return;

  AttendArgs args{};
  for (int64_t b = lowest / kKvBlockTokens; b <= highest / kKvBlockTokens; ++b) {
    const int32_t block = view.table->block(tile.sequence, base + b * kKvBlockTokens);
    ENSURE(block != kNoBlock, "position ", base + b * kKvBlockTokens, " has left the window");
    const std::byte* keys = head_keys(view, block, tile.kv_head);
    const std::byte* values = head_values(view, block, tile.kv_head);
    if (widen && kv_dtype_ != kWide) {
      const int64_t offset = b * kKvBlockTokens * 4;
      std::byte* const wide_keys = work_.at(places.keys + offset * view.head_dim);
      std::byte* const wide_values = work_.at(places.values + offset * view.dh16);
      kv_kernels_.widen(reinterpret_cast<float*>(wide_keys), reinterpret_cast<float*>(wide_values),
                        keys, values, view.head_dim);
      keys = wide_keys;
      values = wide_values;
    }
    args.keys[b] = keys;
    args.values[b] = values;
    const int64_t next = next_segment * kSoftmaxSegment + b * kKvBlockTokens;
    args.next_keys[b] = next_segment != kUnknown && next < tile.first_position + tile.count
                            ? head_keys(view, view.table->block(tile.sequence, next), tile.kv_head)
                            : keys;
  }
  const KvKernels& kv_kernels = widen ? kernels_.kv[kWide.index()] : kv_kernels_;
  args.head_dim = view.head_dim;
  args.scale = view.step->scale;
  args.softcap = view.step->softcap;
  const RowState part =
      rows_at(work_.as<float>(places.segment), kernels_.max_attend_rows, view.dh16);
  args.acc = part.acc;
  args.largest = part.largest;
  args.sum = part.sum;
  for (int64_t begin = 0; begin < rows; begin += kernels_.max_attend_rows) {
    const int64_t count = std::min<int64_t>(kernels_.max_attend_rows, rows - begin);
    bool any = false;
    for (int64_t r = begin; r < begin + count; ++r) any |= last[r] >= first[r];
    if (!any) continue;
    args.rows = static_cast<int>(count);
    const float* queries[kMaxAttendRows];
    for (int64_t r = 0; r < count; ++r) {
      const int64_t head = tile.kv_head * view.group + (begin + r) % view.group;
      queries[r] = view.q.row(tile.first_token + (begin + r) / view.group) + head * view.head_dim;
    }
    args.q = queries;
    args.first = first + begin;
    args.last = last + begin;
    kv_kernels.attend(args);
    for (int64_t r = 0; r < count; ++r) {
      if (args.last[r] < args.first[r]) continue;
      take(begin + r, part.largest[r], part.sum[r], part.acc + r * view.dh16);
    }
  }
}

void Attention::start(const RowState& state, int64_t rows, int64_t dh16) const {
  std::fill_n(state.acc, rows * dh16, 0.0f);
  std::fill_n(state.largest, rows, -INFINITY);
  std::fill_n(state.sum, rows, 0.0f);
}

void Attention::write_out(const LayerView& view, const Tile& tile, const RowState& state) const {
  for (int64_t r = 0; r < tile.count * view.group; ++r) {
    const int64_t head = tile.kv_head * view.group + r % view.group;
    float* const to = view.out.row(tile.first_token + r / view.group) + head * view.head_dim;
    kernels_.divide(to, state.acc + r * view.dh16, state.sum[r], view.head_dim);
  }
}

/// All segments of a tile in one go.
void Attention::run_tile(const LayerView& view, const Tile& tile, int worker) const {
  const WorkerPlaces& places = plan_.workers[static_cast<size_t>(worker)];
  const int64_t rows = tile.count * view.group;
  const RowState state = rows_at(work_.as<float>(places.state), rows, view.dh16);
  start(state, rows, view.dh16);
  const int64_t end = last_segment(tile);
  for (int64_t segment = first_segment(view, tile); segment <= end; ++segment) {
    run_segment(view, tile, segment, segment < end ? segment + 1 : kUnknown, rows > kDirectRows,
                worker, [&](int64_t row, float largest, float sum, const float* acc) {
                  kernels_.merge(&state.largest[row], &state.sum[row], state.acc + row * view.dh16,
                                 largest, sum, acc, view.dh16);
                });
  }
  write_out(view, tile, state);
}

Attention::Tile Attention::direct_tile(const LayerView& view, int64_t index) const {
  const int64_t s = direct_[static_cast<size_t>(index / view.num_kv_heads)];
  const Range& range = ranges_[static_cast<size_t>(s)];
  return {s, range.first_token, range.count, range.first_position, index % view.num_kv_heads};
}

/// Few decoding sequences and heads for the threads there are: segments are computed in parallel,
/// as many at a time as there are places for their results, and merged in ascending order.
void Attention::run_split(const LayerView& view, int64_t num_tiles) {
  const int64_t at_a_time = plan_.num_partials / (num_tiles * 2);  // half holds running states
  ENSURE(at_a_time >= 1);
  float* const memory = work_.as<float>(plan_.partials);
  const auto place = [&](int64_t tile, int64_t which) {
    return memory + (tile * (at_a_time + 1) + which) * plan_.partial_floats;
  };
  int64_t begin = INT64_MAX, end = -1;
  for (int64_t i = 0; i < num_tiles; ++i) {
    const Tile tile = direct_tile(view, i);
    begin = std::min(begin, first_segment(view, tile));
    end = std::max(end, last_segment(tile));
    const int64_t rows = tile.count * view.group;
    start(rows_at(place(i, 0), rows, view.dh16), rows, view.dh16);
  }
  for (; begin <= end; begin += at_a_time) {
    const int64_t count = std::min(at_a_time, end + 1 - begin);
    pool_.parallel_for(num_tiles * count, [&](int64_t item, int worker) {
      const Tile tile = direct_tile(view, item / count);
      const int64_t segment = begin + item % count;
      const int64_t rows = tile.count * view.group;
      const RowState part = rows_at(place(item / count, 1 + item % count), rows, view.dh16);
      std::fill_n(part.sum, rows, -1.0f);  // no key of this segment
      if (segment < first_segment(view, tile) || segment > last_segment(tile)) return;
      run_segment(view, tile, segment, kUnknown, rows > kDirectRows, worker,
                  [&](int64_t row, float largest, float sum, const float* acc) {
                    part.largest[row] = largest;
                    part.sum[row] = sum;
                    std::copy_n(acc, view.dh16, part.acc + row * view.dh16);
                  });
    });
    pool_.parallel_for(num_tiles, [&](int64_t i, int) {
      const Tile tile = direct_tile(view, i);
      const int64_t rows = tile.count * view.group;
      const RowState state = rows_at(place(i, 0), rows, view.dh16);
      for (int64_t which = 0; which < count; ++which) {
        const RowState part = rows_at(place(i, 1 + which), rows, view.dh16);
        for (int64_t row = 0; row < rows; ++row) {
          if (part.sum[row] < 0) continue;
          kernels_.merge(&state.largest[row], &state.sum[row], state.acc + row * view.dh16,
                         part.largest[row], part.sum[row], part.acc + row * view.dh16, view.dh16);
        }
      }
      if (begin + count > end) write_out(view, tile, state);
    });
  }
}

void Attention::attend(const Attend& step, Matrix<float> out, Matrix<const float> q) {
  const KvLayer& layer = program_.kv_layers[static_cast<size_t>(step.layer)];
  LayerView view;
  view.step = &step;
  view.out = out;
  view.q = q;
  view.num_kv_heads = layer.num_key_value_heads;
  view.head_dim = layer.head_dim;
  view.dh16 = padded_head(layer.head_dim);
  view.group = q.cols / layer.head_dim / layer.num_key_value_heads;
  view.kv_group = layer.group;
  view.table = &batch_->block_tables[static_cast<size_t>(layer.group)];

  const int64_t tile_tokens = std::max<int64_t>(1, kAttendTileRows / view.group);
  direct_.clear();
  tiled_.clear();
  tiles_up_to_.clear();
  int64_t num_tiles = 0, segments = 0;
  for (size_t s = 0; s < ranges_.size(); ++s) {
    const Range& range = ranges_[s];
    if (range.count == 0) continue;
    if (range.count == 1 || range.count * view.group <= kDirectRows) {
      direct_.push_back(static_cast<int64_t>(s));
      const int64_t end = range.first_position + range.count;
      segments =
          std::max(segments, (end - first_key(view, range.first_position)) / kSoftmaxSegment);
    } else {
      tiled_.push_back(static_cast<int64_t>(s));
      num_tiles += (range.count + tile_tokens - 1) / tile_tokens;
      tiles_up_to_.push_back(num_tiles);
    }
  }
  const auto num_direct = static_cast<int64_t>(direct_.size()) * view.num_kv_heads;
  const bool split = pool_.num_threads() > 1 && num_direct > 0 && segments > 1 &&
                     num_direct < 2 * pool_.num_threads() && num_direct * 4 <= plan_.num_partials;
  const int64_t all_tiles = num_tiles * view.num_kv_heads;
  const auto run = [&](int64_t item, int worker) {
    if (item >= all_tiles) return run_tile(view, direct_tile(view, item - all_tiles), worker);
    // Later tiles have more keys: the longest work first leaves the least to wait for.
    const int64_t number = num_tiles - 1 - item / view.num_kv_heads;
    const size_t which = static_cast<size_t>(
        std::upper_bound(tiles_up_to_.begin(), tiles_up_to_.end(), number) - tiles_up_to_.begin());
    const Range& range = ranges_[static_cast<size_t>(tiled_[which])];
    const int64_t before = which == 0 ? 0 : tiles_up_to_[which - 1];
    const int64_t begin = (number - before) * tile_tokens;
    run_tile(view,
             {tiled_[which], range.first_token + begin, std::min(tile_tokens, range.count - begin),
              range.first_position + begin, item % view.num_kv_heads},
             worker);
  };
  pool_.parallel_for(all_tiles + (split ? 0 : num_direct), run);
  if (split) run_split(view, num_direct);
}

void Attention::copy_blocks(int32_t group, std::span<const int32_t> from,
                            std::span<const int32_t> to) {
  ENSURE(from.size() == to.size());
  const auto g = static_cast<size_t>(group);
  const int64_t bytes = plan_.kv_block_bytes[g];
  for (size_t i = 0; i < from.size(); ++i) {
    std::memcpy(kv_.at(plan_.kv_groups[g] + to[i] * bytes),
                kv_.at(plan_.kv_groups[g] + from[i] * bytes), static_cast<size_t>(bytes));
  }
}

}  // namespace quern::cpu
