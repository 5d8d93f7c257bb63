#pragma once

#include <span>

#include "text/template/builtins.h"
#include "text/template/code_points.h"

namespace quern::jinja {

/// The methods of Python's str.
std::span<const Builtin> text_methods();

/// str.strip() at both ends: whitespace, or the characters of `chars` if that is a string.
enum class StripSide { kLeft, kRight, kBoth };
Value strip_text(Runtime& runtime, const Value& text, const Value& chars, StripSide side);
Value change_case(Runtime& runtime, const Value& text, Case wanted);
Value capitalize_text(Runtime& runtime, const Value& text);
Value replace_text(Runtime& runtime, const Value& text, const Value& old_part,
                   const Value& new_part, int64_t max_count);
Value center_text(Runtime& runtime, const Value& text, int64_t width);
/// str.splitlines() without the line breaks.
std::vector<TracedText> split_lines(Runtime& runtime, const TracedText& text);
bool text_is_lower(const Value& text);
bool text_is_upper(const Value& text);

}  // namespace quern::jinja
