#pragma once

#include <cstddef>

namespace quern {

/// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin = 0, end = 0;
};

}  // namespace quern
