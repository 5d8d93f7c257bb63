#pragma once

#include <cstdint>
#include <type_traits>

namespace quern {

/// A strided view of `rows` rows of `cols` values; row r starts at data + r * stride. Trivially
/// copyable, owns nothing.
template <typename T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  T* row(int64_t r) const { return data + r * stride; }
  Matrix rows_from(int64_t first, int64_t count) const {
    return {data + first * stride, count, cols, stride};
  }
  operator Matrix<const T>() const  // NOLINT: reading is always allowed
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, stride};
  }
};

}  // namespace quern
