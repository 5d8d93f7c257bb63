#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/checked.h"
#include "base/result.h"

namespace quern {

/// The one bounded reader for every binary file format: little-endian values and byte runs from a
/// span, in order. Each take fails with kBadFile once fewer bytes are left than asked for; nothing
/// is ever read, or allocated, on the strength of a declared number alone.
class ByteReader {
 public:
  /// `what` names the file in error messages.
  ByteReader(std::span<const std::byte> bytes, std::string what)
      : bytes_(bytes), what_(std::move(what)) {}

  uint64_t position() const { return position_; }
  uint64_t bytes_left() const { return bytes_.size() - position_; }
  bool at_end() const { return bytes_left() == 0; }
  const std::string& what() const { return what_; }

  /// The next `size` bytes as a view into the file. `part` names what they are, for the message.
  Result<std::span<const std::byte>> take(uint64_t size, std::string_view part) {
    if (size > bytes_left()) return too_short(size, part);
    const auto taken = bytes_.subspan(position_, size);
    position_ += size;
    return taken;
  }

  /// The next little-endian number.
  template <typename Number>
    requires std::is_arithmetic_v<Number>
  Result<Number> take_number(std::string_view part) {
    if (sizeof(Number) > bytes_left()) return too_short(sizeof(Number), part);
    Number number;
    std::memcpy(&number, bytes_.data() + position_, sizeof(Number));
    position_ += sizeof(Number);
    return number;
  }

  /// The next `size` bytes as text (not checked for UTF-8).
  Result<std::string_view> take_text(uint64_t size, std::string_view part) {
    ASSIGN_OR_RETURN(const auto bytes, take(size, part));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  /// Refuses a declared count of items that cannot fit in what is left, each item taking at least
  /// `min_item_bytes` (not zero). Call it before reserving space for them.
  Result<void> check_count(uint64_t count, uint64_t min_item_bytes, std::string_view part) {
    if ((CheckedU64(count) * min_item_bytes).at_most(bytes_left())) return {};
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what_, ": ", part, ": declares ", count, " items at byte ",
                                position_, " but only ", bytes_left(),
                                " bytes are left; the file is truncated or damaged"),
                 .what = what_};
  }

 private:
  Error too_short(uint64_t wanted, std::string_view part) const {
    return Error{
        .code = ErrorCode::kBadFile,
        .message = cat(what_, ": ", part, " needs ", wanted, " bytes at byte ", position_,
                       " but only ", bytes_left(), " are left; the file is truncated or damaged"),
        .what = what_,
        .found = cat(bytes_left(), " bytes"),
        .wanted = cat(wanted, " bytes")};
  }

  std::span<const std::byte> bytes_;
  std::string what_;
  uint64_t position_ = 0;
};

}  // namespace quern
