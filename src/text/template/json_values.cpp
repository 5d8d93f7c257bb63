#include "text/template/json_values.h"

#include <algorithm>

#include "base/cat.h"
#include "text/template/operations.h"

namespace quern::jinja {

namespace {

/// A role that templates may build special tokens around: one plain word.
bool is_plain_word(const std::string& text) {
  constexpr size_t kLongestWord = 32;
  return !text.empty() && text.size() <= kLongestWord &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

/// A list or dict that is being filled.
struct Filled {
  const Json* source;
  Json::const_iterator next;
  Value container;
};

}  // namespace

Value value_of_json(Runtime& runtime, const std::string& name, const Json& json) {
  const bool is_messages = name == "messages";
  const auto leaf = [&](const Json& value, Origin origin) {
    switch (value.type()) {
      case Json::value_t::null:
        return Value::none();
      case Json::value_t::boolean:
        return Value::boolean(value.get<bool>());
      case Json::value_t::number_integer:
        return Value::integer(value.get<int64_t>());
      case Json::value_t::number_unsigned: {
        const auto number = value.get<uint64_t>();
        if (number > uint64_t{INT64_MAX}) {
          return runtime.fail(
              cat("the number ", number, " in '", name, "' does not fit in 64 bits with a sign"));
        }
        return Value::integer(static_cast<int64_t>(number));
      }
      case Json::value_t::number_float:
        return Value::number(value.get<double>());
      case Json::value_t::string:
        return runtime.text(TracedText(value.get_ref<const std::string&>(), origin));
      default:
        return runtime.fail(cat("'", name, "' holds a value that is not JSON"));
    }
  };
  if (!json.is_structured()) {
    const bool from_user = is_messages || name == "tools";
    return leaf(json, from_user ? Origin::kVariables : Origin::kTemplate);
  }

  std::vector<Filled> open;
  const auto begin = [&](const Json& value) -> Value {
    if (open.size() >= static_cast<size_t>(runtime.depth_limit())) {
      return runtime.fail(cat("'", name, "' nests deeper than ", runtime.depth_limit(), " levels"));
    }
    Value container = value.is_array() ? runtime.list(Type::kList, {})
                                       : Value::object(Type::kDict, runtime.new_dict());
    if (value.is_array()) {
      runtime.charge(static_cast<int64_t>(value.size() * sizeof(Value)));
      if (runtime.failed()) return {};
      container.list().items.reserve(value.size());
    }
    open.push_back({&value, value.cbegin(), container});
    return container;
  };
  const Value whole = begin(json);
  while (!open.empty() && !runtime.failed()) {
    Filled& top = open.back();
    if (top.next == top.source->cend()) {
      open.pop_back();
      continue;
    }
    runtime.spend(1);
    const Json& item = *top.next;
    const bool in_dict = top.source->is_object();
    const bool is_role = in_dict && is_messages && open.size() == 2 && top.next.key() == "role" &&
                         item.is_string() && is_plain_word(item.get_ref<const std::string&>());
    const std::string key = in_dict ? top.next.key() : std::string();
    const Value container = top.container;
    ++top.next;  // `top` is gone once another container is open
    const Value value = item.is_structured()
                            ? begin(item)
                            : leaf(item, is_role ? Origin::kTemplate : Origin::kVariables);
    if (runtime.failed()) break;
    if (in_dict) {
      dict_set(runtime, container.dict(), runtime.text(TracedText(key, Origin::kVariables)), value);
    } else {
      container.list().items.push_back(value);
    }
  }
  return whole;
}

}  // namespace quern::jinja
