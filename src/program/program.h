#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "program/steps.h"

namespace quern {

/// One activation buffer, fp32. Its rows are the tokens of a step or the wanted rows.
struct BufferDecl {
  enum class Rows { kTokens, kWanted };

  std::string name;
  int64_t width = 0;
  Rows rows = Rows::kTokens;
};

/// One weight under the architecture's own name (Hugging Face's). A vector has one row.
struct WeightDecl {
  enum class Kind { kMatrix, kVector };

  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  Kind kind = Kind::kMatrix;

  int64_t num_values() const { return rows * cols; }
};

/// Layers that keep the same tokens and so share one block table: all of them, or the last
/// `window` only.
struct KvGroup {
  int64_t window = 0;  // 0: the whole context
};

struct KvLayer {
  int32_t group = 0;  // index into Program::kv_groups
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;

  int64_t values_per_token() const { return 2 * num_key_value_heads * head_dim; }
};

/// What a model computes: a flat list of steps over named buffers and named weights. Holds no
/// device, no number format, no batch size.
struct Program {
  std::string architecture;
  int64_t vocab_size = 0;
  int64_t context_length = 0;
  std::vector<BufferDecl> buffers;
  std::vector<WeightDecl> weights;
  std::vector<Rope> ropes;
  std::vector<KvGroup> kv_groups;
  std::vector<KvLayer> kv_layers;
  std::vector<Step> steps;
  Slot logits;  // [R, V]

  const BufferDecl& buffer(const Slot& slot) const {
    return buffers[static_cast<size_t>(slot.buffer)];
  }
  const WeightDecl& weight(WeightId id) const { return weights[static_cast<size_t>(id.index)]; }
};

/// Calls input(Slot), weight(WeightId) and output(Slot) of `visitor` for what the step names, in
/// that order. `step` may be const or not; then so is what the visitor gets.
template <typename AnyStep, typename Visitor>
void visit_operands(AnyStep& step, Visitor&& visitor) {
  std::visit([&](auto& s) { std::remove_cvref_t<decltype(s)>::visit(s, visitor); }, step);
}

std::string_view step_name(const Step& step);
Cost step_cost(const Step& step, const CostContext& at);
void run_reference(const Step& step, ReferenceContext& at);

/// The sum over all steps.
Cost program_cost(const CostContext& at);

/// A CostContext for a batch of `sequences` ranges of `tokens_each` tokens that end at context
/// length `context`, the logits of one row each, weights at `weight_bytes`.
CostContext cost_context(const Program& program, int64_t sequences, int64_t tokens_each,
                         int64_t context, DType kv_dtype,
                         std::function<int64_t(WeightId)> weight_bytes);

/// One line per step, for people: kind, operands with widths, weights with shapes.
std::string print_program(const Program& program);
/// The operands of one step as text, as print_program shows them.
std::vector<std::string> input_names(const Program& program, const Step& step);
std::vector<std::string> output_names(const Program& program, const Step& step);
std::vector<std::string> weight_names(const Program& program, const Step& step);

/// ENSUREs that every operand exists and that shapes agree; called by ProgramBuilder::finish and
/// after each pass.
void check_program(const Program& program);

}  // namespace quern
