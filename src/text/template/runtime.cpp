#include "text/template/runtime.h"

#include <algorithm>

#include "base/cat.h"

namespace quern::jinja {

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kMissing:
      return "nothing";
    case Type::kUndefined:
      return "an undefined value";
    case Type::kNone:
      return "none";
    case Type::kBool:
      return "a boolean";
    case Type::kInteger:
      return "an integer";
    case Type::kFloat:
      return "a float";
    case Type::kText:
      return "a string";
    case Type::kList:
      return "a list";
    case Type::kTuple:
      return "a tuple";
    case Type::kGenerator:
      return "a generator";
    case Type::kRange:
      return "a range";
    case Type::kDict:
      return "a dict";
    case Type::kDictView:
      return "a dict view";
    case Type::kNamespace:
      return "a namespace";
    case Type::kMacro:
      return "a macro";
    case Type::kLoop:
      return "a loop";
    case Type::kFunction:
      return "a function";
    case Type::kMethod:
      return "a method";
    case Type::kCycler:
      return "a cycler";
    case Type::kJoiner:
      return "a joiner";
  }
  return "a value";
}

Runtime::Runtime(const RenderOptions& options, const std::vector<std::string>& names)
    : limits_(options.limits),
      clock_(options.clock != nullptr ? *options.clock : steady_clock()),
      now_(options.now ? *options.now : CivilTime::local_now()),
      names_(names) {
  deadline_ns_ = clock_.now_ns() + limits_.milliseconds * 1'000'000;
  next_check_ = std::min(kCheckEvery, limits_.steps + 1);
}

Runtime::~Runtime() = default;

Value Runtime::fail(std::string message) {
  if (!failed_) {
    failed_ = true;
    failure_ = std::move(message);
  }
  return Value::undefined(Absence::kVariable);
}

void Runtime::check_fuel() {
  if (steps_ > limits_.steps) {
    fail(cat("stopped after ", limits_.steps, " steps, the limit of one rendering"));
  } else if (clock_.now_ns() > deadline_ns_) {
    fail(cat("stopped after ", limits_.milliseconds, " ms, the limit of one rendering"));
  }
  next_check_ = std::min(steps_ + kCheckEvery, limits_.steps + 1);
  // Out of steps: every later payment fails as well.
  next_check_ = std::max(next_check_, steps_);
}

bool Runtime::reserve(int64_t bytes) {
  if (!failed_ && bytes <= limits_.bytes - account_.used) return true;
  fail(cat("stopped because it needs more than ", limits_.bytes,
           " bytes, the limit of one rendering"));
  return false;
}

void Runtime::charge(int64_t bytes) {
  account_.used += bytes;
  reserve(0);
}

Value Runtime::text(TracedText content, bool markup) {
  spend_bytes(content.size());
  Value out = Value::text(new Text(std::move(content), markup, &account_));
  reserve(0);
  return out;
}

Value Runtime::list(Type type, std::vector<Value> items) {
  spend(1 + static_cast<int64_t>(items.size() / 8));
  auto* object = make<ListObject>();
  charge(static_cast<int64_t>(items.capacity() * sizeof(Value)));
  object->items = std::move(items);
  return Value::object(type, object);
}

Value Runtime::range(int64_t start, int64_t stop, int64_t step) {
  auto* object = make<RangeObject>();
  object->start = start;
  object->stop = stop;
  object->step = step;
  // The distance may not fit in a signed number, the count of its steps does.
  const bool up = step > 0;
  if (up ? start < stop : start > stop) {
    const uint64_t distance = up ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                 : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
    const uint64_t size = up ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
    object->count = static_cast<int64_t>(std::min<uint64_t>((distance - 1) / size + 1, INT64_MAX));
  }
  return Value::object(Type::kRange, object);
}

DictObject* Runtime::new_dict() { return make<DictObject>(); }

std::string describe_absence(const Runtime& runtime, const Value& undefined) {
  const std::string_view name = runtime.name(undefined.absent_name());
  const std::string quoted =
      name.empty() ? std::string("such key or attribute") : cat("'", name, "'");
  switch (undefined.absence()) {
    case Absence::kVariable:
      return name.empty() ? std::string("a value is undefined") : cat(quoted, " is undefined");
    case Absence::kMember:
      return cat(type_name(undefined.absent_from()), " has no ", quoted);
    case Absence::kElement:
      return cat(type_name(undefined.absent_from()), " has no such element");
    case Absence::kParameter:
      return cat("the parameter ", quoted, " was not given");
    case Absence::kNoElse:
      return "an inline if was false and has no else";
    case Absence::kEmpty:
      return "the sequence is empty";
    case Absence::kUnsafe:
      return cat("access to ", quoted, " is not allowed in the sandbox");
    case Absence::kNoItem:
      return "the loop has no such item";
  }
  return "a value is undefined";
}

Value fail_undefined(Runtime& runtime, const Value& undefined) {
  return runtime.fail(describe_absence(runtime, undefined));
}

}  // namespace quern::jinja
