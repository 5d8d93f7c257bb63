#include "exec/cpu/products.h"

#include <algorithm>

#include "base/ensure.h"

namespace quern::cpu {

namespace {

/// Below this many bytes of weights times tokens a parallel loop costs more than it gains.
constexpr int64_t kWorthSharing = 64 << 10;
/// Chunks per thread: enough that a thread which loses its core for a while delays little.
constexpr int64_t kChunksPerThread = 8;
constexpr int64_t kMinChunkBytes = 32 << 10;
constexpr int64_t kRowsPerChunk = 16;
/// Panels whose outputs are written together, at the least: a line of one panel alone, for each of
/// many tokens, would meet the same few places of the caches again and again.
constexpr int64_t kMinGroup = 4;

int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

}  // namespace

RowFormKind Products::form_kind(const PanelLayout& layout) const {
  if (activations_ == Activations::kF32) return RowFormKind::kFloat;
  if (layout.dtype().scales_rows()) return RowFormKind::kInt8Rows;
  if (!layout.is_float()) return RowFormKind::kInt8;
  return layout.dtype() == DType::of<BF16>() && kernels_.multiply_pairs != nullptr
             ? RowFormKind::kBf16Pairs
             : RowFormKind::kFloat;
}

TileShape Products::tile_shape(RowFormKind kind, int64_t tokens) const {
  if (kind == RowFormKind::kInt8Rows) return kernels_.int8_rows_shape(tokens);
  return kind == RowFormKind::kInt8 ? kernels_.int8_shape(tokens) : kernels_.float_shape(tokens);
}

const RowForm& Products::form(RowFormKind kind, const Slot& slot, Matrix<const float> in) {
  const auto index = static_cast<size_t>(kind);
  if (!(form_of_ == slot)) {
    form_of_ = slot;
    std::fill(std::begin(made_), std::end(made_), false);
  }
  RowForm& made = forms_[index];
  if (made_[index]) return made;
  made_[index] = true;
  made = {};
  made.tokens = in.rows;
  made.cols = in.cols;
  made.width = tile_shape(kind, in.rows).width;

  const auto fill = [&](auto&& rows) {
    const int64_t chunks =
        in.rows * in.cols * 4 < kWorthSharing ? 1 : (in.rows + kRowsPerChunk - 1) / kRowsPerChunk;
    const int64_t step = chunks == 1 ? in.rows : kRowsPerChunk;
    pool_.parallel_for(chunks, [&](int64_t chunk, int) {
      rows(chunk * step, std::min(in.rows, (chunk + 1) * step));
    });
  };
  switch (kind) {
    case RowFormKind::kFloat: {
      if (in.rows == 1) {  // a tile of one token is the row itself
        made.f32 = in.data;
        break;
      }
      auto* out = work_.as<float>(plan_.float_form);
      fill([&](int64_t begin, int64_t end) {
        kernels_.fill_float(made, out, in.data, in.stride, begin, end);
      });
      made.f32 = out;
      break;
    }
    case RowFormKind::kInt8:
      made.q = work_.as<int8_t>(plan_.int8_q);
      made.scale = work_.as<float>(plan_.int8_scale);
      made.neg_sum = work_.as<int32_t>(plan_.int8_neg_sum);
      made.neg_half_sum = work_.as<int32_t>(plan_.int8_neg_half_sum);
      made.scaled_sum = work_.as<float>(plan_.int8_scaled_sum);
      fill([&](int64_t begin, int64_t end) {
        kernels_.fill_int8(made, in.data, in.stride, begin, end);
      });
      break;
    case RowFormKind::kInt8Rows:
      made.q = work_.as<int8_t>(plan_.int8_rows_q);
      made.scale = work_.as<float>(plan_.int8_rows_scale);
      made.neg_sum = work_.as<int32_t>(plan_.int8_rows_neg_sum);
      fill([&](int64_t begin, int64_t end) {
        kernels_.fill_int8_rows(made, in.data, in.stride, begin, end);
      });
      break;
    case RowFormKind::kBf16Pairs: {
      auto* out = work_.as<uint32_t>(plan_.pair_form);
      fill([&](int64_t begin, int64_t end) {
        kernels_.fill_pairs(made, out, in.data, in.stride, begin, end);
      });
      made.pairs = out;
      break;
    }
  }
  return made;
}

/// Sums of the panels of all ranges, side by side, for all tokens. As many neighbours of one kind
/// share a call of the kernel as a tile has room for.
void Products::multiply(std::span<const PanelRange> ranges, float* sums,
                        int64_t sums_stride) const {
  MultiplyArgs args{};
  args.sums = sums;
  args.sums_stride = sums_stride;
  DType dtype = ranges.front().matrix->layout.dtype();
  RowFormKind kind = form_kind(ranges.front().matrix->layout);
  const auto call = [&] {
    if (args.num_panels == 0) return;
    args.x = &forms_[static_cast<size_t>(kind)];
    switch (kind) {
      case RowFormKind::kFloat:
        kernels_.multiply_float[dtype.index()](args);
        break;
      case RowFormKind::kInt8:
      case RowFormKind::kInt8Rows:
        kernels_.multiply_int8[dtype.index()](args);
        break;
      case RowFormKind::kBf16Pairs:
        kernels_.multiply_pairs(args);
        break;
    }
    args.sums += args.num_panels * kPanelRows;
    args.num_panels = 0;
  };
  for (const PanelRange& range : ranges) {
    const PackedMatrix& matrix = *range.matrix;
    const RowFormKind range_kind = form_kind(matrix.layout);
    const int64_t tokens = forms_[static_cast<size_t>(range_kind)].tokens;
    const int room = tile_shape(range_kind, tokens).panels;
    const int64_t next = std::min(room, range.count);
    if (matrix.layout.dtype() != dtype || args.num_panels + next > room) call();
    dtype = matrix.layout.dtype();
    kind = range_kind;
    for (int64_t panel = range.panel; panel < range.panel + range.count; ++panel) {
      if (args.num_panels == room) call();
      args.panels[args.num_panels] = matrix.panel(panel);
      args.next_panels[args.num_panels++] =
          matrix.panel(std::min(panel + next, matrix.num_panels() - 1));
    }
  }
  call();
}

void Products::run(const Slot& in_slot, Matrix<const float> in,
                   std::span<const ProductPiece> pieces, const FinishArgs& finish,
                   Matrix<float> out, Matrix<const float> add) {
  const int64_t tokens = in.rows;
  if (tokens == 0) return;
  const bool gated = finish.op == FinishArgs::Op::kActivateGated;
  for (const ProductPiece& piece : pieces) {
    ENSURE(piece.matrix->cols == in.cols);
    form(form_kind(piece.matrix->layout), in_slot, in);
  }
  if (gated) {
    ENSURE(pieces.size() == 2 && pieces[0].matrix->rows == pieces[1].matrix->rows);
  }
  const auto heads = gated ? pieces.first(1) : pieces;  // pieces that are cut into chunks

  int64_t bytes = 0;
  for (const ProductPiece& piece : pieces) {
    bytes += piece.matrix->num_panels() * piece.matrix->layout.panel_bytes();
  }
  const bool share = bytes * tokens >= kWorthSharing && pool_.num_threads() > 1;
  const int64_t chunk_bytes = std::max(kMinChunkBytes / std::min<int64_t>(tokens, 16),
                                       bytes / (pool_.num_threads() * kChunksPerThread));

  // Panels of one call of the kernel, and of a chunk.
  const int64_t together = gated ? 2 : 1;
  const auto group_panels = [&](const ProductPiece& piece) {
    const int room = tile_shape(form_kind(piece.matrix->layout), tokens).panels;
    return std::max<int64_t>(kMinGroup, room) / together;
  };
  const auto chunk_panels = [&](const ProductPiece& piece) {
    const PanelLayout& layout = piece.matrix->layout;
    if (!share) return piece.matrix->num_panels();
    const int64_t panel_bytes = layout.panel_bytes() * together;
    const int64_t least = kMinGroup / together;
    return std::max(least, round_up(chunk_bytes / panel_bytes, least));
  };
  const auto num_chunks = [&](const ProductPiece& piece) {
    const int64_t size = chunk_panels(piece);
    return (piece.matrix->num_panels() + size - 1) / size;
  };
  int64_t all_chunks = 0;
  for (const ProductPiece& piece : heads) all_chunks += num_chunks(piece);

  const auto finish_panels = [&](const ProductPiece& piece, int64_t panel, int64_t count,
                                 const float* sums, const float* other_sums, int64_t sums_stride) {
    FinishArgs args = finish;
    const int64_t row = panel * kPanelRows;
    const int64_t column = piece.out_column + row;
    args.tokens = tokens;
    args.rows = static_cast<int>(std::min<int64_t>(count * kPanelRows, piece.matrix->rows - row));
    args.sums = sums;
    args.other_sums = other_sums;
    args.sums_stride = sums_stride;
    args.bias = piece.bias != nullptr ? piece.bias + row : nullptr;
    if (gated && pieces[1].bias != nullptr) args.other_bias = pieces[1].bias + row;
    if (finish.op == FinishArgs::Op::kAdd) {
      args.add = add.data + column;
      args.add_stride = add.stride;
    }
    args.out = out.data + column;
    args.out_stride = out.stride;
    kernels_.finish(args);
  };

  pool_.parallel_for(all_chunks, [&](int64_t chunk, int worker) {
    size_t which = 0;
    while (chunk >= num_chunks(heads[which])) chunk -= num_chunks(heads[which++]);
    const ProductPiece& piece = heads[which];
    const PackedMatrix& matrix = *piece.matrix;
    auto* const sums = work_.as<float>(plan_.workers[static_cast<size_t>(worker)].sums);
    const int64_t size = chunk_panels(piece);
    const int64_t end = std::min(matrix.num_panels(), (chunk + 1) * size);
    const int64_t group = group_panels(piece);

    for (int64_t panel = chunk * size; panel < end; panel += group) {
      const int count = static_cast<int>(std::min(group, end - panel));
      const int64_t width = count * kPanelRows;
      if (gated) {
        const PanelRange both[] = {{&matrix, panel, count}, {pieces[1].matrix, panel, count}};
        multiply(both, sums, 2 * width);
        finish_panels(piece, panel, count, sums, sums + width, 2 * width);
      } else {
        const PanelRange one[] = {{&matrix, panel, count}};
        multiply(one, sums, width);
        finish_panels(piece, panel, count, sums, nullptr, width);
      }
    }
  });
}

}  // namespace quern::cpu
