#include "models/checkpoint_weights.h"

#include <algorithm>
#include <set>

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

bool skipped(const Architecture& architecture, std::string_view name) {
  return std::ranges::any_of(architecture.skipped,
                             [&](std::string_view end) { return name.ends_with(end); });
}

}  // namespace

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

DType CheckpointWeights::stored_dtype(WeightId weight) const { return bound(weight).dtype; }

const std::byte* CheckpointWeights::stored_row(WeightId weight, int64_t row) const {
  const Bound& from = bound(weight);
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
  for (int64_t i = 0; i < out.rows; ++i) {
    const std::byte* row = stored_row(weight, first + i);
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
