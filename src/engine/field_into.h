#pragma once

// For the tables of fields alone: it defines a macro.

#include <optional>

#include "base/json.h"

namespace quern {

template <typename T>
void put_value(const Json& value, T& target) {
  target = value.get<T>();
}
template <typename T>
void put_value(const Json& value, std::optional<T>& target) {
  target = value.get<T>();
}

}  // namespace quern

/// Where a value of the field's shape goes: a function for a row of a table of fields.
#define QUERN_INTO(target)               \
  [](const Json& value, auto& request) { \
    put_value(value, request.target);    \
    return true;                         \
  }
