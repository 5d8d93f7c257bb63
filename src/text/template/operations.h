#pragma once

#include <optional>
#include <string_view>

#include "text/template/runtime.h"
#include "text/template/syntax.h"
#include "text/template/value.h"

namespace quern::jinja {

/// Python's operations on values. Those that can fail record it in the runtime (see Runtime::fail)
/// and return an undefined value, false or zero.

bool truth(const Value& value);

bool equal(Runtime& runtime, const Value& a, const Value& b);
/// kLess, kLessEqual, kGreater, kGreaterEqual of two numbers, strings, lists or tuples.
bool ordered(Runtime& runtime, CompareOp op, const Value& a, const Value& b);
bool contains(Runtime& runtime, const Value& container, const Value& item);
bool compare(Runtime& runtime, CompareOp op, const Value& a, const Value& b);

Value arithmetic(Runtime& runtime, BinaryOp op, const Value& a, const Value& b);
Value negate(Runtime& runtime, const Value& value);
Value plus(Runtime& runtime, const Value& value);

/// The number of items or characters; fails for what has no length.
int64_t length(Runtime& runtime, const Value& value);
/// Whether len() works on it.
bool has_length(const Value& value);
bool is_iterable(const Value& value);
Iterator iterate(Runtime& runtime, const Value& value);
/// Moves to the next item; false at the end.
bool next(Runtime& runtime, Iterator& iterator, Value& item);
bool at_end(const Iterator& iterator);
/// All items that are left as a vector.
std::vector<Value> collect(Runtime& runtime, const Value& value);

/// What loop.length is: of a generator, what it has given and what is left.
int64_t loop_length(Runtime& runtime, LoopObject& loop);

/// value[start:stop:step]; a missing bound is the end of the value.
Value slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
            const Value& step);
/// list[index], string[index]; undefined where there is none. Nothing for other types.
std::optional<Value> element(Runtime& runtime, const Value& value, const Value& index);

bool is_hashable(Runtime& runtime, const Value& value);
Value* dict_find(Runtime& runtime, DictObject& dict, const Value& key);
Value* dict_find(DictObject& dict, std::string_view key);
/// Replaces or appends; fails for a key that cannot be hashed.
void dict_set(Runtime& runtime, DictObject& dict, const Value& key, const Value& value);
/// The item of the view at that place, in the order of insertion.
Value dict_view_item(Runtime& runtime, const DictViewObject& view, size_t index);
Value dict_view(Runtime& runtime, DictObject& dict, DictViewObject::Part part);

/// Whether all bytes are ASCII, so that characters are bytes.
bool text_is_ascii(const Value& text);

}  // namespace quern::jinja
