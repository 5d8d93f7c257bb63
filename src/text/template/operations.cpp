#include "text/template/operations.h"

#include <cmath>
#include <compare>
#include <limits>

#include "base/cat.h"
#include "text/seeded_hash.h"
#include "text/template/code_points.h"
#include "text/template/escape.h"
#include "text/template/percent_format.h"
#include "text/template/search.h"

namespace quern::jinja {

namespace {

constexpr size_t kLinearSearch = 8;  // entries; more are found by hash

std::partial_ordering compare_integer_to_number(int64_t a, double b) {
  if (std::isnan(b)) return std::partial_ordering::unordered;
  if (b >= 9223372036854775808.0) return std::partial_ordering::less;
  if (b < -9223372036854775808.0) return std::partial_ordering::greater;
  const auto whole = static_cast<int64_t>(b);
  if (a != whole) return a <=> whole;
  return 0.0 <=> (b - static_cast<double>(whole));
}

std::partial_ordering compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.as_integer() <=> b.as_integer();
  if (a.is_integral()) return compare_integer_to_number(a.as_integer(), b.as_number());
  if (b.is_integral()) {
    return 0 <=> compare_integer_to_number(b.as_integer(), a.as_number());
  }
  return a.as_number() <=> b.as_number();
}

uint64_t mix(uint64_t hash, uint64_t more) {
  hash ^= more + 0x9E3779B97F4A7C15ULL + (hash << 6) + (hash >> 2);
  return hash;
}

uint64_t hash_scalar(const Value& value) {
  switch (value.type()) {
    case Type::kText:
      return seeded_hash(value.bytes());
    case Type::kBool:
    case Type::kInteger:
      return seeded_hash(static_cast<uint64_t>(value.as_integer()));
    case Type::kFloat: {
      const double number = value.as_number();
      if (number >= -9e18 && number <= 9e18 && number == std::floor(number)) {
        return seeded_hash(static_cast<uint64_t>(static_cast<int64_t>(number)));
      }
      return mix(2, seeded_hash(std::bit_cast<uint64_t>(number)));
    }
    case Type::kUndefined:
      return 3;
    case Type::kNone:
      return 4;
    default:
      return mix(5, reinterpret_cast<uintptr_t>(value.object()));
  }
}

/// Of a hashable value; tuples within tuples are walked with a list of what is left.
uint64_t hash_of(Runtime& runtime, const Value& value) {
  if (!value.is(Type::kTuple)) return hash_scalar(value);
  uint64_t hash = 6;
  std::vector<const Value*> left = {&value};
  while (!left.empty() && !runtime.failed()) {
    const Value& top = *left.back();
    left.pop_back();
    runtime.spend(1);
    if (!top.is(Type::kTuple)) {
      if (top.is_text()) runtime.spend_bytes(top.bytes().size());
      hash = mix(hash, hash_scalar(top));
      continue;
    }
    hash = mix(hash, 7 + top.list().items.size());
    for (const Value& item : top.list().items) left.push_back(&item);
  }
  return hash;
}

/// Scalars and identities; nothing for two containers whose items decide.
std::optional<bool> equal_without_items(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kText:
      return a.bytes() == b.bytes();
    case Type::kList:
    case Type::kTuple:
      if (a.same_as(b)) return true;
      if (a.list().items.size() != b.list().items.size()) return false;
      return std::nullopt;
    case Type::kDict:
      if (a.same_as(b)) return true;
      if (a.dict().entries.size() != b.dict().entries.size()) return false;
      return std::nullopt;
    case Type::kRange: {
      const RangeObject& left = a.range();
      const RangeObject& right = b.range();
      if (left.count != right.count) return false;
      if (left.count == 0) return true;
      return left.start == right.start && (left.count == 1 || left.step == right.step);
    }
    case Type::kMethod:
      return a.method().row == b.method().row && a.method().self.same_as(b.method().self);
    default:
      return a.same_as(b);
  }
}

struct ComparedPair {
  const Value* a;
  const Value* b;
  size_t next = 0;  // item or entry
};

bool fail_operands(Runtime& runtime, std::string_view operation, const Value& a, const Value& b) {
  if (a.is_undefined()) {
    fail_undefined(runtime, a);
  } else if (b.is_undefined()) {
    fail_undefined(runtime, b);
  } else {
    runtime.fail(cat("'", operation, "' does not work on ", type_name(a.type()), " and ",
                     type_name(b.type())));
  }
  return false;
}

std::string_view symbol(CompareOp op) {
  constexpr std::string_view kSymbols[] = {"==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return kSymbols[static_cast<size_t>(op)];
}

bool holds(CompareOp op, std::partial_ordering order) {
  switch (op) {
    case CompareOp::kLess:
      return order < 0;
    case CompareOp::kLessEqual:
      return order <= 0;
    case CompareOp::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

Value overflow(Runtime& runtime, std::string_view operation) {
  return runtime.fail(cat("the result of '", operation, "' does not fit in 64 bits"));
}

Value finite(Runtime& runtime, std::string_view operation, double result, double a, double b) {
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
    return overflow(runtime, operation);
  }
  return Value::number(result);
}

Value integer_power(Runtime& runtime, int64_t base, int64_t exponent) {
  int64_t result = 1;
  bool base_overflowed = false;
  while (exponent > 0) {
    if (exponent % 2 == 1) {
      if (base_overflowed || __builtin_mul_overflow(result, base, &result)) {
        return overflow(runtime, "**");
      }
    }
    exponent /= 2;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) base_overflowed = true;
  }
  return Value::integer(result);
}

int64_t floor_divide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

double floor_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (rest == 0) rest = std::copysign(0.0, b);
  return rest;
}

Value integer_arithmetic(Runtime& runtime, BinaryOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case BinaryOp::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return overflow(runtime, "+");
      return Value::integer(result);
    case BinaryOp::kSub:
      if (__builtin_sub_overflow(a, b, &result)) return overflow(runtime, "-");
      return Value::integer(result);
    case BinaryOp::kMul:
      if (__builtin_mul_overflow(a, b, &result)) return overflow(runtime, "*");
      return Value::integer(result);
    case BinaryOp::kDiv:
      if (b == 0) return runtime.fail("division by zero");
      // 64 bits of mantissa hold both operands exactly.
      return Value::number(
          static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case BinaryOp::kFloorDiv:
    case BinaryOp::kMod:
      if (b == 0) return runtime.fail("division or modulo by zero");
      if (b == -1) {
        if (op == BinaryOp::kMod) return Value::integer(0);
        if (a == INT64_MIN) return overflow(runtime, "//");
        return Value::integer(-a);
      }
      if (op == BinaryOp::kFloorDiv) return Value::integer(floor_divide(a, b));
      {
        const int64_t rest = a % b;
        return Value::integer(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
      }
    case BinaryOp::kPow:
      if (b >= 0) return integer_power(runtime, a, b);
      if (a == 0) return runtime.fail("0 cannot be raised to a negative power");
      return Value::number(std::pow(static_cast<double>(a), static_cast<double>(b)));
    case BinaryOp::kConcat:
      break;
  }
  return {};
}

Value number_arithmetic(Runtime& runtime, BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return Value::number(a + b);
    case BinaryOp::kSub:
      return Value::number(a - b);
    case BinaryOp::kMul:
      return Value::number(a * b);
    case BinaryOp::kDiv:
      if (b == 0) return runtime.fail("division by zero");
      return Value::number(a / b);
    case BinaryOp::kFloorDiv: {
      if (b == 0) return runtime.fail("division by zero");
      const double rest = floor_modulo(a, b);
      const double quotient = (a - rest) / b;
      if (quotient == 0) return Value::number(std::copysign(0.0, a / b));
      const double whole = std::floor(quotient);
      return Value::number(quotient - whole > 0.5 ? whole + 1 : whole);
    }
    case BinaryOp::kMod:
      if (b == 0) return runtime.fail("modulo by zero");
      return Value::number(floor_modulo(a, b));
    case BinaryOp::kPow:
      if (a == 0 && b < 0) return runtime.fail("0 cannot be raised to a negative power");
      if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b)) {
        return runtime.fail("a negative number to a fractional power is complex");
      }
      return finite(runtime, "**", std::pow(a, b), a, b);
    case BinaryOp::kConcat:
      break;
  }
  return {};
}

Value add_texts(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_markup() == b.is_markup()) {
    if (b.bytes().empty()) return a;
    if (a.bytes().empty()) return b;
  }
  const bool markup = a.is_markup() || b.is_markup();
  TextBuilder out(runtime);
  for (const Value* part : {&a, &b}) {
    if (markup && !part->is_markup()) {
      append_escaped(out, part->traced());
    } else {
      out.append(part->traced());
    }
  }
  return out.finish(markup);
}

Value add_lists(Runtime& runtime, const Value& a, const Value& b) {
  const auto& left = a.list().items;
  const auto& right = b.list().items;
  const auto count = static_cast<int64_t>(left.size() + right.size());
  if (!runtime.reserve_items(count)) return {};
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(count));
  items.insert(items.end(), left.begin(), left.end());
  items.insert(items.end(), right.begin(), right.end());
  return runtime.list(a.type(), std::move(items));
}

/// text * count or list * count.
Value repeat(Runtime& runtime, const Value& value, int64_t count) {
  count = std::max<int64_t>(count, 0);
  const bool is_text = value.is_text();
  const auto size =
      static_cast<int64_t>(is_text ? value.bytes().size() : value.list().items.size());
  int64_t total = 0;
  const bool too_many = __builtin_mul_overflow(size, count, &total);
  if (is_text) {
    if (!runtime.reserve(too_many ? INT64_MAX : total)) return {};
    TextBuilder out(runtime);
    for (int64_t i = 0; i < count && size > 0 && !runtime.failed(); ++i) out.append(value.traced());
    return out.finish(value.is_markup());
  }
  if (!runtime.reserve_items(too_many ? INT64_MAX : total)) return {};
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(total));
  for (int64_t i = 0; i < count && size > 0; ++i) {
    items.insert(items.end(), value.list().items.begin(), value.list().items.end());
  }
  return runtime.list(value.type(), std::move(items));
}

bool is_list_or_tuple(const Value& value) {
  return value.is(Type::kList) || value.is(Type::kTuple);
}

struct SliceBounds {
  int64_t start = 0, step = 1, count = 0;
};

/// Python's slice.indices(): where the walk over `size` items starts and how many it meets.
std::optional<SliceBounds> slice_bounds(Runtime& runtime, int64_t size, const Value& start,
                                        const Value& stop, const Value& step) {
  for (const Value* bound : {&start, &stop, &step}) {
    if (bound->is_missing() || bound->is_none() || bound->is_integral()) continue;
    if (bound->is_undefined()) {
      fail_undefined(runtime, *bound);
    } else {
      runtime.fail(cat("a slice needs integers, found ", type_name(bound->type())));
    }
    return std::nullopt;
  }
  SliceBounds out;
  if (step.is_integral()) out.step = step.as_integer();
  if (out.step == 0) {
    runtime.fail("the step of a slice cannot be zero");
    return std::nullopt;
  }
  const bool up = out.step > 0;
  const auto clamp = [&](const Value& bound, int64_t otherwise) {
    if (!bound.is_integral()) return otherwise;
    int64_t at = bound.as_integer();
    if (at < 0) at = at < -size ? -1 : at + size;
    if (bound.as_integer() < -size) return up ? int64_t{0} : int64_t{-1};
    return std::min(at, up ? size : size - 1);
  };
  out.start = clamp(start, up ? 0 : size - 1);
  const int64_t end = clamp(stop, up ? size : -1);
  const int64_t distance = up ? end - out.start : out.start - end;
  if (distance > 0) {
    const uint64_t stride =
        up ? static_cast<uint64_t>(out.step) : 0 - static_cast<uint64_t>(out.step);
    out.count = static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / stride + 1);
  }
  return out;
}

Value slice_text(Runtime& runtime, const Value& value, const SliceBounds& bounds) {
  const TracedText& text = value.traced();
  TextBuilder out(runtime);
  if (text_is_ascii(value)) {
    const auto start = static_cast<size_t>(bounds.start);
    if (bounds.step == 1) {
      out.append(text, start, start + static_cast<size_t>(bounds.count));
    } else {
      for (int64_t i = 0; i < bounds.count && !runtime.failed(); ++i) {
        const auto at = static_cast<size_t>(bounds.start + i * bounds.step);
        out.append(text, at, at + 1);
      }
    }
    return out.finish(value.is_markup());
  }
  runtime.spend_bytes(text.size());
  if (bounds.step == 1) {
    const size_t begin = offset_of(text.bytes(), bounds.start);
    const size_t end =
        begin + offset_of(std::string_view(text.bytes()).substr(begin), bounds.count);
    out.append(text, begin, end);
    return out.finish(value.is_markup());
  }
  std::vector<uint32_t> offsets;
  if (!runtime.reserve(static_cast<int64_t>(text.size() * sizeof(uint32_t)))) return {};
  for (size_t at = 0; at < text.size(); at += code_point_at(text.bytes(), at).size) {
    offsets.push_back(static_cast<uint32_t>(at));
  }
  for (int64_t i = 0; i < bounds.count && !runtime.failed(); ++i) {
    const size_t at = offsets[static_cast<size_t>(bounds.start + i * bounds.step)];
    out.append(text, at, at + code_point_at(text.bytes(), at).size);
  }
  return out.finish(value.is_markup());
}

void rebuild_buckets(DictObject& dict) {
  size_t num_buckets = 32;
  while (num_buckets < dict.entries.size() * 4) num_buckets *= 2;
  dict.buckets.assign(num_buckets, -1);
  for (size_t i = 0; i < dict.entries.size(); ++i) {
    size_t at = dict.entries[i].hash & (num_buckets - 1);
    while (dict.buckets[at] >= 0) at = (at + 1) & (num_buckets - 1);
    dict.buckets[at] = static_cast<int32_t>(i);
  }
}

/// The entry with that hash for which `same` holds.
template <typename Same>
DictObject::Entry* find_entry(DictObject& dict, uint64_t hash, Same same) {
  if (dict.buckets.empty()) {
    for (DictObject::Entry& entry : dict.entries) {
      if (entry.hash == hash && same(entry.key)) return &entry;
    }
    return nullptr;
  }
  const size_t mask = dict.buckets.size() - 1;
  for (size_t at = hash & mask; dict.buckets[at] >= 0; at = (at + 1) & mask) {
    DictObject::Entry& entry = dict.entries[static_cast<size_t>(dict.buckets[at])];
    if (entry.hash == hash && same(entry.key)) return &entry;
  }
  return nullptr;
}

}  // namespace

bool truth(const Value& value) {
  switch (value.type()) {
    case Type::kMissing:
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
    case Type::kInteger:
      return value.as_integer() != 0;
    case Type::kFloat:
      return value.as_number() != 0;
    case Type::kText:
      return !value.bytes().empty();
    case Type::kList:
    case Type::kTuple:
      return !value.list().items.empty();
    case Type::kRange:
      return value.range().count != 0;
    case Type::kDict:
      return !value.dict().entries.empty();
    case Type::kDictView:
      return !value.dict_view().dict->entries.empty();
    default:
      return true;
  }
}

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) runtime.spend_bytes(std::min(a.bytes().size(), b.bytes().size()));
  if (const auto decided = equal_without_items(a, b)) return *decided;
  std::vector<ComparedPair> open = {{&a, &b}};
  while (!open.empty()) {
    runtime.spend(1);
    if (runtime.failed()) return false;
    ComparedPair& top = open.back();
    const Value* left = nullptr;
    const Value* right = nullptr;
    if (top.a->is(Type::kDict)) {
      auto& entries = top.a->dict().entries;
      if (top.next == entries.size()) {
        open.pop_back();
        continue;
      }
      const DictObject::Entry& entry = entries[top.next++];
      left = &entry.value;
      right = dict_find(runtime, top.b->dict(), entry.key);
      if (right == nullptr) return false;
    } else {
      if (top.next == top.a->list().items.size()) {
        open.pop_back();
        continue;
      }
      left = &top.a->list().items[top.next];
      right = &top.b->list().items[top.next];
      ++top.next;
    }
    if (left->is_text() && right->is_text()) {
      runtime.spend_bytes(std::min(left->bytes().size(), right->bytes().size()));
    }
    const auto decided = equal_without_items(*left, *right);
    if (decided && !*decided) return false;
    if (decided) continue;
    if (open.size() >= static_cast<size_t>(runtime.depth_limit())) {
      runtime.fail(cat("values nest deeper than ", runtime.depth_limit(), " levels"));
      return false;
    }
    open.push_back({left, right});
  }
  return true;
}

bool ordered(Runtime& runtime, CompareOp op, const Value& first, const Value& second) {
  const Value* a = &first;
  const Value* b = &second;
  while (true) {
    if (a->is_number() && b->is_number()) return holds(op, compare_numbers(*a, *b));
    if (a->is_text() && b->is_text()) {
      runtime.spend_bytes(std::min(a->bytes().size(), b->bytes().size()));
      return holds(op, a->bytes().compare(b->bytes()) <=> 0);
    }
    if (!is_list_or_tuple(*a) || a->type() != b->type()) {
      return fail_operands(runtime, symbol(op), *a, *b);
    }
    // The first items that differ decide, or the lengths.
    const auto& left = a->list().items;
    const auto& right = b->list().items;
    const size_t shared = std::min(left.size(), right.size());
    size_t differing = 0;
    while (differing < shared && equal(runtime, left[differing], right[differing])) ++differing;
    if (runtime.failed()) return false;
    if (differing == shared) return holds(op, left.size() <=> right.size());
    runtime.spend(1 + static_cast<int64_t>(differing));
    if (runtime.failed()) return false;
    a = &left[differing];
    b = &right[differing];
  }
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.type()) {
    case Type::kText:
      if (!item.is_text()) {
        runtime.fail(cat("'in' looks for a string in a string, found ", type_name(item.type())));
        return false;
      }
      runtime.spend_bytes(container.bytes().size());
      return find_first(container.bytes(), item.bytes()) != std::string_view::npos;
    case Type::kDict:
      if (!is_hashable(runtime, item)) {
        runtime.fail(cat(type_name(item.type()), " cannot be a key of a dict"));
        return false;
      }
      return dict_find(runtime, container.dict(), item) != nullptr;
    case Type::kRange:
      if (item.is_integral()) {
        const RangeObject& range = container.range();
        if (range.count == 0) return false;
        const int64_t last = range.at(range.count - 1);
        const int64_t low = std::min(range.start, last);
        const int64_t high = std::max(range.start, last);
        if (item.as_integer() < low || item.as_integer() > high) return false;
        // Between the ends the item lies in the direction of the step.
        const bool up = range.step > 0;
        const auto from = static_cast<uint64_t>(range.start);
        const auto to = static_cast<uint64_t>(item.as_integer());
        const auto step = static_cast<uint64_t>(range.step);
        return (up ? (to - from) % step : (from - to) % (0 - step)) == 0;
      }
      break;
    default:
      break;
  }
  if (!is_iterable(container)) {
    runtime.fail(cat("'in' does not work on ", type_name(container.type())));
    return false;
  }
  Iterator iterator = iterate(runtime, container);
  Value candidate;
  while (next(runtime, iterator, candidate)) {
    runtime.spend(1);
    if (runtime.failed()) return false;
    if (equal(runtime, candidate, item)) return true;
  }
  return false;
}

bool compare(Runtime& runtime, CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEqual:
      return equal(runtime, a, b);
    case CompareOp::kNotEqual:
      return !equal(runtime, a, b);
    case CompareOp::kIn:
      return contains(runtime, b, a);
    case CompareOp::kNotIn:
      return !contains(runtime, b, a);
    default:
      return ordered(runtime, op, a, b);
  }
}

Value arithmetic(Runtime& runtime, BinaryOp op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) {
      return integer_arithmetic(runtime, op, a.as_integer(), b.as_integer());
    }
    return number_arithmetic(runtime, op, a.as_number(), b.as_number());
  }
  if (op == BinaryOp::kMod && a.is_text() && !b.is_undefined()) {
    return percent_format(runtime, a, b);
  }
  if (op == BinaryOp::kAdd) {
    if (a.is_text() && b.is_text()) return add_texts(runtime, a, b);
    if (is_list_or_tuple(a) && a.type() == b.type()) return add_lists(runtime, a, b);
  }
  if (op == BinaryOp::kMul) {
    if ((a.is_text() || is_list_or_tuple(a)) && b.is_integral()) {
      return repeat(runtime, a, b.as_integer());
    }
    if ((b.is_text() || is_list_or_tuple(b)) && a.is_integral()) {
      return repeat(runtime, b, a.as_integer());
    }
  }
  constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "**", "~"};
  fail_operands(runtime, kSymbols[static_cast<size_t>(op)], a, b);
  return {};
}

Value negate(Runtime& runtime, const Value& value) {
  if (value.is(Type::kFloat)) return Value::number(-value.as_number());
  if (value.is_undefined()) return fail_undefined(runtime, value);
  if (!value.is_integral()) {
    return runtime.fail(cat("'-' does not work on ", type_name(value.type())));
  }
  if (value.as_integer() == INT64_MIN) return overflow(runtime, "-");
  return Value::integer(-value.as_integer());
}

Value plus(Runtime& runtime, const Value& value) {
  if (value.is(Type::kFloat)) return value;
  if (value.is_undefined()) return fail_undefined(runtime, value);
  if (!value.is_integral()) {
    return runtime.fail(cat("'+' does not work on ", type_name(value.type())));
  }
  return Value::integer(value.as_integer());
}

bool has_length(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
    case Type::kText:
    case Type::kList:
    case Type::kTuple:
    case Type::kRange:
    case Type::kDict:
    case Type::kDictView:
      return true;
    default:
      return false;
  }
}

int64_t length(Runtime& runtime, const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return 0;
    case Type::kText:
      if (text_is_ascii(value)) return static_cast<int64_t>(value.bytes().size());
      runtime.spend_bytes(value.bytes().size());
      return count_code_points(value.bytes());
    case Type::kList:
    case Type::kTuple:
      return static_cast<int64_t>(value.list().items.size());
    case Type::kRange:
      return value.range().count;
    case Type::kDict:
      return static_cast<int64_t>(value.dict().entries.size());
    case Type::kDictView:
      return static_cast<int64_t>(value.dict_view().dict->entries.size());
    default:
      runtime.fail(cat(type_name(value.type()), " has no length"));
      return 0;
  }
}

bool is_iterable(const Value& value) { return has_length(value) || value.is(Type::kGenerator); }

Iterator iterate(Runtime& runtime, const Value& value) {
  if (!is_iterable(value)) {
    runtime.fail(cat(type_name(value.type()), " cannot be iterated"));
    return {.source = Value::undefined(Absence::kVariable)};
  }
  return {.source = value};
}

bool at_end(const Iterator& iterator) {
  const Value& source = iterator.source;
  const auto index = static_cast<size_t>(iterator.index);
  switch (source.type()) {
    case Type::kText:
      return iterator.byte >= source.bytes().size();
    case Type::kList:
    case Type::kTuple:
      return index >= source.list().items.size();
    case Type::kGenerator:
      return source.list().position >= source.list().items.size();
    case Type::kRange:
      return iterator.index >= source.range().count;
    case Type::kDict:
      return index >= source.dict().entries.size();
    case Type::kDictView:
      return index >= source.dict_view().dict->entries.size();
    default:
      return true;
  }
}

bool next(Runtime& runtime, Iterator& iterator, Value& item) {
  if (at_end(iterator)) return false;
  const Value& source = iterator.source;
  const auto index = static_cast<size_t>(iterator.index++);
  switch (source.type()) {
    case Type::kText: {
      const size_t size = code_point_at(source.bytes(), iterator.byte).size;
      item = runtime.text(source.traced().slice(iterator.byte, iterator.byte + size),
                          source.is_markup());
      iterator.byte += size;
      break;
    }
    case Type::kGenerator:
      item = source.list().items[source.list().position++];
      break;
    case Type::kRange:
      item = Value::integer(source.range().at(static_cast<int64_t>(index)));
      break;
    case Type::kDict:
      item = source.dict().entries[index].key;
      break;
    case Type::kDictView:
      item = dict_view_item(runtime, source.dict_view(), index);
      break;
    default:
      item = source.list().items[index];
      break;
  }
  return !runtime.failed();
}

std::vector<Value> collect(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  Iterator iterator = iterate(runtime, value);
  Value item;
  while (next(runtime, iterator, item)) {
    runtime.spend(1);
    if (!runtime.reserve_items(static_cast<int64_t>(items.size()) + 1)) break;
    items.push_back(std::move(item));
  }
  return items;
}

int64_t loop_length(Runtime& runtime, LoopObject& loop) {
  if (loop.length < 0) {
    const Value& source = loop.iterator.source;
    loop.length =
        source.is(Type::kGenerator)
            ? loop.index0 + 1 +
                  static_cast<int64_t>(source.list().items.size() - source.list().position)
            : length(runtime, source);
  }
  return loop.length;
}

Value slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
            const Value& step) {
  if (value.is_undefined()) return fail_undefined(runtime, value);
  if (!value.is_text() && !is_list_or_tuple(value) && !value.is(Type::kRange)) {
    return runtime.fail(cat(type_name(value.type()), " cannot be sliced"));
  }
  const auto bounds = slice_bounds(runtime, length(runtime, value), start, stop, step);
  if (!bounds) return {};
  if (value.is_text()) return slice_text(runtime, value, *bounds);
  if (value.is(Type::kRange)) {
    const RangeObject& range = value.range();
    int64_t first = 0, stride = 0, span = 0, end = 0;
    if (__builtin_mul_overflow(range.step, bounds->start, &span) ||
        __builtin_add_overflow(range.start, span, &first) ||
        __builtin_mul_overflow(range.step, bounds->step, &stride) ||
        __builtin_mul_overflow(stride, bounds->count, &span) ||
        __builtin_add_overflow(first, span, &end)) {
      return overflow(runtime, "slice");
    }
    return runtime.range(first, end, stride);
  }
  if (!runtime.reserve_items(bounds->count)) return {};
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(bounds->count));
  for (int64_t i = 0; i < bounds->count; ++i) {
    items.push_back(value.list().items[static_cast<size_t>(bounds->start + i * bounds->step)]);
  }
  return runtime.list(value.type(), std::move(items));
}

std::optional<Value> element(Runtime& runtime, const Value& value, const Value& index) {
  if (!index.is_integral()) return std::nullopt;
  const bool is_text = value.is_text();
  if (!is_text && !is_list_or_tuple(value) && !value.is(Type::kRange)) return std::nullopt;
  const int64_t size = length(runtime, value);
  int64_t at = index.as_integer();
  if (at < 0 && at >= -size) at += size;
  if (at < 0 || at >= size) return Value::undefined(Absence::kElement, -1, value.type());
  if (value.is(Type::kRange)) return Value::integer(value.range().at(at));
  if (!is_text) return value.list().items[static_cast<size_t>(at)];

  size_t begin = static_cast<size_t>(at);
  if (!text_is_ascii(value)) {
    runtime.spend_bytes(value.bytes().size());
    begin = offset_of(value.bytes(), at);
  }
  const size_t end = begin + code_point_at(value.bytes(), begin).size;
  return runtime.text(value.traced().slice(begin, end), value.is_markup());
}

bool is_hashable(Runtime& runtime, const Value& value) {
  std::vector<const Value*> left = {&value};
  while (!left.empty() && !runtime.failed()) {
    const Value& top = *left.back();
    left.pop_back();
    runtime.spend(1);
    switch (top.type()) {
      case Type::kList:
      case Type::kDict:
      case Type::kDictView:
        return false;
      case Type::kTuple:
        for (const Value& item : top.list().items) left.push_back(&item);
        break;
      default:
        break;
    }
  }
  return true;
}

Value* dict_find(Runtime& runtime, DictObject& dict, const Value& key) {
  if (key.is_text()) {
    runtime.spend_bytes(key.bytes().size());
    return dict_find(dict, key.bytes());
  }
  DictObject::Entry* entry = find_entry(dict, hash_of(runtime, key), [&](const Value& candidate) {
    runtime.spend(1);
    return equal(runtime, candidate, key);
  });
  return entry == nullptr ? nullptr : &entry->value;
}

Value* dict_find(DictObject& dict, std::string_view key) {
  DictObject::Entry* entry = find_entry(dict, seeded_hash(key), [&](const Value& candidate) {
    return candidate.is_text() && candidate.bytes() == key;
  });
  return entry == nullptr ? nullptr : &entry->value;
}

void dict_set(Runtime& runtime, DictObject& dict, const Value& key, const Value& value) {
  if (!is_hashable(runtime, key)) {
    runtime.fail(cat(type_name(key.type()), " cannot be a key of a dict"));
    return;
  }
  if (Value* existing = dict_find(runtime, dict, key)) {
    *existing = value;
    return;
  }
  runtime.spend(1);
  if (!runtime.reserve(static_cast<int64_t>(sizeof(DictObject::Entry)))) return;
  // Vectors grow by doubling; four bucket indices an entry at most.
  runtime.charge(static_cast<int64_t>(2 * sizeof(DictObject::Entry) + 8 * sizeof(int32_t)));
  dict.entries.push_back({hash_of(runtime, key), key, value});
  if (dict.entries.size() <= kLinearSearch) return;
  if (dict.entries.size() * 2 > dict.buckets.size()) {
    rebuild_buckets(dict);
    return;
  }
  const size_t mask = dict.buckets.size() - 1;
  size_t at = dict.entries.back().hash & mask;
  while (dict.buckets[at] >= 0) at = (at + 1) & mask;
  dict.buckets[at] = static_cast<int32_t>(dict.entries.size()) - 1;
}

Value dict_view_item(Runtime& runtime, const DictViewObject& view, size_t index) {
  const DictObject::Entry& entry = view.dict->entries[index];
  switch (view.part) {
    case DictViewObject::Part::kKeys:
      return entry.key;
    case DictViewObject::Part::kValues:
      return entry.value;
    case DictViewObject::Part::kItems:
      break;
  }
  return runtime.list(Type::kTuple, {entry.key, entry.value});
}

Value dict_view(Runtime& runtime, DictObject& dict, DictViewObject::Part part) {
  auto* view = runtime.make<DictViewObject>();
  view->dict = &dict;
  view->part = part;
  return Value::object(Type::kDictView, view);
}

bool text_is_ascii(const Value& value) {
  Text& text = value.text();
  if (text.ascii < 0) text.ascii = is_ascii(text.content.bytes()) ? 1 : 0;
  return text.ascii == 1;
}

}  // namespace quern::jinja
