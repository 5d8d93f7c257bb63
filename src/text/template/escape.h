#pragma once

#include "text/template/runtime.h"

namespace quern::jinja {

/// Appends the text with & < > " ' as HTML entities.
void append_escaped(TextBuilder& out, const TracedText& text);

}  // namespace quern::jinja
