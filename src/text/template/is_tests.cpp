#include "base/cat.h"
#include "text/template/builtins.h"
#include "text/template/operations.h"
#include "text/template/printing.h"
#include "text/template/syntax.h"
#include "text/template/text_methods.h"

namespace quern::jinja {

namespace {

using Args = std::span<const Value>;

template <Type... types>
Value is_type(Runtime&, const Value& value, Args) {
  return Value::boolean((value.is(types) || ...));
}
template <CompareOp op>
Value is_compared(Runtime& runtime, const Value& value, Args args) {
  return Value::boolean(compare(runtime, op, value, args[0]));
}

Value is_defined(Runtime&, const Value& value, Args) {
  return Value::boolean(!value.is_undefined());
}
Value is_true(Runtime&, const Value& value, Args) {
  return Value::boolean(value.is(Type::kBool) && value.as_bool());
}
Value is_false(Runtime&, const Value& value, Args) {
  return Value::boolean(value.is(Type::kBool) && !value.as_bool());
}
Value is_number(Runtime&, const Value& value, Args) { return Value::boolean(value.is_number()); }
Value is_in(Runtime& runtime, const Value& value, Args args) {
  return Value::boolean(contains(runtime, args[0], value));
}
Value is_sameas(Runtime&, const Value& value, Args args) {
  return Value::boolean(value.same_as(args[0]));
}
Value is_escaped(Runtime&, const Value& value, Args) { return Value::boolean(value.is_markup()); }
Value is_iterable_value(Runtime&, const Value& value, Args) {
  return Value::boolean(is_iterable(value) || value.is(Type::kLoop));
}
/// What has a length and can be subscripted; Undefined has both.
Value is_sequence(Runtime&, const Value& value, Args) {
  return Value::boolean(has_length(value) && !value.is(Type::kDictView));
}
Value is_callable(Runtime&, const Value& value, Args) {
  switch (value.type()) {
    case Type::kMacro:
    case Type::kFunction:
    case Type::kMethod:
    case Type::kLoop:
    case Type::kJoiner:
    case Type::kUndefined:
      return Value::boolean(true);
    default:
      return Value::boolean(false);
  }
}

/// value % divisor == wanted, the way Python's operators do it.
Value is_remainder(Runtime& runtime, const Value& value, const Value& divisor, int64_t wanted) {
  const Value rest = arithmetic(runtime, BinaryOp::kMod, value, divisor);
  if (runtime.failed()) return {};
  return Value::boolean(equal(runtime, rest, Value::integer(wanted)));
}
Value is_odd(Runtime& runtime, const Value& value, Args) {
  return is_remainder(runtime, value, Value::integer(2), 1);
}
Value is_even(Runtime& runtime, const Value& value, Args) {
  return is_remainder(runtime, value, Value::integer(2), 0);
}
Value is_divisibleby(Runtime& runtime, const Value& value, Args args) {
  return is_remainder(runtime, value, args[0], 0);
}

Value is_lower_text(Runtime& runtime, const Value& value, Args) {
  const Value text = to_text(runtime, value);
  runtime.spend_bytes(text.bytes().size());
  return Value::boolean(text_is_lower(text));
}
Value is_upper_text(Runtime& runtime, const Value& value, Args) {
  const Value text = to_text(runtime, value);
  runtime.spend_bytes(text.bytes().size());
  return Value::boolean(text_is_upper(text));
}
Value is_filter(Runtime&, const Value& value, Args) {
  return Value::boolean(value.is_text() && find_filter(value.bytes()) != kNoId);
}
Value is_test(Runtime&, const Value& value, Args) {
  return Value::boolean(value.is_text() && find_test(value.bytes()) != kNoId);
}

constexpr Builtin kTests[] = {
    {"!=", {"/other"}, 1, is_compared<CompareOp::kNotEqual>},
    {"<", {"/other"}, 1, is_compared<CompareOp::kLess>},
    {"<=", {"/other"}, 1, is_compared<CompareOp::kLessEqual>},
    {"==", {"/other"}, 1, is_compared<CompareOp::kEqual>},
    {">", {"/other"}, 1, is_compared<CompareOp::kGreater>},
    {">=", {"/other"}, 1, is_compared<CompareOp::kGreaterEqual>},
    {"boolean", {}, 0, is_type<Type::kBool>},
    {"callable", {}, 0, is_callable},
    {"defined", {}, 0, is_defined},
    {"divisibleby", {"num"}, 1, is_divisibleby},
    {"eq", {"/other"}, 1, is_compared<CompareOp::kEqual>},
    {"equalto", {"/other"}, 1, is_compared<CompareOp::kEqual>},
    {"escaped", {}, 0, is_escaped},
    {"even", {}, 0, is_even},
    {"false", {}, 0, is_false},
    {"filter", {}, 0, is_filter},
    {"float", {}, 0, is_type<Type::kFloat>},
    {"ge", {"/other"}, 1, is_compared<CompareOp::kGreaterEqual>},
    {"greaterthan", {"/other"}, 1, is_compared<CompareOp::kGreater>},
    {"gt", {"/other"}, 1, is_compared<CompareOp::kGreater>},
    {"in", {"seq"}, 1, is_in},
    {"integer", {}, 0, is_type<Type::kInteger>},
    {"iterable", {}, 0, is_iterable_value},
    {"le", {"/other"}, 1, is_compared<CompareOp::kLessEqual>},
    {"lessthan", {"/other"}, 1, is_compared<CompareOp::kLess>},
    {"lower", {}, 0, is_lower_text},
    {"lt", {"/other"}, 1, is_compared<CompareOp::kLess>},
    {"mapping", {}, 0, is_type<Type::kDict>},
    {"ne", {"/other"}, 1, is_compared<CompareOp::kNotEqual>},
    {"none", {}, 0, is_type<Type::kNone>},
    {"number", {}, 0, is_number},
    {"odd", {}, 0, is_odd},
    {"sameas", {"other"}, 1, is_sameas},
    {"sequence", {}, 0, is_sequence},
    {"string", {}, 0, is_type<Type::kText>},
    {"test", {}, 0, is_test},
    {"true", {}, 0, is_true},
    {"undefined", {}, 0, is_type<Type::kUndefined>},
    {"upper", {}, 0, is_upper_text},
};

}  // namespace

std::span<const Builtin> tests() { return kTests; }

}  // namespace quern::jinja
