#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "models/architecture.h"
#include "program/weight_source.h"

namespace quern {

/// The weights of a Program out of a checkpoint, in the Program's own order: what a file format
/// permutes, transposes or bakes in is undone while reading.
class CheckpointWeights final : public WeightSource {
 public:
  /// Finds the tensor of every weight. kBadFile for one that is missing, there twice or of another
  /// shape, kUnsupported for one of a type that quern cannot compute with, and for tensors in a
  /// GGUF file that the Program has no use for: there the tensors alone say what is computed.
  /// Where the config says W8A8, a matrix of signed bytes and its scales are one weight.
  /// `checkpoint` must outlive this.
  static Result<CheckpointWeights> bind(const Program& program, const Checkpoint& checkpoint,
                                        const Architecture& architecture, const ModelConfig& config,
                                        std::string_view what);

  DType stored_dtype(WeightId weight) const override;
  const std::byte* stored_row(WeightId weight, int64_t row, std::byte* room) const override;
  void decode_rows(WeightId weight, int64_t first, Matrix<float> out) const override;
  uint64_t fingerprint() const override { return checkpoint_->fingerprint(); }
  void release(WeightId weight) const override;

  /// The tensor of the file that holds the weight.
  const TensorInfo& tensor(WeightId weight) const { return *bound(weight).tensor; }
  Transform transform(WeightId weight) const { return bound(weight).transform; }
  /// Tensors that no weight uses and that are not known to be of no use.
  const std::vector<std::string>& unused_tensors() const { return unused_; }

 private:
  struct Bound {
    const TensorInfo* tensor = nullptr;
    const std::byte* data = nullptr;
    DType dtype = DType::of<F32>();
    const TensorInfo* scales = nullptr;  // W8A8: [rows, 1] of a float type
    Transform transform = Transform::kNone;
    int64_t rows = 0, cols = 0;  // of the Program's weight
    int64_t heads = 0;           // kUnpermute*

    float scale(const Checkpoint& checkpoint, int64_t row) const;
  };

  explicit CheckpointWeights(const Checkpoint& checkpoint) : checkpoint_(&checkpoint) {}
  /// Finds and checks the scales of a matrix of signed bytes. Its zero points may be there, as
  /// zeros.
  Result<void> bind_scales(std::string_view what, Bound& bound, std::set<std::string_view>& used);
  const Bound& bound(WeightId weight) const { return bound_[static_cast<size_t>(weight.index)]; }

  const Checkpoint* checkpoint_;
  std::vector<Bound> bound_;  // by WeightId
  std::vector<std::string> unused_;
};

}  // namespace quern
