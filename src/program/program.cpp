#include "program/program.h"

#include <array>

#include "base/cat.h"
#include "base/ensure.h"

namespace quern {

int64_t CostContext::rows(const Slot& slot) const {
  return program.buffer(slot).rows == BufferDecl::Rows::kTokens ? tokens : wanted_rows;
}

int64_t CostContext::row_bytes(WeightId weight) const {
  return bytes(weight) / program.weight(weight).rows;
}

std::string_view step_name(const Step& step) {
  return std::visit([](const auto& s) { return std::remove_cvref_t<decltype(s)>::kName; }, step);
}

Cost step_cost(const Step& step, const CostContext& at) {
  return std::visit([&](const auto& s) { return cost(s, at); }, step);
}

void run_reference(const Step& step, ReferenceContext& at) {
  std::visit([&](const auto& s) { reference(s, at); }, step);
}

Cost program_cost(const CostContext& at) {
  Cost total;
  for (const Step& step : at.program.steps) total += step_cost(step, at);
  return total;
}

CostContext cost_context(const Program& program, int64_t sequences, int64_t tokens_each,
                         int64_t context, DType kv_dtype,
                         std::function<int64_t(WeightId)> weight_bytes) {
  // Token i of a range that ends at `context` looks at context - tokens_each + i + 1 keys.
  const int64_t attended =
      tokens_each * (context - tokens_each) + tokens_each * (tokens_each + 1) / 2;
  return {.program = program,
          .tokens = sequences * tokens_each,
          .sequences = sequences,
          .wanted_rows = sequences,
          .attended = sequences * attended,
          .kv_read = sequences * context,
          .kv_dtype = kv_dtype,
          .weight_bytes = std::move(weight_bytes)};
}

namespace {

std::string slot_name(const Program& program, const Slot& slot) {
  const BufferDecl& buffer = program.buffer(slot);
  if (slot.begin == 0 && slot.width == buffer.width) return buffer.name;
  return cat(buffer.name, "[", slot.begin, ":", slot.begin + slot.width, "]");
}

/// Collects the names of a step's operands.
struct NameCollector {
  const Program& program;
  std::vector<std::string> inputs, outputs, weights;

  void input(const Slot& slot) { inputs.push_back(slot_name(program, slot)); }
  void output(const Slot& slot) { outputs.push_back(slot_name(program, slot)); }
  void weight(const WeightId& id) {
    if (id.valid()) weights.push_back(program.weight(id).name);
  }
};

NameCollector operand_names(const Program& program, const Step& step) {
  NameCollector names{.program = program, .inputs = {}, .outputs = {}, .weights = {}};
  visit_operands(step, names);
  return names;
}

/// What the operands do not say: epilogue, layer, window.
std::string step_details(const Program& program, const Step& step) {
  if (const auto* linear = std::get_if<Linear>(&step)) {
    if (linear->epilogue == Linear::Epilogue::kNone) return {};
    const bool acts = linear->epilogue != Linear::Epilogue::kAdd;
    return cat(" epilogue=", epilogue_name(linear->epilogue), acts ? " " : "",
               acts ? activation_name(linear->activation) : "");
  }
  if (const auto* activate = std::get_if<Activate>(&step)) {
    return cat(" ", activation_name(activate->activation),
               activate->form == Activate::Form::kGated ? " gated" : "");
  }
  if (const auto* attend = std::get_if<Attend>(&step)) {
    const KvLayer& layer = program.kv_layers[static_cast<size_t>(attend->layer)];
    return cat(" layer=", attend->layer, " heads=", attend->q.width / layer.head_dim,
               " kv_heads=", layer.num_key_value_heads, " window=", attend->window);
  }
  if (const auto* append = std::get_if<Append>(&step)) return cat(" layer=", append->layer);
  if (const auto* norm = std::get_if<Norm>(&step)) {
    return norm->kind == Norm::Kind::kRms ? " rms" : " layer";
  }
  if (const auto* scale = std::get_if<Scale>(&step)) return cat(" factor=", scale->factor);
  return {};
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += cat(out.empty() ? "" : ", ", name);
  return out;
}

/// ENSUREs that operands lie inside what the Program declares.
struct OperandChecker {
  const Program& program;

  void slot(const Slot& slot) {
    ENSURE(slot.buffer >= 0 && slot.buffer < static_cast<int32_t>(program.buffers.size()));
    ENSURE(
        slot.begin >= 0 && slot.width > 0 && slot.begin + slot.width <= program.buffer(slot).width,
        program.buffer(slot).name, " columns ", slot.begin, " + ", slot.width);
  }
  void input(const Slot& s) { slot(s); }
  void output(const Slot& s) { slot(s); }
  void weight(const WeightId& id) {
    ENSURE(id.index < static_cast<int32_t>(program.weights.size()));
  }
};

void check_linear(const Program& program, const Linear& step) {
  ENSURE(step.weights.size() == step.biases.size());
  int64_t rows = 0;
  for (size_t i = 0; i < step.weights.size(); ++i) {
    const WeightDecl& weight = program.weight(step.weights[i]);
    ENSURE(weight.cols == step.in.width, weight.name, " has ", weight.cols, " columns, its input ",
           step.in.width);
    if (step.biases[i].valid()) ENSURE(program.weight(step.biases[i]).cols == weight.rows);
    rows += weight.rows;
  }
  const bool gated = step.epilogue == Linear::Epilogue::kActivateGated;
  ENSURE(step.out.width * (gated ? 2 : 1) == rows);
  if (step.epilogue == Linear::Epilogue::kAdd) ENSURE(step.add.width == step.out.width);
}

}  // namespace

std::vector<std::string> input_names(const Program& program, const Step& step) {
  return operand_names(program, step).inputs;
}
std::vector<std::string> output_names(const Program& program, const Step& step) {
  return operand_names(program, step).outputs;
}
std::vector<std::string> weight_names(const Program& program, const Step& step) {
  return operand_names(program, step).weights;
}

std::string print_program(const Program& program) {
  std::string out = cat(program.architecture, ": ", program.steps.size(), " steps, ",
                        program.buffers.size(), " buffers, ", program.weights.size(), " weights\n");
  for (const BufferDecl& buffer : program.buffers) {
    out += cat("  ", buffer.name, " [", buffer.rows == BufferDecl::Rows::kTokens ? "T" : "R", ", ",
               buffer.width, "]\n");
  }
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    const NameCollector names = operand_names(program, step);
    std::string weights;
    const auto shape = [&](const WeightId& id) {
      if (!id.valid()) return;
      const WeightDecl& decl = program.weight(id);
      weights += cat(weights.empty() ? "" : ", ", decl.name, " [");
      if (decl.kind == WeightDecl::Kind::kMatrix) weights += cat(decl.rows, ", ");
      weights += cat(decl.cols, "]");
    };
    struct ShapeVisitor {
      decltype(shape)& on_weight;
      void input(const Slot&) {}
      void output(const Slot&) {}
      void weight(const WeightId& id) { on_weight(id); }
    };
    visit_operands(step, ShapeVisitor{shape});
    out += cat(i, "  ", step_name(step), "  ", joined(names.outputs),
               names.outputs.empty() ? "" : " = ", joined(names.inputs),
               weights.empty() ? "" : cat("  {", weights, "}"), step_details(program, step), "\n");
  }
  return out;
}

void check_program(const Program& program) {
  for (const Step& step : program.steps) {
    visit_operands(step, OperandChecker{program});
    if (const auto* linear = std::get_if<Linear>(&step)) check_linear(program, *linear);
    if (const auto* attend = std::get_if<Attend>(&step)) {
      ENSURE(attend->layer >= 0 && attend->layer < static_cast<int32_t>(program.kv_layers.size()));
      const KvLayer& layer = program.kv_layers[static_cast<size_t>(attend->layer)];
      ENSURE(attend->q.width % layer.head_dim == 0 &&
             attend->q.width / layer.head_dim % layer.num_key_value_heads == 0);
    }
  }
  ENSURE(program.logits.valid() && program.logits.width == program.vocab_size);
}

}  // namespace quern
