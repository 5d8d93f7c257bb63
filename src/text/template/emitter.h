#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "text/template/code.h"
#include "text/template/scopes.h"
#include "text/template/syntax.h"

namespace quern::jinja {

/// Writes instructions. Variables are written by name and scope, and become slots in resolve(),
/// once all scopes are known. Expressions are walked with a list of what is left to do.
class Emitter {
 public:
  explicit Emitter(Syntax& syntax) : syntax_(syntax) {}

  int32_t position() const { return static_cast<int32_t>(code_.size()); }
  int32_t emit(Op op, int32_t line, int32_t a = 0, int32_t b = 0) {
    code_.push_back({op, line, a, b, 0});
    return position() - 1;
  }
  /// An instruction about a variable.
  int32_t emit_variable(Op op, int32_t line, NameId name, ScopeId scope) {
    uses_.push_back({position(), name, scope});
    return emit(op, line);
  }
  /// Makes the jump at `at` go to the next instruction.
  void land(int32_t at) { code_[static_cast<size_t>(at)].b = position(); }

  /// Pushes the value of the expression. Where its innermost subject is what a block captured, that
  /// lies on the stack already.
  void expression(NodeId node);
  /// The call of a call block: `caller_function` is what its body became.
  void call_with_caller(NodeId call, int32_t caller_function);
  /// Pops a value into a target: names, tuples of them, attributes of namespaces.
  void store_target(NodeId target, ScopeId scope);

  /// Replaces names by slots.
  void resolve(const ScopeTable& scopes);

  std::vector<Instruction> take_code() { return std::move(code_); }
  std::vector<CallShape> take_calls() { return std::move(calls_); }

 private:
  /// Something left to do while an expression is walked.
  struct Task {
    enum class Kind : uint8_t { kNode, kInstruction, kJump, kLand };
    Kind kind = Kind::kNode;
    NodeId node = kNoId;
    Instruction instruction = {};
    int32_t label = 0;  // kJump, kLand: place in labels_
  };
  struct VariableUse {
    int32_t instruction;
    NameId name;
    ScopeId scope;
  };

  void then_node(NodeId node) { tasks_.push_back({.node = node}); }
  void then(Op op, int32_t line, int32_t a = 0, int32_t b = 0) {
    tasks_.push_back({.kind = Task::Kind::kInstruction, .instruction = {op, line, a, b, 0}});
  }
  void then_jump(Op op, int32_t line, int32_t label, int32_t a = 0) {
    tasks_.push_back(
        {.kind = Task::Kind::kJump, .instruction = {op, line, a, 0, 0}, .label = label});
  }
  void then_land(int32_t label) { tasks_.push_back({.kind = Task::Kind::kLand, .label = label}); }
  int32_t new_label() {
    labels_.push_back(0);
    return static_cast<int32_t>(labels_.size()) - 1;
  }

  void run();
  void begin(NodeId node);
  void begin_subscript(const Node& node);
  void begin_concat(NodeId node);
  void begin_compare(const Node& node);
  void begin_condition(const Node& node);
  void begin_call(const Node& node, int32_t caller_function);
  int32_t begin_arguments(const ArgumentList& arguments, int32_t line, int32_t caller_function);

  Syntax& syntax_;
  std::vector<Instruction> code_;
  std::vector<CallShape> calls_;
  std::unordered_map<int32_t, int32_t> plain_calls_;  // by count: shapes of positional arguments
  std::vector<VariableUse> uses_;
  std::vector<Task> tasks_;      // done from the back, so what comes first is pushed last
  std::vector<int32_t> labels_;  // where the jump to each label is
};

}  // namespace quern::jinja
