#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "checkpoint/gguf.h"
#include "tensor/dtype.h"

namespace quern {

/// The metadata of a GGUF file to be written, in the order of the calls. The type of each entry is
/// the caller's choice, for readers insist on it: llama.cpp refuses a number of another width.
class GgufEntries {
 public:
  void u32(std::string_view key, uint32_t value);
  void i32(std::string_view key, int32_t value);
  void f32(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  void text(std::string_view key, std::string_view value);
  void i32s(std::string_view key, std::span<const int32_t> values);
  void f32s(std::string_view key, std::span<const float> values);
  void booleans(std::string_view key, const std::vector<bool>& values);
  void texts(std::string_view key, std::span<const std::string> values);
  /// An entry as another file has it, key and all.
  void copy(const GgufEntry& entry);

  uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, uint32_t type);
  void begin_array(std::string_view key, uint32_t type, uint64_t count);

  std::string bytes_;
  uint64_t count_ = 0;
};

/// A tensor of the file to be written.
struct GgufTensor {
  std::string name;
  uint32_t type = 0;           // a number of gguf_types()
  std::vector<int64_t> shape;  // outermost first

  uint64_t num_bytes() const;
};

/// Where everything of a GGUF file goes.
struct GgufLayout {
  std::string head;               // up to the first tensor, padding included
  std::vector<uint64_t> offsets;  // of the tensors' bytes from the beginning of the file
  uint64_t file_bytes = 0;
};

/// Lays out a file of version 3. The data of the tensors follow each other in their order, each
/// from a multiple of `alignment`, which must be what the entries say if it is not 32. kUnsupported
/// for a tensor that the format cannot hold: a name of more than 63 bytes (llama.cpp's limit), more
/// than four dimensions.
Result<GgufLayout> lay_out_gguf(const GgufEntries& entries, std::span<const GgufTensor> tensors,
                                uint64_t alignment);

/// What general.file_type says of a file whose matrices are mostly of that type.
uint32_t gguf_file_type(DType dtype);

}  // namespace quern
