#include "text/template/emitter.h"

#include "base/ensure.h"

namespace quern::jinja {

void Emitter::expression(NodeId node) {
  then_node(node);
  run();
}

void Emitter::call_with_caller(NodeId call, int32_t caller_function) {
  begin_call(syntax_.node(call), caller_function);
  run();
}

void Emitter::run() {
  while (!tasks_.empty()) {
    const Task task = tasks_.back();
    tasks_.pop_back();
    switch (task.kind) {
      case Task::Kind::kNode:
        begin(task.node);
        break;
      case Task::Kind::kInstruction:
        code_.push_back(task.instruction);
        break;
      case Task::Kind::kJump:
        labels_[static_cast<size_t>(task.label)] = position();
        code_.push_back(task.instruction);
        break;
      case Task::Kind::kLand:
        land(labels_[static_cast<size_t>(task.label)]);
        break;
    }
  }
  labels_.clear();
}

void Emitter::begin(NodeId id) {
  const Node& node = syntax_.node(id);
  const auto then_children = [&] {
    for (int32_t i = node.num_children - 1; i >= 0; --i) then_node(syntax_.child(node, i));
  };
  switch (node.kind) {
    case NodeKind::kConstant:
      emit(Op::kConstant, node.line, node.a);
      break;
    case NodeKind::kName:
      emit_variable(Op::kLoad, node.line, node.a, node.b);
      break;
    case NodeKind::kList:
      then(Op::kList, node.line, node.num_children);
      then_children();
      break;
    case NodeKind::kTuple:
      then(Op::kTuple, node.line, node.num_children);
      then_children();
      break;
    case NodeKind::kDict:
      then(Op::kDict, node.line, node.num_children);
      then_children();
      break;
    case NodeKind::kAttribute:
      then(Op::kAttribute, node.line, node.b);
      then_node(node.a);
      break;
    case NodeKind::kRefused:
      emit(Op::kFail, node.line, node.a);
      break;
    case NodeKind::kSubscript:
      begin_subscript(node);
      break;
    case NodeKind::kCall:
      begin_call(node, kNoId);
      break;
    case NodeKind::kFilter:
    case NodeKind::kTest: {
      const Op op = node.kind == NodeKind::kFilter ? Op::kFilter : Op::kTest;
      const size_t call = tasks_.size();
      then(op, node.line, 0, node.c);
      const int32_t shape =
          begin_arguments(syntax_.arguments[static_cast<size_t>(node.b)], node.line, kNoId);
      tasks_[call].instruction.a = shape;
      if (node.a != kNoId) then_node(node.a);
      break;
    }
    case NodeKind::kNegate:
      then(Op::kNegate, node.line);
      then_node(node.a);
      break;
    case NodeKind::kPlus:
      then(Op::kPlus, node.line);
      then_node(node.a);
      break;
    case NodeKind::kNot:
      then(Op::kNot, node.line);
      then_node(node.a);
      break;
    case NodeKind::kBinary:
      if (node.op == BinaryOp::kConcat) {
        begin_concat(id);
        break;
      }
      then(Op::kBinary, node.line, static_cast<int32_t>(node.op));
      then_node(node.b);
      then_node(node.a);
      break;
    case NodeKind::kAnd:
    case NodeKind::kOr: {
      const int32_t end = new_label();
      then_land(end);
      then_node(node.b);
      then_jump(node.kind == NodeKind::kAnd ? Op::kJumpIfFalseOrPop : Op::kJumpIfTrueOrPop,
                node.line, end);
      then_node(node.a);
      break;
    }
    case NodeKind::kCompare:
      begin_compare(node);
      break;
    case NodeKind::kCondition:
      begin_condition(node);
      break;
    case NodeKind::kSlice:
    case NodeKind::kNamespaceTarget:
      ENSURE(false, "node ", static_cast<int>(node.kind), " is no expression");
  }
}

void Emitter::begin_subscript(const Node& node) {
  const Node& index = syntax_.node(node.b);
  if (index.kind == NodeKind::kSlice) {
    then(Op::kSlice, node.line);
    for (const NodeId bound : {index.c, index.b, index.a}) {
      if (bound == kNoId) {
        then(Op::kPushMissing, node.line);
      } else {
        then_node(bound);
      }
    }
  } else if (index.kind == NodeKind::kConstant &&
             syntax_.constants[static_cast<size_t>(index.a)].kind == Constant::Kind::kString) {
    const std::string key = syntax_.constants[static_cast<size_t>(index.a)].text;
    then(Op::kItem, node.line, syntax_.name_id(key));
  } else {
    then(Op::kSubscript, node.line);
    then_node(node.b);
  }
  then_node(node.a);
}

/// a ~ b ~ c is read as (a ~ b) ~ c; all pieces become one instruction, because two would copy the
/// first ones twice.
void Emitter::begin_concat(NodeId id) {
  const int32_t line = syntax_.node(id).line;
  const size_t whole = tasks_.size();
  then(Op::kConcat, line, 0);
  int32_t count = 1;
  while (syntax_.node(id).kind == NodeKind::kBinary && syntax_.node(id).op == BinaryOp::kConcat) {
    then_node(syntax_.node(id).b);
    id = syntax_.node(id).a;
    ++count;
  }
  then_node(id);
  tasks_[whole].instruction.a = count;
}

void Emitter::begin_compare(const Node& node) {
  const auto op = [&](int32_t i) {
    return static_cast<int32_t>(syntax_.comparisons[static_cast<size_t>(node.c + i)]);
  };
  const int32_t last = node.num_children - 2;
  const auto first_label = static_cast<int32_t>(labels_.size());
  for (int32_t i = 0; i < last; ++i) then_land(new_label());
  then(Op::kCompare, node.line, op(last));
  then_node(syntax_.child(node, last + 1));
  for (int32_t i = last - 1; i >= 0; --i) {
    then_jump(Op::kCompareChain, node.line, first_label + i, op(i));
    then_node(syntax_.child(node, i + 1));
  }
  then_node(syntax_.child(node, 0));
}

void Emitter::begin_condition(const Node& node) {
  const int32_t otherwise = new_label();
  const int32_t end = new_label();
  then_land(end);
  if (node.c == kNoId) {
    then(Op::kUndefinedElse, node.line);
  } else {
    then_node(node.c);
  }
  then_land(otherwise);
  then_jump(Op::kJump, node.line, end);
  then_node(node.b);
  then_jump(Op::kJumpIfFalse, node.line, otherwise);
  then_node(node.a);
}

void Emitter::begin_call(const Node& node, int32_t caller_function) {
  const Node& callee = syntax_.node(node.a);
  const bool is_method = callee.kind == NodeKind::kAttribute;
  const size_t call = tasks_.size();
  then(is_method ? Op::kCallMethod : Op::kCall, node.line, 0, is_method ? callee.b : 0);
  const int32_t shape =
      begin_arguments(syntax_.arguments[static_cast<size_t>(node.b)], node.line, caller_function);
  tasks_[call].instruction.a = shape;
  then_node(is_method ? callee.a : node.a);
}

/// Returns the shape of the call.
int32_t Emitter::begin_arguments(const ArgumentList& arguments, int32_t line,
                                 int32_t caller_function) {
  CallShape shape{.num_positional = static_cast<int32_t>(arguments.positional.size()),
                  .keywords = arguments.keyword_names,
                  .star = arguments.star != kNoId,
                  .double_star = arguments.double_star != kNoId};
  if (shape.double_star) then_node(arguments.double_star);
  if (shape.star) then_node(arguments.star);
  if (caller_function != kNoId) {
    shape.keywords.push_back(syntax_.name_id("caller"));
    then(Op::kMakeMacro, line, caller_function);
  }
  for (size_t i = arguments.keyword_values.size(); i-- > 0;) then_node(arguments.keyword_values[i]);
  for (size_t i = arguments.positional.size(); i-- > 0;) then_node(arguments.positional[i]);
  const auto id = static_cast<int32_t>(calls_.size());
  if (shape.keywords.empty() && !shape.star && !shape.double_star) {
    const auto [entry, is_new] = plain_calls_.try_emplace(shape.num_positional, id);
    if (!is_new) return entry->second;
  }
  calls_.push_back(std::move(shape));
  return id;
}

void Emitter::store_target(NodeId target, ScopeId scope) {
  std::vector<NodeId> left = {target};
  while (!left.empty()) {
    const Node& node = syntax_.node(left.back());
    left.pop_back();
    switch (node.kind) {
      case NodeKind::kTuple:
        emit(Op::kUnpack, node.line, node.num_children);
        for (int32_t i = node.num_children - 1; i >= 0; --i) left.push_back(syntax_.child(node, i));
        break;
      case NodeKind::kNamespaceTarget:
        emit_variable(Op::kLoad, node.line, syntax_.node(node.a).a, scope);
        emit(Op::kNamespaceStore, node.line, node.b);
        break;
      default:
        emit_variable(Op::kStore, node.line, node.a, scope);
        break;
    }
  }
}

void Emitter::resolve(const ScopeTable& scopes) {
  std::unordered_map<uint64_t, VariableRef> known;
  for (const VariableUse& use : uses_) {
    const uint64_t key = static_cast<uint64_t>(use.scope) << 32 | static_cast<uint32_t>(use.name);
    const auto [entry, is_new] = known.try_emplace(key);
    if (is_new) entry->second = scopes.find(use.scope, use.name);
    const VariableRef ref = entry->second;

    Instruction& instruction = code_[static_cast<size_t>(use.instruction)];
    switch (instruction.op) {
      case Op::kLoad:
        instruction.c = use.name;
        instruction.a = ref.hops;
        instruction.b = ref.slot;
        if (ref.slot == kNoId) instruction.op = Op::kLoadGlobal;
        break;
      case Op::kJumpIfGiven:
        instruction.a = ref.slot;
        break;
      default:
        instruction.b = ref.slot;
        break;
    }
    ENSURE(instruction.op == Op::kLoad || instruction.op == Op::kLoadGlobal ||
               (ref.slot != kNoId && ref.hops == 0),
           "a variable is stored in a scope that does not know it");
  }
}

}  // namespace quern::jinja
