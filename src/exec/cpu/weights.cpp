#include "exec/cpu/weights.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/cat.h"
#include "exec/cpu/weight_cache.h"

namespace quern::cpu {

namespace {

/// Smaller weights are packed sooner than a file is opened and compared.
constexpr int64_t kWorthKeeping = int64_t{8} << 20;

}  // namespace

Result<Weights> Weights::load(const Program& program, const WeightTypes& types,
                              const WeightSource& source, const Plan& plan, ThreadPool& pool,
                              const ExecOptions& options) {
  Weights weights;
  const size_t count = program.weights.size();
  weights.matrices_.resize(count);
  weights.vectors_.resize(count, nullptr);
  ASSIGN_OR_RETURN(weights.arena_, Arena::reserve(plan.weight_bytes, "weights"));
  weights.point(program, types, plan);
  std::optional<WeightCache> cache;
  if (!options.weight_cache.empty() && plan.weight_bytes >= kWorthKeeping &&
      source.fingerprint() != 0) {
    cache.emplace(options.weight_cache, WeightCache::key_of(program, types, source, plan),
                  plan.weight_bytes);
    if (cache->find(weights.arena_, pool)) return weights;
  }

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
    if (decl.kind == WeightDecl::Kind::kVector) {
      auto* const values = weights.arena_.as<float>(plan.weights[i]);
      source.decode_rows(id, 0, {values, decl.rows, decl.cols, decl.cols});
    } else {
      weights.pack(id, types[id], source, pool);
    }
    source.release(id);
    done += decl.num_values();
    if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(all));
  }
  if (cache) cache->store(weights.arena_, pool);
  return weights;
}

void Weights::point(const Program& program, const WeightTypes& types, const Plan& plan) {
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDecl& decl = program.weights[i];
    std::byte* const place = arena_.at(plan.weights[i]);
    if (decl.kind == WeightDecl::Kind::kVector) {
      vectors_[i] = reinterpret_cast<float*>(place);
    } else {
      const DType dtype = types[WeightId{static_cast<int32_t>(i)}];
      matrices_[i] = PackedMatrix{*PanelLayout::of(dtype, decl.cols), place, decl.rows, decl.cols};
    }
  }
}

void Weights::pack(WeightId id, DType dtype, const WeightSource& source, ThreadPool& pool) {
  const PackedMatrix& matrix = this->matrix(id);
  const auto cols = static_cast<size_t>(matrix.cols);
  const auto row_bytes = static_cast<size_t>(dtype.row_bytes(matrix.cols));
  constexpr size_t kRows = kPanelRows;
  std::vector<std::byte> room(row_bytes);
  const bool as_stored =
      dtype == source.stored_dtype(id) && source.stored_row(id, 0, room.data()) != nullptr;

  struct Scratch {
    std::vector<float> values;
    std::vector<std::byte> rows;
  };
  std::vector<Scratch> scratch(static_cast<size_t>(pool.num_threads()));
  const auto pack_panels = [&](int64_t begin, int64_t end, int worker) {
    Scratch& mine = scratch[static_cast<size_t>(worker)];
    if (mine.rows.empty()) {
      mine.rows.resize(kRows * row_bytes);
      if (!as_stored) mine.values.resize(kRows * cols);
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
        std::byte* const row = mine.rows.data() + r * row_bytes;
        if (as_stored) {
          rows[r] = source.stored_row(id, first + static_cast<int64_t>(r), row);
        } else {
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
