#include "text/template/machine.h"

#include <utility>

#include "base/cat.h"
#include "text/template/json_values.h"
#include "text/template/lexer.h"
#include "text/template/operations.h"
#include "text/template/printing.h"

namespace quern::jinja {

Machine::Machine(const Code& code, const Json& variables, const RenderOptions& options)
    : code_(code), runtime_(options, code.names), spare_activations_(code.functions.size()) {
  for (const Constant& constant : code.constants) {
    switch (constant.kind) {
      case Constant::Kind::kNone:
        constants_.push_back(Value::none());
        break;
      case Constant::Kind::kFalse:
        constants_.push_back(Value::boolean(false));
        break;
      case Constant::Kind::kTrue:
        constants_.push_back(Value::boolean(true));
        break;
      case Constant::Kind::kInteger:
        constants_.push_back(Value::integer(constant.integer));
        break;
      case Constant::Kind::kFloat:
        constants_.push_back(Value::number(constant.number));
        break;
      case Constant::Kind::kString:
        constants_.push_back(runtime_.text(constant.text));
        break;
    }
  }
  for (const std::string& name : code.names) {
    Value value;
    if (const auto variable = variables.find(name); variable != variables.end()) {
      value = value_of_json(runtime_, name, *variable);
    } else if (const int32_t row = find_global_function(name); row != kNoId) {
      value = Value::function(row);
    }
    globals_.push_back(std::move(value));
    if (runtime_.failed()) break;
  }
  outputs_.emplace_back();
}

Result<TracedText> Machine::run() {
  if (!runtime_.failed()) {
    frames_.push_back({.activation = new_activation(0, nullptr)});
    while (!runtime_.failed() && at(position_).op != Op::kEnd) step();
  }
  if (runtime_.failed()) return template_error(line_, runtime_.failure());
  return std::move(outputs_.back());
}

void Machine::step() {
  const Instruction& in = at(position_++);
  line_ = in.line;
  runtime_.spend(1);
  switch (in.op) {
    case Op::kConstant:
      push(constants_[static_cast<size_t>(in.a)]);
      break;
    case Op::kLoad:
      push(load(in));
      break;
    case Op::kLoadGlobal: {
      Value value = load_global(in.c);
      push(value.is_missing() ? Value::undefined(Absence::kVariable, in.c) : std::move(value));
      break;
    }
    case Op::kStore:
      slot(in.b) = pop();
      break;
    case Op::kEnterScope:
      enter_scope(in.a);
      break;
    case Op::kAttribute:
      push(get_attribute(runtime_, pop(), runtime_.name(in.a), in.a));
      break;
    case Op::kItem:
      push(get_named_item(runtime_, pop(), runtime_.name(in.a), in.a));
      break;
    case Op::kSubscript: {
      const Value index = pop();
      push(get_item(runtime_, pop(), index));
      break;
    }
    case Op::kSlice: {
      const Value step = pop(), stop = pop(), start = pop();
      push(slice(runtime_, pop(), start, stop, step));
      break;
    }
    case Op::kPushMissing:
      push({});
      break;
    case Op::kCall: {
      Arguments arguments = take_arguments(code_.calls[static_cast<size_t>(in.a)]);
      const Value callee = pop();
      if (!runtime_.failed()) call(callee, std::move(arguments));
      break;
    }
    case Op::kCallMethod: {
      Arguments arguments = take_arguments(code_.calls[static_cast<size_t>(in.a)]);
      const Value object = pop();
      if (!runtime_.failed()) call_method(object, in.b, std::move(arguments));
      break;
    }
    case Op::kFilter:
    case Op::kTest: {
      const Arguments arguments = take_arguments(code_.calls[static_cast<size_t>(in.a)]);
      const Value subject = pop();
      if (runtime_.failed()) break;
      const bool filter = in.op == Op::kFilter;
      const Builtin& row = (filter ? filters() : tests())[static_cast<size_t>(in.b)];
      push(call_builtin(runtime_, filter ? "filter" : "test", row, subject, arguments));
      break;
    }
    case Op::kBinary: {
      const Value right = pop();
      const Value left = pop();
      push(arithmetic(runtime_, static_cast<BinaryOp>(in.a), left, right));
      break;
    }
    case Op::kConcat:
      concat(in.a);
      break;
    case Op::kCompare: {
      const Value right = pop();
      const Value left = pop();
      push(Value::boolean(compare(runtime_, static_cast<CompareOp>(in.a), left, right)));
      break;
    }
    case Op::kCompareChain: {
      Value right = pop();
      const Value left = pop();
      if (compare(runtime_, static_cast<CompareOp>(in.a), left, right)) {
        push(std::move(right));
      } else {
        push(Value::boolean(false));
        position_ = in.b;
      }
      break;
    }
    case Op::kNegate:
      push(negate(runtime_, pop()));
      break;
    case Op::kPlus:
      push(plus(runtime_, pop()));
      break;
    case Op::kNot:
      push(Value::boolean(!truth(pop())));
      break;
    case Op::kList:
    case Op::kTuple: {
      const auto first = stack_.end() - in.a;
      std::vector<Value> items(std::make_move_iterator(first),
                               std::make_move_iterator(stack_.end()));
      stack_.erase(first, stack_.end());
      push(runtime_.list(in.op == Op::kList ? Type::kList : Type::kTuple, std::move(items)));
      break;
    }
    case Op::kDict:
      build_dict(in.a);
      break;
    case Op::kFail:
      runtime_.fail(constants_[static_cast<size_t>(in.a)].bytes());
      break;
    case Op::kUndefinedElse:
      push(Value::undefined(Absence::kNoElse));
      break;
    case Op::kJump:
      position_ = in.b;
      break;
    case Op::kJumpIfFalse:
      if (!truth(pop())) position_ = in.b;
      break;
    case Op::kJumpIfFalseOrPop:
    case Op::kJumpIfTrueOrPop:
      if (truth(stack_.back()) == (in.op == Op::kJumpIfTrueOrPop)) {
        position_ = in.b;
      } else {
        pop();
      }
      break;
    case Op::kJumpIfGiven:
      if (!slot(in.a).is_missing()) position_ = in.b;
      break;
    case Op::kEmitText:
      write(constants_[static_cast<size_t>(in.a)].traced());
      break;
    case Op::kEmit: {
      const Value value = pop();
      if (value.is_text()) {
        write(value.traced());
      } else if (in.a == 1) {
        runtime_.fail(cat("a filter block must give a string, found ", type_name(value.type())));
      } else {
        TextBuilder text(runtime_);
        append_text(runtime_, text, value);
        write(text.take());
      }
      break;
    }
    case Op::kLoopBegin:
      loop_begin();
      break;
    case Op::kLoopNext:
    case Op::kLoopTry: {
      LoopObject& loop = *loops_.back();
      Value item;
      if (!next(runtime_, loop.iterator, item)) {
        position_ = in.b;
        break;
      }
      if (in.op == Op::kLoopTry) {
        loop.tried = item;
      } else {
        ++loop.index0;
        loop.previous = std::exchange(loop.current, item);
      }
      push(std::move(item));
      break;
    }
    case Op::kLoopAccept: {
      LoopObject& loop = *loops_.back();
      ++loop.index0;
      loop.previous = std::exchange(loop.current, loop.tried);
      push(loop.current);
      break;
    }
    case Op::kLoopKeep:
      if (runtime_.reserve_items(static_cast<int64_t>(loops_.back()->kept.size()) + 1)) {
        loops_.back()->kept.push_back(loops_.back()->tried);
      }
      break;
    case Op::kLoopRestart: {
      LoopObject& loop = *loops_.back();
      loop.iterator = {.source = runtime_.list(Type::kList, std::move(loop.kept))};
      break;
    }
    case Op::kLoopStore:
      slot(in.b) = Value::object(Type::kLoop, loops_.back());
      break;
    case Op::kLoopDone:
      loops_.back()->completed = true;
      position_ = in.b;
      break;
    case Op::kLoopEnd: {
      const bool completed = loops_.back()->completed;
      loops_.pop_back();
      if (in.a == 1) push(Value::boolean(!completed));
      break;
    }
    case Op::kUnpack:
      unpack(in.a);
      break;
    case Op::kCaptureBegin:
      begin_capture();
      break;
    case Op::kCaptureEnd:
      push(runtime_.text(end_capture()));
      break;
    case Op::kCaptureDrop:
      end_capture();
      break;
    case Op::kMakeMacro: {
      auto* macro = runtime_.make<MacroObject>();
      macro->function = in.a;
      macro->outer = frames_.back().activation;
      push(Value::object(Type::kMacro, macro));
      break;
    }
    case Op::kReturn:
      return_from_macro();
      break;
    case Op::kNamespaceStore: {
      const Value object = pop();
      const Value value = pop();
      if (!object.is(Type::kNamespace)) {
        runtime_.fail(cat("only a namespace has attributes that can be set, found ",
                          type_name(object.type())));
      } else if (runtime_.name(in.a).starts_with('_')) {
        runtime_.fail("a namespace takes no names that start with an underscore");
      } else {
        dict_set(runtime_, *object.namespace_object().members, runtime_.text(runtime_.name(in.a)),
                 value);
      }
      break;
    }
    case Op::kEnd:
      break;
  }
}

// --- variables

Value Machine::load(const Instruction& instruction) const {
  const Activation* activation = frames_.back().activation;
  for (int32_t i = 0; i < instruction.a; ++i) activation = activation->outer;
  const Value& value = activation->slots[static_cast<size_t>(instruction.b)];
  return value.is_missing() ? Value::undefined(Absence::kVariable, instruction.c) : value;
}

Value Machine::load_global(NameId name) const { return globals_[static_cast<size_t>(name)]; }

void Machine::enter_scope(ScopeId scope) {
  const auto& starts = code_.scope_starts[static_cast<size_t>(scope)];
  runtime_.spend(static_cast<int64_t>(starts.size()));
  for (const SlotStart& start : starts) {
    Value value;
    if (start.from == SlotStart::From::kGlobal) {
      value = load_global(start.name);
    } else if (start.from == SlotStart::From::kOuter) {
      const Activation* activation = frames_.back().activation;
      for (int32_t i = 0; i < start.outer.hops; ++i) activation = activation->outer;
      value = activation->slots[static_cast<size_t>(start.outer.slot)];
    }
    slot(start.slot) = std::move(value);
  }
}

Activation* Machine::new_activation(int32_t function, Activation* outer) {
  const Function& of = code_.functions[static_cast<size_t>(function)];
  auto& spare = spare_activations_[static_cast<size_t>(function)];
  Activation* activation = nullptr;
  if (!spare.empty()) {
    activation = spare.back();
    spare.pop_back();
  } else {
    activation = runtime_.make<Activation>();
    runtime_.charge(of.num_slots * static_cast<int64_t>(sizeof(Value)));
  }
  runtime_.spend(of.num_slots);
  activation->outer = outer;
  activation->slots.assign(static_cast<size_t>(of.num_slots), Value());
  return activation;
}

// --- calls

Arguments Machine::take_arguments(const CallShape& shape) {
  Value star, double_star;
  if (shape.double_star) double_star = pop();
  if (shape.star) star = pop();
  Arguments arguments;
  const size_t num_keywords = shape.keywords.size();
  const auto num_positional = static_cast<size_t>(shape.num_positional);
  const size_t first = stack_.size() - num_keywords - num_positional;
  arguments.positional.reserve(num_positional);
  for (size_t i = 0; i < num_positional; ++i) {
    arguments.positional.push_back(std::move(stack_[first + i]));
  }
  arguments.keywords.reserve(num_keywords);
  for (size_t i = 0; i < num_keywords; ++i) {
    arguments.keywords.push_back(
        {runtime_.name(shape.keywords[i]), std::move(stack_[first + num_positional + i])});
  }
  stack_.resize(first);
  if (shape.star || shape.double_star) add_star_arguments(arguments, shape, star, double_star);
  return arguments;
}

void Machine::add_star_arguments(Arguments& arguments, const CallShape& shape, const Value& star,
                                 const Value& double_star) {
  if (shape.star) {
    Iterator iterator = iterate(runtime_, star);
    Value item;
    while (next(runtime_, iterator, item)) {
      runtime_.spend(1);
      if (!runtime_.reserve_items(static_cast<int64_t>(arguments.positional.size()) + 1)) return;
      arguments.positional.push_back(std::move(item));
    }
  }
  if (!shape.double_star) return;
  if (!double_star.is(Type::kDict)) {
    runtime_.fail(cat("** needs a dict, found ", type_name(double_star.type())));
    return;
  }
  for (const DictObject::Entry& entry : double_star.dict().entries) {
    if (!entry.key.is_text()) {
      runtime_.fail("** needs a dict whose keys are strings");
      return;
    }
    runtime_.spend(1 + static_cast<int64_t>(arguments.keywords.size()));
    if (runtime_.failed()) return;
    for (const KeywordValue& given : arguments.keywords) {
      if (given.name != entry.key.bytes()) continue;
      runtime_.fail(cat("the call names the argument '", given.name, "' twice"));
      return;
    }
    // The key lives as long as the dict, which lives as long as the rendering.
    arguments.keywords.push_back({entry.key.bytes(), entry.value});
  }
}

void Machine::call(const Value& callee, Arguments arguments) {
  switch (callee.type()) {
    case Type::kFunction: {
      const Builtin& row = global_functions()[static_cast<size_t>(callee.function_row())];
      push(call_builtin(runtime_, "function", row, {}, arguments));
      break;
    }
    case Type::kMethod: {
      const MethodObject& method = callee.method();
      const Builtin& row = methods(method.self.type())[static_cast<size_t>(method.row)];
      push(call_builtin(runtime_, "method", row, method.self, arguments));
      break;
    }
    case Type::kMacro:
      call_macro(callee.macro(), std::move(arguments));
      break;
    case Type::kJoiner: {
      const bool used = std::exchange(callee.joiner().used, true);
      push(used ? callee.joiner().separator : runtime_.text(""));
      break;
    }
    case Type::kLoop:
      runtime_.fail("a loop can be called only if it is recursive");
      break;
    case Type::kUndefined:
      fail_undefined(runtime_, callee);
      break;
    default:
      runtime_.fail(cat(type_name(callee.type()), " cannot be called"));
  }
}

void Machine::call_method(const Value& object, NameId name, Arguments arguments) {
  if (const int32_t row = find_method(object.type(), runtime_.name(name)); row != kNoId) {
    const Builtin& method = methods(object.type())[static_cast<size_t>(row)];
    push(call_builtin(runtime_, "method", method, object, arguments));
    return;
  }
  const Value callee = get_attribute(runtime_, object, runtime_.name(name), name);
  if (!runtime_.failed()) call(callee, std::move(arguments));
}

void Machine::call_macro(const MacroObject& macro, Arguments arguments) {
  const Function& function = code_.functions[static_cast<size_t>(macro.function)];
  const std::string_view name =
      function.name == kNoId ? std::string_view("caller") : runtime_.name(function.name);
  if (frames_.size() > static_cast<size_t>(runtime_.depth_limit())) {
    runtime_.fail(cat("calls of macros nest deeper than ", runtime_.depth_limit(), " levels; '",
                      name, "' may call itself without end"));
    return;
  }
  Activation* activation = new_activation(macro.function, macro.outer);
  const auto given = [&](int32_t slot_index) -> Value& {
    return activation->slots[static_cast<size_t>(slot_index)];
  };
  // Takes a keyword out of those that are left.
  const auto take_keyword = [&](std::string_view wanted) {
    Value value;
    for (size_t i = 0; i < arguments.keywords.size(); ++i) {
      if (arguments.keywords[i].name != wanted) continue;
      value = std::move(arguments.keywords[i].value);
      arguments.keywords.erase(arguments.keywords.begin() + static_cast<ptrdiff_t>(i));
      break;
    }
    return value;
  };
  const size_t num_parameters = function.parameters.size();
  for (size_t i = 0; i < num_parameters; ++i) {
    const Parameter& parameter = function.parameters[i];
    runtime_.spend(1 + static_cast<int64_t>(arguments.keywords.size()));
    Value value = i < arguments.positional.size() ? std::move(arguments.positional[i])
                                                  : take_keyword(runtime_.name(parameter.name));
    if (value.is_missing() && !parameter.has_default) {
      value = Value::undefined(Absence::kParameter, parameter.name);
    }
    given(parameter.slot) = std::move(value);
  }
  if (function.caller_slot != kNoId) {
    Value caller = take_keyword("caller");
    given(function.caller_slot) =
        caller.is_missing() ? Value::undefined(Absence::kParameter) : std::move(caller);
  }
  if (function.kwargs_slot != kNoId) {
    DictObject* rest = runtime_.new_dict();
    for (const KeywordValue& keyword : arguments.keywords) {
      dict_set(runtime_, *rest, runtime_.text(keyword.name), keyword.value);
    }
    given(function.kwargs_slot) = Value::object(Type::kDict, rest);
  } else if (!arguments.keywords.empty()) {
    runtime_.fail(cat("the macro '", name, "' has no argument '", arguments.keywords[0].name, "'"));
    return;
  }
  if (function.varargs_slot != kNoId) {
    std::vector<Value> rest;
    for (size_t i = num_parameters; i < arguments.positional.size(); ++i) {
      rest.push_back(std::move(arguments.positional[i]));
    }
    given(function.varargs_slot) = runtime_.list(Type::kTuple, std::move(rest));
  } else if (arguments.positional.size() > num_parameters) {
    runtime_.fail(cat("the macro '", name, "' takes at most ", num_parameters, " arguments, found ",
                      arguments.positional.size()));
    return;
  }
  frames_.push_back({.function = macro.function, .return_to = position_, .activation = activation});
  begin_capture();
  position_ = function.entry;
}

void Machine::return_from_macro() {
  const CallFrame frame = frames_.back();
  frames_.pop_back();
  position_ = frame.return_to;
  if (!code_.functions[static_cast<size_t>(frame.function)].makes_macros) {
    spare_activations_[static_cast<size_t>(frame.function)].push_back(frame.activation);
  }
  push(runtime_.text(end_capture()));
}

// --- loops and values

void Machine::loop_begin() {
  auto* loop = runtime_.make<LoopObject>();
  loop->iterator = iterate(runtime_, pop());
  loops_.push_back(loop);
}

void Machine::unpack(int32_t count) {
  const Value value = pop();
  // Not further than one too many: the rest of a long sequence does not matter.
  std::vector<Value> items;
  Iterator iterator = iterate(runtime_, value);
  Value item;
  while (items.size() <= static_cast<size_t>(count) && next(runtime_, iterator, item)) {
    items.push_back(std::move(item));
  }
  if (runtime_.failed()) return;
  if (items.size() != static_cast<size_t>(count)) {
    runtime_.fail(cat("cannot unpack ", type_name(value.type()), " into ", count,
                      items.size() > static_cast<size_t>(count) ? " names: it has more items"
                                                                : " names: it has fewer items"));
    return;
  }
  runtime_.spend(count);
  for (size_t i = items.size(); i-- > 0;) push(std::move(items[i]));
}

void Machine::build_dict(int32_t count) {
  DictObject* dict = runtime_.new_dict();
  const size_t first = stack_.size() - static_cast<size_t>(count);
  for (size_t i = first; i < stack_.size() && !runtime_.failed(); i += 2) {
    dict_set(runtime_, *dict, stack_[i], stack_[i + 1]);
  }
  stack_.resize(first);
  push(Value::object(Type::kDict, dict));
}

void Machine::concat(int32_t count) {
  TextBuilder text(runtime_);
  const size_t first = stack_.size() - static_cast<size_t>(count);
  for (size_t i = first; i < stack_.size() && !runtime_.failed(); ++i) {
    append_text(runtime_, text, stack_[i]);
  }
  stack_.resize(first);
  push(text.finish());
}

// --- output

void Machine::write(const TracedText& text) {
  runtime_.spend_bytes(text.size());
  runtime_.charge(static_cast<int64_t>(text.size()));
  if (!runtime_.failed()) outputs_.back().append(text);
}

TracedText Machine::end_capture() {
  TracedText text = std::move(outputs_.back());
  outputs_.pop_back();
  runtime_.charge(-static_cast<int64_t>(text.size()));
  return text;
}

}  // namespace quern::jinja
