#include "program/program_builder.h"

#include <algorithm>
#include <utility>

#include "base/cat.h"
#include "base/ensure.h"

namespace quern {

ProgramBuilder::ProgramBuilder(Sizes sizes) : hidden_size_(sizes.hidden_size) {
  program_.architecture = std::move(sizes.architecture);
  program_.vocab_size = sizes.vocab_size;
  program_.context_length = sizes.context_length;
}

Slot ProgramBuilder::new_buffer(std::string name, int64_t width, BufferDecl::Rows rows) {
  // Every layer names its buffers alike, and they are never alive at once: one buffer serves all.
  const auto same =
      std::find_if(program_.buffers.begin(), program_.buffers.end(), [&](const BufferDecl& buffer) {
        return buffer.name == name && buffer.width == width && buffer.rows == rows;
      });
  const auto index = static_cast<int32_t>(same - program_.buffers.begin());
  if (same == program_.buffers.end()) {
    program_.buffers.push_back({.name = std::move(name), .width = width, .rows = rows});
  }
  return {.buffer = index, .begin = 0, .width = width};
}

WeightId ProgramBuilder::weight(std::string_view name, int64_t rows, int64_t cols,
                                WeightDecl::Kind kind) {
  const std::string full = cat(prefix_, name);
  const auto known = std::find_if(program_.weights.begin(), program_.weights.end(),
                                  [&](const WeightDecl& weight) { return weight.name == full; });
  const auto index = static_cast<int32_t>(known - program_.weights.begin());
  if (known == program_.weights.end()) {
    program_.weights.push_back({.name = full, .rows = rows, .cols = cols, .kind = kind});
  } else {
    ENSURE(known->rows == rows && known->cols == cols && known->kind == kind, full);
  }
  return {index};
}

WeightId ProgramBuilder::matrix(std::string_view name, int64_t rows, int64_t cols) {
  return weight(name, rows, cols, WeightDecl::Kind::kMatrix);
}

WeightId ProgramBuilder::vector(std::string_view name, int64_t size) {
  return name.empty() ? kNoWeight : weight(name, 1, size, WeightDecl::Kind::kVector);
}

Slot ProgramBuilder::embed(std::string_view table) {
  const Slot x = new_buffer("x", hidden_size_);
  program_.steps.push_back(
      Embed{.out = x, .table = matrix(table, program_.vocab_size, hidden_size_)});
  return x;
}

void ProgramBuilder::add_positions(Slot x, std::string_view table) {
  program_.steps.push_back(
      AddPositions{.x = x, .table = matrix(table, program_.context_length, x.width)});
}

void ProgramBuilder::scale(Slot x, float factor) {
  program_.steps.push_back(Scale{.x = x, .factor = factor});
}

Slot ProgramBuilder::norm(Slot x, std::string_view weight_name, NormOptions options) {
  const BufferDecl::Rows rows = program_.buffer(x).rows;
  const bool wanted = rows == BufferDecl::Rows::kWanted;
  const Slot out = new_buffer(wanted ? "last_normed" : "normed", x.width, rows);
  program_.steps.push_back(Norm{.out = out,
                                .in = x,
                                .weight = vector(weight_name, x.width),
                                .bias = vector(options.bias, x.width),
                                .kind = options.kind,
                                .eps = options.eps,
                                .weight_offset = options.weight_offset});
  return out;
}

Slot ProgramBuilder::linear(Slot in, const std::vector<Product>& products) {
  int64_t width = 0;
  for (const Product& product : products) width += product.rows;
  // Named by the input and the width, so that a layer's buffers are those of the layer before.
  const Slot out =
      new_buffer(cat("y", in.width, "x", width, products.size() > 1 ? "s" : ""), width);
  ENSURE(out.buffer != in.buffer, "a product cannot overwrite its input");
  int64_t begin = 0;
  for (const Product& product : products) {
    program_.steps.push_back(Linear{.out = out.columns(begin, product.rows),
                                    .in = in,
                                    .weights = {matrix(product.weight, product.rows, in.width)},
                                    .biases = {vector(product.bias, product.rows)},
                                    .add = {}});
    begin += product.rows;
  }
  return out;
}

void ProgramBuilder::linear_add(Slot x, Slot in, const Product& product) {
  add(x, linear(in, {product}));
}

Slot ProgramBuilder::activate(Slot in, Activation activation, Activate::Form form) {
  const int64_t width = form == Activate::Form::kGated ? in.width / 2 : in.width;
  const Slot out = new_buffer("activated", width);
  program_.steps.push_back(Activate{.out = out, .in = in, .activation = activation, .form = form});
  return out;
}

void ProgramBuilder::add(Slot x, Slot y) {
  program_.steps.push_back(Add{.out = x, .a = x, .b = y});
}

int32_t ProgramBuilder::add_rope(Rope rope) {
  program_.ropes.push_back(std::move(rope));
  return static_cast<int32_t>(program_.ropes.size()) - 1;
}

void ProgramBuilder::rotate(Slot q, Slot k, RotateOptions options) {
  program_.steps.push_back(Rotate{.q = q,
                                  .k = k,
                                  .head_dim = options.head_dim,
                                  .rope = options.rope,
                                  .q_norm = vector(options.q_norm, options.head_dim),
                                  .k_norm = vector(options.k_norm, options.head_dim),
                                  .eps = options.eps,
                                  .weight_offset = options.weight_offset});
}

int32_t ProgramBuilder::kv_group(int64_t window) {
  const auto known = std::find_if(program_.kv_groups.begin(), program_.kv_groups.end(),
                                  [&](const KvGroup& group) { return group.window == window; });
  const auto index = static_cast<int32_t>(known - program_.kv_groups.begin());
  if (known == program_.kv_groups.end()) program_.kv_groups.push_back({.window = window});
  return index;
}

Slot ProgramBuilder::append_and_attend(Slot q, Slot k, Slot v, AttendOptions options) {
  const auto layer = static_cast<int32_t>(program_.kv_layers.size());
  program_.kv_layers.push_back({.group = kv_group(options.window),
                                .num_key_value_heads = options.num_key_value_heads,
                                .head_dim = options.head_dim});
  program_.steps.push_back(Append{.k = k, .v = v, .layer = layer});
  const Slot out = new_buffer("attended", q.width);
  program_.steps.push_back(Attend{.out = out,
                                  .q = q,
                                  .layer = layer,
                                  .scale = options.scale,
                                  .window = options.window,
                                  .softcap = options.softcap});
  return out;
}

Slot ProgramBuilder::gather_rows(Slot x) {
  const Slot out = new_buffer("last", x.width, BufferDecl::Rows::kWanted);
  program_.steps.push_back(GatherRows{.out = out, .in = x});
  return out;
}

void ProgramBuilder::head(Slot in, std::string_view weight_name, float softcap) {
  program_.logits = new_buffer("logits", program_.vocab_size, BufferDecl::Rows::kWanted);
  program_.steps.push_back(Head{.out = program_.logits,
                                .in = in,
                                .weight = matrix(weight_name, program_.vocab_size, in.width),
                                .softcap = softcap});
}

Program ProgramBuilder::finish() && {
  check_program(program_);
  return std::move(program_);
}

}  // namespace quern
