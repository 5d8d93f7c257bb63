#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/byte_reader.h"

namespace quern {

/// Walks over the fields of one protobuf message (the wire format of protobuf.dev, without the
/// groups of version 1). A nested message is a field of bytes: read it with another reader.
class ProtobufReader {
 public:
  struct Field {
    uint32_t number = 0;
    uint64_t value = 0;                // varint and fixed fields
    std::span<const std::byte> bytes;  // fields with a length
    enum class Kind { kVarint, kFixed64, kBytes, kFixed32 } kind = Kind::kVarint;

    std::string_view text() const {
      return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    /// A fixed32 field as the float it is.
    float number32() const {
      const auto bits = static_cast<uint32_t>(value);
      float out;
      std::memcpy(&out, &bits, sizeof(out));
      return out;
    }
  };

  ProtobufReader(std::span<const std::byte> message, std::string what)
      : reader_(message, std::move(what)) {}

  /// The next field, or nothing at the end of the message.
  Result<std::optional<Field>> next() {
    if (reader_.at_end()) return std::optional<Field>();
    ASSIGN_OR_RETURN(const uint64_t key, varint());
    Field field;
    if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF) return damaged("a field number is out of range");
    field.number = static_cast<uint32_t>(key >> 3);
    switch (key & 7) {
      case 0: {
        field.kind = Field::Kind::kVarint;
        ASSIGN_OR_RETURN(field.value, varint());
        break;
      }
      case 1: {
        field.kind = Field::Kind::kFixed64;
        ASSIGN_OR_RETURN(field.value, reader_.take_number<uint64_t>("a field"));
        break;
      }
      case 2: {
        field.kind = Field::Kind::kBytes;
        ASSIGN_OR_RETURN(const uint64_t size, varint());
        ASSIGN_OR_RETURN(field.bytes, reader_.take(size, "a field"));
        break;
      }
      case 5: {
        field.kind = Field::Kind::kFixed32;
        ASSIGN_OR_RETURN(field.value, reader_.take_number<uint32_t>("a field"));
        break;
      }
      default:
        return damaged("a field has an unknown wire type");
    }
    return std::optional(field);
  }

  Error damaged(std::string_view why) const {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(reader_.what(), ": ", why, " at byte ", reader_.position(),
                                "; the file is damaged or no protobuf"),
                 .what = reader_.what()};
  }

 private:
  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      ASSIGN_OR_RETURN(const uint8_t byte, reader_.take_number<uint8_t>("a field"));
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    return damaged("a number takes more than ten bytes");
  }

  ByteReader reader_;
};

}  // namespace quern
