#pragma once

#include "text/template/builtins.h"
#include "text/template/runtime.h"

namespace quern::jinja {

/// format % arguments as in Python: a tuple gives the values in order, a dict those of %(name)s,
/// anything else is the one value.
Value percent_format(Runtime& runtime, const Value& format, const Value& arguments);
/// format.format(*positional, **keywords).
Value brace_format(Runtime& runtime, const Value& format, const Arguments& arguments);

}  // namespace quern::jinja
