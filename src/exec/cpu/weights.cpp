#include "exec/cpu/weights.h"

#include <algorithm>
#include <numeric>

#include "base/cat.h"

namespace quern::cpu {

Result<Weights> Weights::load(const Program& program, const WeightTypes& types,
                              const WeightSource& source, const Plan& plan, ThreadPool& pool,
                              const ExecOptions& options) {
  Weights weights;
  const size_t count = program.weights.size();
  weights.matrices_.resize(count);
  weights.vectors_.resize(count, nullptr);
  ASSIGN_OR_RETURN(weights.arena_, Arena::reserve(plan.weight_bytes, "weights"));

  int64_t all = 0, done = 0;
  for (const WeightDecl& decl : program.weights) all += decl.num_values();
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto stored_bytes = [&](size_t i) {
    const DType stored = source.stored_dtype(WeightId{static_cast<int32_t>(i)});
    return program.weights[i].num_values() / stored.block_values() * stored.block_bytes();
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return stored_bytes(a) > stored_bytes(b); });
  for (const size_t i : order) {
    const WeightDecl& decl = program.weights[i];
    const WeightId id{static_cast<int32_t>(i)};
    std::byte* const place = weights.arena_.at(plan.weights[i]);
    if (decl.kind == WeightDecl::Kind::kVector) {
      auto* const values = reinterpret_cast<float*>(place);
      source.decode_rows(id, 0, {values, decl.rows, decl.cols, decl.cols});
      weights.vectors_[i] = values;
    } else {
      const PanelLayout layout = *PanelLayout::of(types[id], decl.cols);
      weights.matrices_[i] = PackedMatrix{layout, place, decl.rows, decl.cols};
      weights.pack(id, types[id], source, pool);
    }
    source.release(id);
    done += decl.num_values();
    if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(all));
  }
  return weights;
}

void Weights::pack(WeightId id, DType dtype, const WeightSource& source, ThreadPool& pool) {
  const PackedMatrix& matrix = this->matrix(id);
  const bool as_stored = dtype == source.stored_dtype(id) && source.stored_row(id, 0) != nullptr;
  const auto cols = static_cast<size_t>(matrix.cols);
  const auto row_bytes = static_cast<size_t>(dtype.row_bytes(matrix.cols));
  constexpr size_t kRows = kPanelRows;

  struct Scratch {
    std::vector<float> values;
    std::vector<std::byte> rows;
  };
  std::vector<Scratch> scratch(static_cast<size_t>(pool.num_threads()));
  const auto pack_panels = [&](int64_t begin, int64_t end, int worker) {
    Scratch& mine = scratch[static_cast<size_t>(worker)];
    if (!as_stored && mine.rows.empty()) {
      mine.values.resize(kRows * cols);
      mine.rows.resize(kRows * row_bytes);
    }
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kPanelRows;
      const auto count = static_cast<size_t>(std::min<int64_t>(kPanelRows, matrix.rows - first));
      const std::byte* rows[kRows];
      if (!as_stored) {
        source.decode_rows(
            id, first, {mine.values.data(), static_cast<int64_t>(count), matrix.cols, matrix.cols});
      }
      for (size_t r = 0; r < count; ++r) {
        if (as_stored) {
          rows[r] = source.stored_row(id, first + static_cast<int64_t>(r));
        } else {
          std::byte* const row = mine.rows.data() + r * row_bytes;
          dtype.encode_row({mine.values.data() + r * cols, cols}, row);
          rows[r] = row;
        }
      }
      matrix.layout.pack({rows, count}, const_cast<std::byte*>(matrix.panel(panel)));
    }
  };

  // A large tensor is let go of every now and then, or its file pages would stand in memory beside
  // its packed copy; a page still needed is mapped again from the page cache.
  constexpr int64_t kPanelsPerChunk = 8, kHeldBytes = int64_t{32} << 20;
  const DType stored = source.stored_dtype(id);
  const int64_t panel_bytes = kPanelRows *
                              ((matrix.cols + stored.block_values() - 1) / stored.block_values()) *
                              stored.block_bytes();
  const int64_t held_panels =
      std::max(kPanelsPerChunk, kHeldBytes / panel_bytes / kPanelsPerChunk * kPanelsPerChunk);
  for (int64_t first = 0; first < matrix.num_panels(); first += held_panels) {
    const int64_t last = std::min(matrix.num_panels(), first + held_panels);
    pool.parallel_for((last - first + kPanelsPerChunk - 1) / kPanelsPerChunk,
                      [&](int64_t chunk, int worker) {
                        const int64_t begin = first + chunk * kPanelsPerChunk;
                        pack_panels(begin, std::min(last, begin + kPanelsPerChunk), worker);
                      });
    if (last < matrix.num_panels()) source.release(id);
  }
}

}  // namespace quern::cpu
