#pragma once

#include <span>

#include "base/thread_pool.h"
#include "exec/cpu/arena.h"
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/layout.h"
#include "exec/cpu/plan.h"
#include "exec/executor.h"
#include "tensor/matrix.h"

namespace quern::cpu {

/// A packed matrix where it lies.
struct PackedMatrix {
  PanelLayout layout;
  const std::byte* panels = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;

  int64_t num_panels() const { return PanelLayout::num_panels(rows); }
  const std::byte* panel(int64_t index) const { return panels + index * layout.panel_bytes(); }
};

/// One of the matrices stacked in a product, and where its rows go.
struct ProductPiece {
  const PackedMatrix* matrix = nullptr;
  const float* bias = nullptr;  // [rows] or nullptr
  int64_t out_column = 0;
};

/// The matrix products of a step: cuts them into chunks of panels, every chunk for all tokens, so
/// that a weight is read once. Keeps the last input in the form the kernels read, because a norm's
/// result usually feeds several products.
class Products {
 public:
  Products(const KernelTable& kernels, ThreadPool& pool, const Arena& work, const Plan& plan,
           Activations activations)
      : kernels_(kernels), pool_(pool), work_(work), plan_(plan), activations_(activations) {}

  /// Nothing written before this call is remembered.
  void begin_step() { form_of_ = {}; }
  /// The buffer has been written: forms made of it are out of date.
  void forget(int32_t buffer) {
    if (form_of_.buffer == buffer) form_of_ = {};
  }

  /// `finish` holds the epilogue (op, function, softcap, add); `out` is where column 0 lies. For
  /// kActivateGated there are two pieces of equal rows, gate and factor, and out has their width.
  void run(const Slot& in_slot, Matrix<const float> in, std::span<const ProductPiece> pieces,
           const FinishArgs& finish, Matrix<float> out, Matrix<const float> add);

 private:
  RowFormKind form_kind(const PanelLayout& layout) const;
  const RowForm& form(RowFormKind kind, const Slot& slot, Matrix<const float> in);
  TileShape tile_shape(RowFormKind kind, int64_t tokens) const;
  /// `count` panels of a matrix from `panel` on.
  struct PanelRange {
    const PackedMatrix* matrix = nullptr;
    int64_t panel = 0;
    int count = 0;
  };
  void multiply(std::span<const PanelRange> ranges, float* sums, int64_t sums_stride) const;

  const KernelTable& kernels_;
  ThreadPool& pool_;
  const Arena& work_;
  const Plan& plan_;
  const Activations activations_;

  Slot form_of_;
  bool made_[kNumRowForms] = {};  // by RowFormKind
  RowForm forms_[kNumRowForms];
};

}  // namespace quern::cpu
