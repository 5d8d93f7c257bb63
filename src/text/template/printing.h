#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/template/runtime.h"

namespace quern::jinja {

/// Values as Python prints them. Nested values are walked with a stack of their own, at most
/// Runtime::depth_limit() deep.

/// repr(float): the fewest digits that read back to the same bits, "1e+16" from sixteen digits on.
std::string format_number(double value);

/// str(value). Fails for a generator, whose text would be an address.
void append_text(Runtime& runtime, TextBuilder& out, const Value& value);
/// repr(value).
void append_repr(Runtime& runtime, TextBuilder& out, const Value& value);
/// str(value) as a value; a text stays itself.
Value to_text(Runtime& runtime, const Value& value);

/// What json.dumps takes.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
void append_json(Runtime& runtime, TextBuilder& out, const Value& value, const JsonStyle& style);

}  // namespace quern::jinja
