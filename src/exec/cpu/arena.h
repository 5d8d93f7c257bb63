#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace quern::cpu {

/// Bytes of one purpose, reserved from the kernel at once and touched as used. Starts on a page;
/// all zero at first.
class Arena {
 public:
  /// kDoesNotFit, naming `purpose`, where the kernel refuses.
  static Result<Arena> reserve(int64_t bytes, std::string_view purpose);

  Arena() = default;
  Arena(Arena&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Arena& operator=(Arena&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Arena();

  std::byte* at(int64_t offset) const { return data_ + offset; }
  template <typename T>
  T* as(int64_t offset) const {
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

/// Hands out places in an arena to come, one after the other, each on a 64-byte line: the same
/// walk gives the plan its sum and the executor its addresses.
class Places {
 public:
  int64_t take(int64_t bytes) {
    const int64_t place = bytes_;
    bytes_ += (bytes + 63) / 64 * 64;
    return place;
  }
  /// Of all places so far.
  int64_t bytes() const { return bytes_; }
  /// What the arena must hold, in whole pages.
  int64_t total() const { return (bytes_ + 4095) / 4096 * 4096; }

 private:
  int64_t bytes_ = 0;
};

}  // namespace quern::cpu
