#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/template/template.h"

namespace quern::jinja {

/// strftime in the C locale with glibc's flags (%-d, %_d, %0d, %^a). Nothing for a conversion that
/// is not supported; `unknown` then holds it.
std::optional<std::string> format_time(const CivilTime& time, std::string_view format,
                                       std::string& unknown);

}  // namespace quern::jinja
