#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "text/template/builtins.h"
#include "text/template/code.h"
#include "text/template/runtime.h"

namespace quern::jinja {

/// Runs the code of a template once. Calls of macros are frames on a list of its own, so nothing
/// that a template does makes the machine call itself.
class Machine {
 public:
  Machine(const Code& code, const Json& variables, const RenderOptions& options);

  /// What the template wrote.
  Result<TracedText> run();

 private:
  struct CallFrame {
    int32_t function = 0;
    int32_t return_to = 0;
    Activation* activation = nullptr;
  };

  const Instruction& at(int32_t position) const {
    return code_.instructions[static_cast<size_t>(position)];
  }
  Value pop() {
    Value value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  void push(Value value) { stack_.push_back(std::move(value)); }
  Value& slot(int32_t index) {
    return frames_.back().activation->slots[static_cast<size_t>(index)];
  }

  void step();
  Value load(const Instruction& instruction) const;
  Value load_global(NameId name) const;
  void enter_scope(ScopeId scope);
  Activation* new_activation(int32_t function, Activation* outer);

  Arguments take_arguments(const CallShape& shape);
  void add_star_arguments(Arguments& arguments, const CallShape& shape, const Value& star,
                          const Value& double_star);
  void call(const Value& callee, Arguments arguments);
  void call_method(const Value& object, NameId name, Arguments arguments);
  void call_macro(const MacroObject& macro, Arguments arguments);
  void return_from_macro();

  void loop_begin();
  void unpack(int32_t count);
  void build_dict(int32_t count);
  void concat(int32_t count);

  void write(const TracedText& text);
  void begin_capture() { outputs_.emplace_back(); }
  TracedText end_capture();

  const Code& code_;
  Runtime runtime_;
  // Values refer to the runtime, so everything that holds some comes after it.
  std::vector<Value> constants_;
  std::vector<Value> globals_;  // by name, missing where there is none
  std::vector<Value> stack_;
  std::vector<CallFrame> frames_;
  std::vector<LoopObject*> loops_;
  std::vector<TracedText> outputs_;                          // the last one is written to
  std::vector<std::vector<Activation*>> spare_activations_;  // by function
  int32_t position_ = 0;
  int32_t line_ = 1;
};

}  // namespace quern::jinja
