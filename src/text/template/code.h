#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/template/scopes.h"
#include "text/template/syntax.h"

namespace quern::jinja {

/// What the machine does, on a stack of values. "pops" and "pushes" speak of that stack.
enum class Op : uint8_t {
  kConstant,    // a: pushes the constant
  kLoad,        // a = hops, b = slot, c = name: pushes the variable
  kLoadGlobal,  // c = name: pushes the caller's variable or the global function
  kStore,       // b = slot: pops into a slot of the running function
  kEnterScope,  // a = scope: gives its slots their first values
  kAttribute,   // a = name: pops object, pushes object.name
  kSubscript,   // pops object, index
  kItem,        // a = name: pops object, pushes object["name"]
  kSlice,       // pops object, start, stop, step (missing where not given)
  kPushMissing,
  kCall,          // a = call shape: pops callee, arguments
  kCallMethod,    // a = call shape, b = name: pops object, arguments
  kFilter,        // a = call shape, b = row of the filters: pops subject, arguments
  kTest,          // likewise, row of the tests
  kBinary,        // a = BinaryOp
  kConcat,        // a = count: pops that many, pushes their texts as one
  kCompare,       // a = CompareOp
  kCompareChain,  // a = CompareOp, b = target: pops x, y; if it holds pushes y, else false and
                  // jumps
  kNegate,
  kPlus,
  kNot,
  kList,              // a = count
  kTuple,             // a = count
  kDict,              // a = count of keys and values together
  kFail,              // a = constant: the message
  kUndefinedElse,     // the value of an inline if without else
  kJump,              // b = target
  kJumpIfFalse,       // b = target: pops
  kJumpIfFalseOrPop,  // b = target: keeps the value if it jumps
  kJumpIfTrueOrPop,
  kJumpIfGiven,   // a = slot, b = target: the parameter was given
  kEmitText,      // a: writes the constant
  kEmit,          // pops, writes str() of it; a = 1: it must be a string
  kLoopBegin,     // pops the iterable
  kLoopNext,      // b = target at the end: pushes the next item
  kLoopTry,       // b = target at the end: pushes the next item, which the loop's filter may refuse
  kLoopAccept,    // the item tried is the next one: pushes it
  kLoopKeep,      // the item tried is one of those that the loop will have
  kLoopRestart,   // the items kept are the ones to walk from now on
  kLoopStore,     // b = slot: stores the loop itself, the variable `loop`
  kLoopDone,      // b = target: an iteration came to its end
  kLoopEnd,       // leaves the loop; a = 1: pushes whether its `else` is to run
  kUnpack,        // a = count: pops a sequence, pushes its items, the first on top
  kCaptureBegin,  // output goes to a text of its own from now on
  kCaptureEnd,    // pushes that text
  kCaptureDrop,
  kMakeMacro,       // a = function: pushes
  kReturn,          // from a macro: what it wrote is the value of the call
  kNamespaceStore,  // a = name: pops value, namespace
  kEnd,
};

struct Instruction {
  Op op = Op::kEnd;
  int32_t line = 0;
  int32_t a = 0, b = 0, c = 0;
};

/// How the arguments of a call lie on the stack: positional, keyword values, *list, **dict.
struct CallShape {
  int32_t num_positional = 0;
  std::vector<NameId> keywords;
  bool star = false;
  bool double_star = false;
};

struct Parameter {
  NameId name = kNoId;
  int32_t slot = kNoId;
  bool has_default = false;
};

/// A macro, or the body of a call block.
struct Function {
  NameId name = kNoId;  // kNoId for a call block
  int32_t entry = 0;
  ScopeId scope = 0;
  int32_t num_slots = 0;
  bool makes_macros = false;  // so its slots may outlive the call
  std::vector<Parameter> parameters;
  // Slots of the names that a macro has without declaring them, where its body uses them.
  int32_t caller_slot = kNoId;
  int32_t varargs_slot = kNoId;
  int32_t kwargs_slot = kNoId;
};

/// A parsed template, immutable.
struct Code {
  std::string what;
  std::vector<Instruction> instructions;
  std::vector<Constant> constants;
  std::vector<std::string> names;
  std::vector<CallShape> calls;
  std::vector<Function> functions;  // 0 is the template itself
  std::vector<std::vector<SlotStart>> scope_starts;
};

}  // namespace quern::jinja
