#pragma once

#include <cstdint>
#include <optional>

namespace quern {

/// An unsigned 64-bit size that remembers overflow: the one integer type for arithmetic on numbers
/// that a file or a request declares. Once an operation has wrapped, every result from it has too.
class CheckedU64 {
 public:
  constexpr CheckedU64(uint64_t value) : value_(value) {}  // NOLINT: numbers convert on purpose

  constexpr bool overflowed() const { return overflowed_; }
  /// The number, or nothing if any operation on the way to it wrapped.
  constexpr std::optional<uint64_t> get() const {
    return overflowed_ ? std::nullopt : std::optional<uint64_t>(value_);
  }

  friend constexpr CheckedU64 operator+(CheckedU64 a, CheckedU64 b) {
    CheckedU64 out = 0;
    out.overflowed_ =
        __builtin_add_overflow(a.value_, b.value_, &out.value_) | a.overflowed_ | b.overflowed_;
    return out;
  }
  friend constexpr CheckedU64 operator*(CheckedU64 a, CheckedU64 b) {
    CheckedU64 out = 0;
    out.overflowed_ =
        __builtin_mul_overflow(a.value_, b.value_, &out.value_) | a.overflowed_ | b.overflowed_;
    return out;
  }
  /// True only when nothing wrapped and the value is at most `limit`.
  constexpr bool at_most(uint64_t limit) const { return !overflowed_ && value_ <= limit; }

 private:
  uint64_t value_;
  bool overflowed_ = false;
};

/// The least multiple of `alignment` (not zero) that is not below `value`.
constexpr CheckedU64 align_up(CheckedU64 value, uint64_t alignment) {
  const std::optional<uint64_t> plain = value.get();
  if (!plain) return value;
  const uint64_t rest = *plain % alignment;
  return rest == 0 ? value : value + CheckedU64(alignment - rest);
}

}  // namespace quern
