#pragma once

#include <string>

#include "base/cat.h"

namespace quern::internal {

/// Prints "file:line: ENSURE(condition) failed: message" to stderr and aborts.
[[noreturn]] void ensure_failed(const char* file, int line, const char* condition,
                                const std::string& message);

}  // namespace quern::internal

/// States what must hold unless quern itself has a bug; checked in every build. What the outside
/// can cause (a file, a request, a flag) is a `Result`, never an ENSURE.
#define ENSURE(condition, ...)                                                       \
  do {                                                                               \
    if (!(condition)) [[unlikely]] {                                                 \
      ::quern::internal::ensure_failed(__FILE__, __LINE__, #condition,               \
                                       ::quern::cat("" __VA_OPT__(, ) __VA_ARGS__)); \
    }                                                                                \
  } while (false)
