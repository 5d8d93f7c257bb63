#include <algorithm>
#include <optional>

#include "base/cat.h"
#include "text/template/builtins.h"
#include "text/template/operations.h"
#include "text/template/syntax.h"
#include "text/template/text_methods.h"

namespace quern::jinja {

namespace {

using Args = std::span<const Value>;

// --- dict

Value dict_get(Runtime& runtime, const Value& self, Args args) {
  if (!is_hashable(runtime, args[0])) {
    return runtime.fail(cat(type_name(args[0].type()), " cannot be a key of a dict"));
  }
  if (const Value* value = dict_find(runtime, self.dict(), args[0])) return *value;
  return args[1].is_missing() ? Value::none() : args[1];
}
Value dict_items(Runtime& runtime, const Value& self, Args) {
  return dict_view(runtime, self.dict(), DictViewObject::Part::kItems);
}
Value dict_keys(Runtime& runtime, const Value& self, Args) {
  return dict_view(runtime, self.dict(), DictViewObject::Part::kKeys);
}
Value dict_values(Runtime& runtime, const Value& self, Args) {
  return dict_view(runtime, self.dict(), DictViewObject::Part::kValues);
}
Value dict_copy(Runtime& runtime, const Value& self, Args) {
  DictObject* copy = runtime.new_dict();
  for (const DictObject::Entry& entry : self.dict().entries) {
    dict_set(runtime, *copy, entry.key, entry.value);
  }
  return Value::object(Type::kDict, copy);
}

constexpr Builtin kDictMethods[] = {
    {"copy", {}, 0, dict_copy},     {"get", {"/key", "/default"}, 1, dict_get},
    {"items", {}, 0, dict_items},   {"keys", {}, 0, dict_keys},
    {"values", {}, 0, dict_values},
};

// --- list and tuple

Value list_count(Runtime& runtime, const Value& self, Args args) {
  int64_t count = 0;
  for (const Value& item : self.list().items) {
    runtime.spend(1);
    if (runtime.failed()) break;
    count += equal(runtime, item, args[0]) ? 1 : 0;
  }
  return Value::integer(count);
}
Value list_index(Runtime& runtime, const Value& self, Args args) {
  const auto& items = self.list().items;
  const auto size = static_cast<int64_t>(items.size());
  int64_t bounds[2] = {0, size};
  for (size_t i = 0; i < 2; ++i) {
    if (args[i + 1].is_missing()) continue;
    if (!args[i + 1].is_integral()) return runtime.fail("index() needs integers for its bounds");
    const int64_t at = args[i + 1].as_integer();
    bounds[i] = std::clamp<int64_t>(at < 0 ? std::max(at, -size) + size : at, 0, size);
  }
  for (int64_t i = bounds[0]; i < bounds[1]; ++i) {
    runtime.spend(1);
    if (runtime.failed()) return {};
    if (equal(runtime, items[static_cast<size_t>(i)], args[0])) return Value::integer(i);
  }
  return runtime.fail("index() does not find the value");
}
Value list_copy(Runtime& runtime, const Value& self, Args) {
  if (!runtime.reserve_items(length(runtime, self))) return {};
  return runtime.list(Type::kList, self.list().items);
}

constexpr Builtin kListMethods[] = {
    {"copy", {}, 0, list_copy},
    {"count", {"/value"}, 1, list_count},
    {"index", {"/value", "/start", "/stop"}, 1, list_index},
};
constexpr Builtin kTupleMethods[] = {
    {"count", {"/value"}, 1, list_count},
    {"index", {"/value", "/start", "/stop"}, 1, list_index},
};

// --- loop

Value loop_cycle(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return runtime.fail("loop.cycle() needs something to cycle");
  const auto count = static_cast<int64_t>(arguments.positional.size());
  return arguments.positional[static_cast<size_t>(self.loop().index0 % count)];
}
Value loop_changed(Runtime& runtime, const Value& self, const Arguments& arguments) {
  LoopObject& loop = self.loop();
  bool same = loop.changed_called && loop.last_changed.size() == arguments.positional.size();
  for (size_t i = 0; same && i < loop.last_changed.size(); ++i) {
    same = equal(runtime, loop.last_changed[i], arguments.positional[i]);
  }
  loop.changed_called = true;
  if (!same) loop.last_changed = arguments.positional;
  return Value::boolean(!same);
}

constexpr Builtin kLoopMethods[] = {
    {"changed", {}, 0, nullptr, loop_changed},
    {"cycle", {}, 0, nullptr, loop_cycle},
};

// --- cycler

Value cycler_next(Runtime&, const Value& self, Args) {
  CyclerObject& cycler = self.cycler();
  Value item = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return item;
}
Value cycler_reset(Runtime&, const Value& self, Args) {
  self.cycler().position = 0;
  return Value::none();
}

constexpr Builtin kCyclerMethods[] = {
    {"next", {}, 0, cycler_next},
    {"reset", {}, 0, cycler_reset},
};

// --- what the sandbox or quern keeps closed

/// Attributes that Python's type has but a template may not call: they change the object, which the
/// sandbox forbids. Asked for, they are undefined values that fail when used.
constexpr std::string_view kListChanges[] = {"append", "clear",  "extend",  "insert",
                                             "pop",    "remove", "reverse", "sort"};
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
/// Attributes that a template could use but that quern does not have. They win over a key of the
/// same name, so they cannot be passed over.
constexpr std::string_view kMissingTextMethods[] = {"encode", "format_map", "isnumeric",
                                                    "maketrans", "translate"};
constexpr std::string_view kMissingDictMethods[] = {"fromkeys"};

template <size_t n>
bool is_in(const std::string_view (&names)[n], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool is_change(Type type, std::string_view name) {
  return (type == Type::kList && is_in(kListChanges, name)) ||
         (type == Type::kDict && is_in(kDictChanges, name));
}

bool is_missing_method_of(Type type, std::string_view name) {
  return (type == Type::kText && is_in(kMissingTextMethods, name)) ||
         (type == Type::kDict && is_in(kMissingDictMethods, name));
}

std::optional<Value> loop_attribute(Runtime& runtime, LoopObject& loop, std::string_view name) {
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(at_end(loop.iterator));
  if (name == "length") return Value::integer(loop_length(runtime, loop));
  if (name == "revindex") return Value::integer(loop_length(runtime, loop) - loop.index0);
  if (name == "revindex0") return Value::integer(loop_length(runtime, loop) - loop.index0 - 1);
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "previtem") {
    return loop.index0 == 0 ? Value::undefined(Absence::kNoItem) : loop.previous;
  }
  if (name == "nextitem") {
    if (at_end(loop.iterator)) return Value::undefined(Absence::kNoItem);
    Iterator ahead = loop.iterator;
    if (ahead.source.is(Type::kGenerator)) {
      return ahead.source.list().items[ahead.source.list().position];
    }
    Value item;
    next(runtime, ahead, item);
    return item;
  }
  return std::nullopt;
}

}  // namespace

std::span<const Builtin> methods(Type type) {
  switch (type) {
    case Type::kText:
      return text_methods();
    case Type::kDict:
      return kDictMethods;
    case Type::kList:
      return kListMethods;
    case Type::kTuple:
      return kTupleMethods;
    case Type::kLoop:
      return kLoopMethods;
    case Type::kCycler:
      return kCyclerMethods;
    default:
      return {};
  }
}

std::optional<Value> find_attribute(Runtime& runtime, const Value& object, std::string_view name,
                                    int32_t name_id) {
  const Type type = object.type();
  if (type == Type::kNamespace) {
    const Value* member = dict_find(*object.namespace_object().members, name);
    return member == nullptr ? std::nullopt : std::optional(*member);
  }
  // Names with two underscores at both ends lead from any Python object to the whole interpreter.
  if ((name.starts_with("__") && name.ends_with("__")) || is_change(type, name)) {
    return Value::undefined(Absence::kUnsafe, name_id, type);
  }
  if (type == Type::kLoop) {
    if (const auto value = loop_attribute(runtime, object.loop(), name)) return value;
  }
  if (type == Type::kCycler && name == "current") {
    return object.cycler().items[object.cycler().position];
  }
  if (const int32_t row = find_method(type, name); row != kNoId) {
    auto* method = runtime.make<MethodObject>();
    method->self = object;
    method->row = row;
    return Value::object(Type::kMethod, method);
  }
  if (is_missing_method_of(type, name)) {
    return runtime.fail(cat("the method '", name, "' of ", type_name(type), " is not supported"));
  }
  return std::nullopt;
}

bool is_missing_method(std::string_view name) {
  return is_in(kMissingTextMethods, name) || is_in(kMissingDictMethods, name);
}

Value get_attribute(Runtime& runtime, const Value& object, std::string_view name, int32_t name_id) {
  if (object.is_undefined()) return fail_undefined(runtime, object);
  if (const auto value = find_attribute(runtime, object, name, name_id)) return *value;
  if (object.is(Type::kDict)) {
    if (const Value* value = dict_find(object.dict(), name)) return *value;
  }
  return Value::undefined(Absence::kMember, name_id, object.type());
}

Value get_named_item(Runtime& runtime, const Value& object, std::string_view name,
                     int32_t name_id) {
  if (object.is_undefined()) return fail_undefined(runtime, object);
  if (object.is(Type::kDict)) {
    if (const Value* value = dict_find(object.dict(), name)) return *value;
  }
  if (const auto value = find_attribute(runtime, object, name, name_id)) return *value;
  return Value::undefined(Absence::kMember, name_id, object.type());
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is_undefined()) return fail_undefined(runtime, object);
  if (object.is(Type::kDict)) {
    if (is_hashable(runtime, key)) {
      if (const Value* value = dict_find(runtime, object.dict(), key)) return *value;
    }
  } else if (const auto item = element(runtime, object, key)) {
    return *item;
  }
  if (key.is_text()) return get_named_item(runtime, object, key.bytes(), -1);
  return Value::undefined(Absence::kElement, -1, object.type());
}

}  // namespace quern::jinja
