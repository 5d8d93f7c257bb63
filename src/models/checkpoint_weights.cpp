#include "models/checkpoint_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/cat.h"
#include "base/ensure.h"
#include "base/log.h"
#include "models/tensor_rules.h"

namespace quern {

namespace {

using Format = Checkpoint::Format;

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (const int64_t size : shape) out += cat(out.size() == 1 ? "" : ", ", size);
  return out + "]";
}

/// Names under which a file may hold the tensor, the usual one first.
std::vector<std::string> names_in_file(const TensorRule& rule, std::string_view layer,
                                       Format format, const Architecture& architecture, bool tied) {
  if (format == Format::kGguf) return {with_layer(rule.gguf, layer)};
  std::vector<std::string> names = {with_layer(rule.name, layer)};
  if (rule.name.starts_with(architecture.prefix)) {
    names.push_back(with_layer(rule.name.substr(architecture.prefix.size()), layer));
  }
  // A tied table may be stored under the name of the head alone.
  if (tied && rule.name == architecture.embeddings) names.emplace_back(architecture.head);
  return names;
}

Error missing_tensor(std::string_view what, std::string_view name) {
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(what, ": tensor ", name,
                              " is missing, which the model's config asks for; the files are "
                              "incomplete or the config is another model's"),
               .what = std::string(name),
               .found = "nothing",
               .wanted = std::string(name)};
}

Error wrong_shape(std::string_view what, const TensorInfo& tensor,
                  const std::vector<int64_t>& wanted) {
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(what, ": tensor ", tensor.name, " has shape ",
                              shape_text(tensor.shape), ", wanted ", shape_text(wanted),
                              " by the model's config; the two belong to different models"),
               .what = tensor.name,
               .found = shape_text(tensor.shape),
               .wanted = shape_text(wanted)};
}

constexpr std::string_view kSignedBytes = "I8";

Error bad_scales(std::string_view what, std::string_view name, std::string_view found,
                 std::string_view wanted) {
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(what, ": tensor ", name, " is ", found, ", wanted ", wanted,
                              "; the file is damaged, fetch it again"),
               .what = std::string(name),
               .found = std::string(found),
               .wanted = std::string(wanted)};
}

bool skipped(const Architecture& architecture, std::string_view name) {
  return std::ranges::any_of(architecture.skipped,
                             [&](std::string_view end) { return name.ends_with(end); });
}

}  // namespace

float CheckpointWeights::Bound::scale(const Checkpoint& checkpoint, int64_t row) const {
  const DType type = *scales->dtype;
  float value = 0;
  type.decode_row(checkpoint.bytes(*scales).data() + row * type.row_bytes(1), {&value, 1});
  return value;
}

Result<CheckpointWeights> CheckpointWeights::bind(const Program& program,
                                                  const Checkpoint& checkpoint,
                                                  const Architecture& architecture,
                                                  const ModelConfig& config,
                                                  std::string_view what) {
  CheckpointWeights weights(checkpoint);
  weights.bound_.reserve(program.weights.size());
  std::set<std::string_view> used;
  const Format format = checkpoint.format();
  for (const WeightDecl& weight : program.weights) {
    const auto [rule, layer] = rule_of_weight(architecture, weight.name);
    ENSURE(rule != nullptr, architecture.name, " has no rule for ", weight.name);
    const std::vector<std::string> names =
        names_in_file(*rule, layer, format, architecture, config.tie_word_embeddings);
    const TensorInfo* tensor = nullptr;
    for (const std::string& name : names) {
      const TensorInfo* found = checkpoint.find(name);
      if (found == nullptr) continue;
      const bool head_copy = name == architecture.head && tensor != nullptr;
      if (head_copy) {  // the same numbers twice: settle_tying() has compared them
        used.insert(found->name);
        continue;
      }
      if (tensor != nullptr) {
        return Error{.code = ErrorCode::kBadFile,
                     .message = cat(what, ": holds both tensor ", tensor->name, " and tensor ",
                                    found->name, ", wanted one of them"),
                     .what = found->name,
                     .wanted = "one of them"};
      }
      tensor = found;
    }
    if (tensor == nullptr) return missing_tensor(what, names.front());
    used.insert(tensor->name);

    Bound bound;
    bound.tensor = tensor;
    bound.transform = format == Format::kGguf ? rule->from_gguf : rule->from_safetensors;
    bound.rows = weight.rows;
    bound.cols = weight.cols;
    bound.heads = bound.transform == Transform::kUnpermuteKeys ? config.num_key_value_heads
                                                               : config.num_attention_heads;
    std::vector<int64_t> shape = {weight.rows, weight.cols};
    if (bound.transform == Transform::kTranspose) shape = {weight.cols, weight.rows};
    if (weight.kind == WeightDecl::Kind::kVector) shape = {weight.cols};
    if (tensor->shape != shape) return wrong_shape(what, *tensor, shape);
    const bool is_matrix = weight.kind == WeightDecl::Kind::kMatrix;
    if (config.w8a8 && is_matrix && tensor->type_name == kSignedBytes) {
      RETURN_IF_ERROR(weights.bind_scales(what, bound, used));
      weights.bound_.push_back(bound);
      continue;
    }
    if (!tensor->dtype) {
      return Error{
          .code = ErrorCode::kUnsupported,
          .message = cat(what, ": tensor ", tensor->name, " is stored as ", tensor->type_name,
                         ", which quern cannot compute with; supported: ", dtype_names(),
                         "; get the model in one of these"),
          .what = tensor->name,
          .found = std::string(tensor->type_name),
          .wanted = dtype_names()};
    }
    bound.dtype = *tensor->dtype;
    ENSURE(bound.dtype.fits_row(shape.back()), tensor->name, ": part of a block");
    bound.data = checkpoint.bytes(*tensor).data();
    weights.bound_.push_back(bound);
  }

  if (config.w8a8 && std::ranges::none_of(weights.bound_, [](const Bound& bound) {
        return bound.scales != nullptr;
      })) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what,
                                ": quantization_config says that weights are signed bytes, and no "
                                "matrix is; config and weights belong to different models"),
                 .what = "quantization_config",
                 .found = "no matrix of type I8",
                 .wanted = "matrices of type I8"};
  }
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (used.contains(tensor.name) || skipped(architecture, tensor.name)) continue;
    if (format == Format::kGguf) {
      return Error{.code = ErrorCode::kUnsupported,
                   .message = cat(what, ": tensor ", tensor.name,
                                  " has no place in the architecture ", architecture.gguf_name,
                                  " as quern knows it; without it the answers would be wrong"),
                   .what = tensor.name,
                   .found = tensor.name,
                   .wanted = "tensors of that architecture alone"};
    }
    weights.unused_.push_back(tensor.name);
  }
  if (!weights.unused_.empty()) {
    log_warning(cat(what, ": ", weights.unused_.size(), " tensors are of no use to ",
                    architecture.name, " and are ignored, ", weights.unused_.front(), " for one"));
  }
  return weights;
}

Result<void> CheckpointWeights::bind_scales(std::string_view what, Bound& bound,
                                            std::set<std::string_view>& used) {
  const TensorInfo& tensor = *bound.tensor;
  bound.dtype = DType::of<W8A8>();
  bound.data = checkpoint_->bytes(tensor).data();
  if (bound.transform != Transform::kNone || !bound.dtype.fits_row(bound.cols)) {
    const std::string wanted = cat("[out, in], at most ", W8A8::kMaxRowValues, " in");
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat(what, ": tensor ", tensor.name, " of signed bytes is ",
                                shape_text(tensor.shape), ", quern multiplies them as ", wanted),
                 .what = tensor.name,
                 .found = shape_text(tensor.shape),
                 .wanted = wanted};
  }
  const std::string name = tensor.name + "_scale";
  const TensorInfo* const scales = checkpoint_->find(name);
  if (scales == nullptr) return missing_tensor(what, name);
  const std::vector<int64_t> shape = {bound.rows, 1};
  if (scales->shape != shape) return wrong_shape(what, *scales, shape);
  constexpr std::string_view kWanted = "f32, f16 or bf16";
  const std::optional<DType> type = scales->dtype;
  if (type != DType::of<F32>() && type != DType::of<F16>() && type != DType::of<BF16>()) {
    return bad_scales(what, name, cat("of type ", scales->type_name), kWanted);
  }
  bound.scales = scales;
  for (int64_t row = 0; row < bound.rows; ++row) {
    const float scale = bound.scale(*checkpoint_, row);
    if (!std::isfinite(scale)) {
      return bad_scales(what, name, cat(scale, " at row ", row), "a finite number");
    }
  }
  used.insert(scales->name);
  if (const TensorInfo* zeros = checkpoint_->find(tensor.name + "_zero_point")) {
    const auto bytes = checkpoint_->bytes(*zeros);
    if (std::ranges::any_of(bytes, [](std::byte b) { return b != std::byte{0}; })) {
      return bad_scales(what, zeros->name, "not zero", "zeros, as symmetric weights have");
    }
    used.insert(zeros->name);
  }
  return {};
}

DType CheckpointWeights::stored_dtype(WeightId weight) const { return bound(weight).dtype; }

const std::byte* CheckpointWeights::stored_row(WeightId weight, int64_t row,
                                               std::byte* room) const {
  const Bound& from = bound(weight);
  if (from.scales != nullptr) {
    const float scale = from.scale(*checkpoint_, row);
    std::memcpy(room, &scale, sizeof(scale));
    std::memcpy(room + sizeof(scale), from.data + row * from.cols, static_cast<size_t>(from.cols));
    return room;
  }
  if (from.transform == Transform::kTranspose || from.transform == Transform::kSubtractOne) {
    return nullptr;
  }
  if (permutes(from.transform)) {
    if (from.rows == 1) return nullptr;  // a bias: values change places within the row
    row = permuted_row(row, from.rows, from.heads);
  }
  return from.data + row * from.dtype.row_bytes(from.cols);
}

void CheckpointWeights::decode_rows(WeightId weight, int64_t first, Matrix<float> out) const {
  const Bound& from = bound(weight);
  ENSURE(first >= 0 && first + out.rows <= from.rows && out.cols == from.cols);
  const auto cols = static_cast<size_t>(from.cols);

  if (from.transform == Transform::kTranspose) {
    // Column `first + i` of the file becomes row i: read the needed piece of each of its rows.
    const int64_t block = from.dtype.block_values();
    const int64_t begin = first / block * block;
    const int64_t end = (first + out.rows + block - 1) / block * block;
    std::vector<float> piece(static_cast<size_t>(end - begin));
    const std::byte* in = from.data + from.dtype.row_bytes(begin);
    for (int64_t k = 0; k < from.cols; ++k, in += from.dtype.row_bytes(from.rows)) {
      from.dtype.decode_row(in, piece);
      for (int64_t i = 0; i < out.rows; ++i) {
        out.row(i)[k] = piece[static_cast<size_t>(first + i - begin)];
      }
    }
    return;
  }
  if (permutes(from.transform) && from.rows == 1) {
    std::vector<float> stored(cols);
    from.dtype.decode_row(from.data, stored);
    for (int64_t i = 0; i < from.cols; ++i) {
      out.row(0)[i] = stored[static_cast<size_t>(permuted_row(i, from.cols, from.heads))];
    }
    return;
  }
  const int64_t row_bytes = from.dtype.row_bytes(from.cols);
  std::vector<std::byte> room(from.scales != nullptr ? static_cast<size_t>(row_bytes) : 0);
  for (int64_t i = 0; i < out.rows; ++i) {
    const std::byte* row = stored_row(weight, first + i, room.data());
    if (row == nullptr) row = from.data + (first + i) * row_bytes;
    from.dtype.decode_row(row, {out.row(i), cols});
    if (from.transform != Transform::kSubtractOne) continue;
    for (int64_t k = 0; k < from.cols; ++k) out.row(i)[k] -= 1.0f;
  }
}

void CheckpointWeights::release(WeightId weight) const {
  checkpoint_->release(*bound(weight).tensor);
}

}  // namespace quern
