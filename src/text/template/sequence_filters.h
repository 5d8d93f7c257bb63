#pragma once

#include <span>

#include "text/template/builtins.h"

namespace quern::jinja {

/// The filters that walk through their subject; the table of all filters is in filters.cpp.

using FilterArgs = std::span<const Value>;

Value filter_batch(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_dictsort(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_first(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_items(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_join(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_last(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_list(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_max(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_min(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_reverse(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_slice(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_sort(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_sum(Runtime& runtime, const Value& value, FilterArgs args);
Value filter_unique(Runtime& runtime, const Value& value, FilterArgs args);

Value filter_map(Runtime& runtime, const Value& value, const Arguments& arguments);
Value filter_reject(Runtime& runtime, const Value& value, const Arguments& arguments);
Value filter_rejectattr(Runtime& runtime, const Value& value, const Arguments& arguments);
Value filter_select(Runtime& runtime, const Value& value, const Arguments& arguments);
Value filter_selectattr(Runtime& runtime, const Value& value, const Arguments& arguments);

}  // namespace quern::jinja
