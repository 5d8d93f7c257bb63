#pragma once

#include <cstddef>
#include <string_view>

namespace quern::jinja {

/// Substring search in linear time: templates and messages choose both texts, and the search of the
/// standard library is quadratic in the worst case. npos if there is none.

size_t find_first(std::string_view text, std::string_view part, size_t from = 0);
size_t find_last(std::string_view text, std::string_view part);

}  // namespace quern::jinja
