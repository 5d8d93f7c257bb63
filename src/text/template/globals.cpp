#include "base/cat.h"
#include "text/template/builtins.h"
#include "text/template/civil_time.h"
#include "text/template/operations.h"
#include "text/template/printing.h"

namespace quern::jinja {

namespace {

using Args = std::span<const Value>;

constexpr int64_t kMaxRange = 100'000;  // the sandbox's own limit

Value range(Runtime& runtime, const Value&, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.keywords.empty()) {
    return runtime.fail("range() takes one to three integers");
  }
  int64_t bounds[3] = {0, 0, 1};
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i].is_undefined()) return fail_undefined(runtime, given[i]);
    if (!given[i].is_integral()) {
      return runtime.fail(cat("range() takes integers, found ", type_name(given[i].type())));
    }
    bounds[given.size() == 1 ? 1 : i] = given[i].as_integer();
  }
  if (bounds[2] == 0) return runtime.fail("the step of range() cannot be zero");
  Value out = runtime.range(bounds[0], bounds[1], bounds[2]);
  if (out.range().count > kMaxRange) {
    return runtime.fail(cat("range() of more than ", kMaxRange, " items is not allowed"));
  }
  return out;
}

/// dict() and namespace(): one dict or sequence of pairs, then names.
DictObject* dict_of(Runtime& runtime, const Arguments& arguments, std::string_view function) {
  DictObject* dict = runtime.new_dict();
  if (arguments.positional.size() > 1) {
    runtime.fail(cat(function, "() takes one dict or list of pairs and names"));
    return dict;
  }
  for (const Value& source : arguments.positional) {
    if (source.is(Type::kDict)) {
      for (const DictObject::Entry& entry : source.dict().entries) {
        dict_set(runtime, *dict, entry.key, entry.value);
      }
      continue;
    }
    Iterator iterator = iterate(runtime, source);
    Value item;
    while (next(runtime, iterator, item)) {
      const std::vector<Value> pair = collect(runtime, item);
      if (pair.size() != 2) {
        runtime.fail(cat(function, "() needs pairs of key and value"));
        return dict;
      }
      dict_set(runtime, *dict, pair[0], pair[1]);
    }
  }
  for (const KeywordValue& keyword : arguments.keywords) {
    dict_set(runtime, *dict, runtime.text(keyword.name), keyword.value);
  }
  return dict;
}

Value make_dict(Runtime& runtime, const Value&, const Arguments& arguments) {
  return Value::object(Type::kDict, dict_of(runtime, arguments, "dict"));
}

Value make_namespace(Runtime& runtime, const Value&, const Arguments& arguments) {
  DictObject* members = dict_of(runtime, arguments, "namespace");
  for (const DictObject::Entry& entry : members->entries) {
    if (entry.key.is_text() && entry.key.bytes().starts_with('_')) {
      return runtime.fail("a namespace takes no names that start with an underscore");
    }
  }
  auto* object = runtime.make<NamespaceObject>();
  object->members = members;
  return Value::object(Type::kNamespace, object);
}

Value make_cycler(Runtime& runtime, const Value&, const Arguments& arguments) {
  if (arguments.positional.empty()) return runtime.fail("cycler() needs something to cycle");
  auto* object = runtime.make<CyclerObject>();
  runtime.charge(static_cast<int64_t>(arguments.positional.size() * sizeof(Value)));
  object->items = arguments.positional;
  return Value::object(Type::kCycler, object);
}

Value make_joiner(Runtime& runtime, const Value&, Args args) {
  auto* object = runtime.make<JoinerObject>();
  object->separator = args[0].is_missing() ? runtime.text(", ") : args[0];
  return Value::object(Type::kJoiner, object);
}

Value raise_exception(Runtime& runtime, const Value&, Args args) {
  constexpr size_t kMaxMessage = 4000;
  TextBuilder text(runtime);
  append_text(runtime, text, args[0]);
  std::string message = text.take().bytes();
  if (message.size() > kMaxMessage) {
    size_t end = kMaxMessage;
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
    message = cat(message.substr(0, end), "...");
  }
  return runtime.fail(std::move(message));
}

Value strftime_now(Runtime& runtime, const Value&, Args args) {
  if (!args[0].is_text()) return runtime.fail("strftime_now() needs a format string");
  runtime.spend(1 + static_cast<int64_t>(args[0].bytes().size()));
  if (!runtime.reserve(32 * static_cast<int64_t>(args[0].bytes().size()))) return {};
  std::string unknown;
  const auto text = format_time(runtime.now(), args[0].bytes(), unknown);
  if (!text) return runtime.fail(cat("strftime_now() does not know '", unknown, "'"));
  return runtime.text(*text);
}

constexpr Builtin kFunctions[] = {
    {"cycler", {}, 0, nullptr, make_cycler},
    {"dict", {}, 0, nullptr, make_dict},
    {"joiner", {"sep"}, 0, make_joiner},
    {"namespace", {}, 0, nullptr, make_namespace},
    {"raise_exception", {"message"}, 1, raise_exception},
    {"range", {}, 0, nullptr, range},
    {"strftime_now", {"format"}, 1, strftime_now},
};

}  // namespace

std::span<const Builtin> global_functions() { return kFunctions; }

}  // namespace quern::jinja
