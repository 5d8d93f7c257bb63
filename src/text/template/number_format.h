#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/template/runtime.h"

namespace quern::jinja {

/// Python's format specification: [[fill]align][sign][#][0][width][grouping][.precision][type].
struct FormatSpec {
  std::string fill = " ";
  char align = 0;  // < > ^ =; 0: as the type has it
  char sign = '-';
  bool alternate = false;
  int64_t width = 0;
  char grouping = 0;  // , or _
  int precision = -1;
  char type = 0;
};

/// Fails for text that is no specification.
std::optional<FormatSpec> parse_format_spec(Runtime& runtime, std::string_view text);

/// format(value, spec) of a string, a number or a boolean; of anything else only without a spec.
void append_formatted(Runtime& runtime, TextBuilder& out, const Value& value,
                      const FormatSpec& spec);
/// Pads to the width; `default_align` where the specification names none.
void append_padded(Runtime& runtime, TextBuilder& out, const TracedText& text,
                   const FormatSpec& spec, char default_align);

}  // namespace quern::jinja
