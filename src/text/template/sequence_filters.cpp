#include "text/template/sequence_filters.h"

#include <algorithm>

#include "base/cat.h"
#include "base/numbers.h"
#include "text/template/operations.h"
#include "text/template/printing.h"
#include "text/template/syntax.h"
#include "text/template/text_methods.h"

namespace quern::jinja {

namespace {

/// A path of attributes as filters take it: "function.name", "0.text", or one integer.
class AttributePath {
 public:
  AttributePath(Runtime& runtime, const Value& attribute) : runtime_(runtime) {
    if (attribute.is_missing() || attribute.is_none()) return;
    if (!attribute.is_text()) {
      parts_.push_back(attribute);
      return;
    }
    std::string_view rest = attribute.bytes();
    while (true) {
      const size_t dot = std::min(rest.find('.'), rest.size());
      const std::string_view part = rest.substr(0, dot);
      const auto number = parse_integer<int64_t>(part);
      parts_.push_back(number && !part.starts_with('-') ? Value::integer(*number)
                                                        : runtime.text(part));
      if (dot == rest.size() || runtime.failed()) return;
      rest.remove_prefix(dot + 1);
    }
  }

  Value get(const Value& item, const Value& otherwise = {}) const {
    Value value = item;
    for (const Value& part : parts_) {
      runtime_.spend(1);
      value = get_item(runtime_, value, part);
      if (runtime_.failed()) return value;
      if (value.is_undefined() && !otherwise.is_missing() && !otherwise.is_none()) {
        value = otherwise;
      }
    }
    return value;
  }

 private:
  Runtime& runtime_;
  std::vector<Value> parts_;
};

/// What a filter compares instead of the item itself: strings without their case unless asked.
Value sort_key(Runtime& runtime, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is_text()) return value;
  return change_case(runtime, value, Case::kLower);
}

bool less(Runtime& runtime, const Value& a, const Value& b) {
  runtime.spend(1);
  return !runtime.failed() && ordered(runtime, CompareOp::kLess, a, b);
}

/// The order of `keys`, stable; equal ones keep their order when reversed too.
std::vector<size_t> sorted_order(Runtime& runtime, const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(keys.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return reverse ? less(runtime, keys[b], keys[a]) : less(runtime, keys[a], keys[b]);
  });
  return order;
}

Value extreme(Runtime& runtime, const Value& value, FilterArgs args, CompareOp better) {
  const AttributePath path(runtime, args[1]);
  Iterator iterator = iterate(runtime, value);
  Value item, best, best_key;
  while (next(runtime, iterator, item)) {
    runtime.spend(1);
    Value key = sort_key(runtime, path.get(item), truth(args[0]));
    if (runtime.failed()) return {};
    if (best_key.is_missing() || ordered(runtime, better, key, best_key)) {
      best = item;
      best_key = std::move(key);
    }
  }
  return best_key.is_missing() ? Value::undefined(Absence::kEmpty) : best;
}

/// select, reject, selectattr and rejectattr.
enum class Keep { kPassing, kFailing };
enum class Subject { kItem, kAttribute };

Value select_items(Runtime& runtime, const Value& value, const Arguments& arguments, Keep keep,
                   Subject subject) {
  std::vector<Value> kept;
  if (truth(value) || value.is(Type::kGenerator)) {
    Arguments rest = arguments;
    const auto take_first = [&]() {
      Value first = rest.positional.front();
      rest.positional.erase(rest.positional.begin());
      return first;
    };
    Value attribute;
    if (subject == Subject::kAttribute) {
      if (rest.positional.empty()) return runtime.fail("the filter needs the name of an attribute");
      attribute = take_first();
    }
    const AttributePath path(runtime, attribute);
    const Builtin* test = nullptr;
    if (!rest.positional.empty()) {
      const Value name = take_first();
      const int32_t row = name.is_text() ? find_test(name.bytes()) : kNoId;
      if (row == kNoId) {
        return runtime.fail(name.is_text() ? refused_test(name.bytes())
                                           : "the filter needs the name of a test");
      }
      test = &tests()[static_cast<size_t>(row)];
    }
    Iterator iterator = iterate(runtime, value);
    Value item;
    while (next(runtime, iterator, item)) {
      runtime.spend(1);
      const Value tested = path.get(item);
      if (runtime.failed()) return {};
      const bool passes = test == nullptr
                              ? truth(tested)
                              : truth(call_builtin(runtime, "test", *test, tested, rest));
      if (runtime.failed()) return {};
      if (passes != (keep == Keep::kPassing)) continue;
      if (!runtime.reserve_items(static_cast<int64_t>(kept.size()) + 1)) return {};
      kept.push_back(std::move(item));
    }
  }
  return runtime.list(Type::kGenerator, std::move(kept));
}

}  // namespace

Value filter_map(Runtime& runtime, const Value& value, const Arguments& arguments) {
  std::vector<Value> out;
  if (truth(value) || value.is(Type::kGenerator)) {
    Arguments rest = arguments;
    const Builtin* filter = nullptr;
    Value attribute, otherwise;
    if (rest.positional.empty()) {
      for (const KeywordValue& keyword : rest.keywords) {
        if (keyword.name == "attribute") {
          attribute = keyword.value;
        } else if (keyword.name == "default") {
          otherwise = keyword.value;
        } else {
          return runtime.fail(cat("the filter 'map' has no argument '", keyword.name, "'"));
        }
      }
      if (attribute.is_missing()) return runtime.fail("the filter 'map' needs a filter's name");
    } else {
      const Value name = rest.positional.front();
      rest.positional.erase(rest.positional.begin());
      const int32_t row = name.is_text() ? find_filter(name.bytes()) : kNoId;
      if (row == kNoId) {
        return runtime.fail(name.is_text() ? refused_filter(name.bytes())
                                           : "the filter 'map' needs a filter's name");
      }
      filter = &filters()[static_cast<size_t>(row)];
      // A row that maps or selects again would call this function within itself.
      if (filter->raw != nullptr && filter->name != "format") {
        return runtime.fail(cat("map('", filter->name, "') is not supported; use a loop"));
      }
    }
    const AttributePath path(runtime, attribute);
    Iterator iterator = iterate(runtime, value);
    Value item;
    while (next(runtime, iterator, item)) {
      runtime.spend(1);
      Value mapped = filter == nullptr ? path.get(item, otherwise)
                                       : call_builtin(runtime, "filter", *filter, item, rest);
      if (runtime.failed() || !runtime.reserve_items(static_cast<int64_t>(out.size()) + 1)) {
        return {};
      }
      out.push_back(std::move(mapped));
    }
  }
  return runtime.list(Type::kGenerator, std::move(out));
}

Value filter_select(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return select_items(runtime, value, arguments, Keep::kPassing, Subject::kItem);
}
Value filter_reject(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return select_items(runtime, value, arguments, Keep::kFailing, Subject::kItem);
}
Value filter_selectattr(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return select_items(runtime, value, arguments, Keep::kPassing, Subject::kAttribute);
}
Value filter_rejectattr(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return select_items(runtime, value, arguments, Keep::kFailing, Subject::kAttribute);
}

Value filter_join(Runtime& runtime, const Value& value, FilterArgs args) {
  const AttributePath path(runtime, args[1]);
  const Value separator = args[0].is_missing() ? runtime.text("") : to_text(runtime, args[0]);
  Iterator iterator = iterate(runtime, value);
  TextBuilder out(runtime);
  Value item;
  bool first = true;
  while (next(runtime, iterator, item)) {
    if (!first) out.append(separator.traced());
    first = false;
    append_text(runtime, out, path.get(item));
    if (runtime.failed()) return {};
  }
  return out.finish();
}

Value filter_first(Runtime& runtime, const Value& value, FilterArgs) {
  Iterator iterator = iterate(runtime, value);
  Value item;
  if (next(runtime, iterator, item)) return item;
  return Value::undefined(Absence::kEmpty);
}

Value filter_last(Runtime& runtime, const Value& value, FilterArgs) {
  if (value.is(Type::kGenerator)) {
    return runtime.fail("a generator has no last item; make it a list with the filter 'list'");
  }
  if (value.is_text() || value.is(Type::kList) || value.is(Type::kTuple) ||
      value.is(Type::kRange)) {
    Value item = *element(runtime, value, Value::integer(-1));
    return item.is_undefined() && item.absence() == Absence::kElement
               ? Value::undefined(Absence::kEmpty)
               : item;
  }
  const std::vector<Value> items = collect(runtime, value);
  return items.empty() ? Value::undefined(Absence::kEmpty) : items.back();
}

Value filter_list(Runtime& runtime, const Value& value, FilterArgs) {
  return runtime.list(Type::kList, collect(runtime, value));
}

Value filter_items(Runtime& runtime, const Value& value, FilterArgs) {
  if (value.is_undefined()) return runtime.list(Type::kGenerator, {});
  if (!value.is(Type::kDict)) {
    return runtime.fail(cat("the filter 'items' needs a dict, found ", type_name(value.type())));
  }
  const Value view = dict_view(runtime, value.dict(), DictViewObject::Part::kItems);
  return runtime.list(Type::kGenerator, collect(runtime, view));
}

Value filter_dictsort(Runtime& runtime, const Value& value, FilterArgs args) {
  if (!value.is(Type::kDict)) {
    if (value.is_undefined()) return fail_undefined(runtime, value);
    return runtime.fail(cat("the filter 'dictsort' needs a dict, found ", type_name(value.type())));
  }
  const std::string by = args[1].is_text() ? args[1].bytes() : "key";
  if (by != "key" && by != "value") {
    return runtime.fail("the filter 'dictsort' sorts by 'key' or 'value'");
  }
  std::vector<Value> keys;
  for (const DictObject::Entry& entry : value.dict().entries) {
    keys.push_back(sort_key(runtime, by == "key" ? entry.key : entry.value, truth(args[0])));
  }
  std::vector<Value> items;
  for (const size_t at : sorted_order(runtime, keys, truth(args[2]))) {
    const DictObject::Entry& entry = value.dict().entries[at];
    items.push_back(runtime.list(Type::kTuple, {entry.key, entry.value}));
    if (runtime.failed()) return {};
  }
  return runtime.list(Type::kList, std::move(items));
}

Value filter_sort(Runtime& runtime, const Value& value, FilterArgs args) {
  std::vector<Value> items = collect(runtime, value);
  if (runtime.failed()) return {};
  // "age,name" sorts by several attributes: their values are compared as one list.
  std::vector<AttributePath> paths;
  if (args[2].is_text()) {
    std::string_view rest = args[2].bytes();
    while (true) {
      const size_t comma = std::min(rest.find(','), rest.size());
      paths.emplace_back(runtime, runtime.text(rest.substr(0, comma)));
      if (comma == rest.size() || runtime.failed()) break;
      rest.remove_prefix(comma + 1);
    }
  } else {
    paths.emplace_back(runtime, args[2]);
  }
  std::vector<Value> keys;
  keys.reserve(items.size());
  for (const Value& item : items) {
    std::vector<Value> parts;
    for (const AttributePath& path : paths) {
      parts.push_back(sort_key(runtime, path.get(item), truth(args[1])));
      if (runtime.failed()) return {};
    }
    keys.push_back(parts.size() == 1 ? parts[0] : runtime.list(Type::kList, std::move(parts)));
  }
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const size_t at : sorted_order(runtime, keys, truth(args[0]))) sorted.push_back(items[at]);
  return runtime.list(Type::kList, std::move(sorted));
}

Value filter_unique(Runtime& runtime, const Value& value, FilterArgs args) {
  const AttributePath path(runtime, args[1]);
  DictObject* seen = runtime.new_dict();
  std::vector<Value> items;
  Iterator iterator = iterate(runtime, value);
  Value item;
  while (next(runtime, iterator, item)) {
    const Value key = sort_key(runtime, path.get(item), truth(args[0]));
    if (runtime.failed()) return {};
    const size_t before = seen->entries.size();
    dict_set(runtime, *seen, key, Value::none());
    if (seen->entries.size() > before) items.push_back(std::move(item));
  }
  return runtime.list(Type::kGenerator, std::move(items));
}

Value filter_min(Runtime& runtime, const Value& value, FilterArgs args) {
  return extreme(runtime, value, args, CompareOp::kLess);
}
Value filter_max(Runtime& runtime, const Value& value, FilterArgs args) {
  return extreme(runtime, value, args, CompareOp::kGreater);
}

Value filter_reverse(Runtime& runtime, const Value& value, FilterArgs) {
  if (value.is_text()) return slice(runtime, value, {}, {}, Value::integer(-1));
  // reversed() takes what has an order; a generator is read to its end first.
  std::vector<Value> items = collect(runtime, value);
  std::reverse(items.begin(), items.end());
  return runtime.list(value.is(Type::kGenerator) ? Type::kList : Type::kGenerator,
                      std::move(items));
}

Value filter_sum(Runtime& runtime, const Value& value, FilterArgs args) {
  const AttributePath path(runtime, args[0]);
  Value sum = args[1].is_missing() ? Value::integer(0) : args[1];
  if (sum.is_text()) return runtime.fail("the filter 'sum' does not add strings; use 'join'");
  Iterator iterator = iterate(runtime, value);
  Value item;
  while (next(runtime, iterator, item)) {
    sum = arithmetic(runtime, BinaryOp::kAdd, sum, path.get(item));
    if (runtime.failed()) return {};
  }
  return sum;
}

Value filter_batch(Runtime& runtime, const Value& value, FilterArgs args) {
  if (!args[0].is_integral()) return runtime.fail("the filter 'batch' needs a number of items");
  const int64_t size = args[0].as_integer();
  const bool fill = !args[1].is_missing() && !args[1].is_none();
  std::vector<Value> batches, batch;
  Iterator iterator = iterate(runtime, value);
  Value item;
  while (next(runtime, iterator, item)) {
    runtime.spend(1);
    if (static_cast<int64_t>(batch.size()) == size) {
      batches.push_back(runtime.list(Type::kList, std::move(batch)));
      batch.clear();
    }
    batch.push_back(std::move(item));
  }
  if (!batch.empty()) {
    if (fill && size > static_cast<int64_t>(batch.size())) {
      if (!runtime.reserve_items(size)) return {};
      runtime.spend(size - static_cast<int64_t>(batch.size()));
      batch.resize(static_cast<size_t>(size), args[1]);
    }
    batches.push_back(runtime.list(Type::kList, std::move(batch)));
  }
  return runtime.list(Type::kGenerator, std::move(batches));
}

Value filter_slice(Runtime& runtime, const Value& value, FilterArgs args) {
  if (!args[0].is_integral()) return runtime.fail("the filter 'slice' needs a number of slices");
  const int64_t count = args[0].as_integer();
  if (count == 0) return runtime.fail("the filter 'slice' cannot make zero slices");
  const std::vector<Value> items = collect(runtime, value);
  if (count < 0 || !runtime.reserve_items(count)) return runtime.list(Type::kGenerator, {});
  const bool fill = !args[1].is_missing() && !args[1].is_none();
  const auto total = static_cast<int64_t>(items.size());
  std::vector<Value> slices;
  int64_t begin = 0;
  for (int64_t i = 0; i < count && !runtime.failed(); ++i) {
    const bool longer = i < total % count;
    const int64_t end = begin + total / count + (longer ? 1 : 0);
    std::vector<Value> part(items.begin() + begin, items.begin() + end);
    if (fill && !longer) part.push_back(args[1]);
    slices.push_back(runtime.list(Type::kList, std::move(part)));
    begin = end;
  }
  return runtime.list(Type::kGenerator, std::move(slices));
}

}  // namespace quern::jinja
