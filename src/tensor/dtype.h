#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/formats.h"

namespace quern {

/// How the numbers of a tensor are stored: an index into the `Formats` list.
class DType {
 public:
  template <typename Format>
  static constexpr DType of() {
    return DType(index_of<Format>(std::make_index_sequence<kNumFormats>()));
  }
  static std::optional<DType> from_name(std::string_view name);  ///< canonical name or alias
  static std::optional<DType> from_gguf_type(uint32_t type);
  static std::optional<DType> from_safetensors_name(std::string_view name);
  static std::vector<DType> all();

  constexpr size_t index() const { return index_; }
  std::string_view name() const;
  int gguf_type() const;  ///< -1 where GGUF has no such type
  int64_t block_values() const;
  int64_t block_bytes() const;
  /// True where a value stands alone: no rounding shared between neighbours.
  bool is_float() const;
  /// True where a row has one scale, which its stored bytes begin with.
  bool scales_rows() const;

  /// Whether a row of `values` is a whole number of blocks, and no longer than the type allows.
  bool fits_row(int64_t values) const;
  /// Bytes of a row; `values` must be a multiple of block_values().
  int64_t row_bytes(int64_t values) const;

  /// out[i] = value i of the packed row. `row` holds row_bytes(out.size()) bytes, any alignment.
  void decode_row(const std::byte* row, std::span<float> out) const;
  /// The inverse, rounding; `row` has room for row_bytes(x.size()) bytes.
  void encode_row(std::span<const float> x, std::byte* row) const;

  friend constexpr bool operator==(DType, DType) = default;

 private:
  constexpr explicit DType(size_t index) : index_(index) {}
  template <typename Format, size_t... I>
  static constexpr size_t index_of(std::index_sequence<I...>) {
    size_t found = kNumFormats;
    ((std::is_same_v<Format, std::tuple_element_t<I, Formats>> ? void(found = I) : void()), ...);
    return found;
  }

  size_t index_;
};

/// "f32, f16, bf16, ...": for messages that list what there is.
std::string dtype_names();

}  // namespace quern
