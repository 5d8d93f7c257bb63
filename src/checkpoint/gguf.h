#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "checkpoint/container.h"

namespace quern {

/// How a GGUF file stores the values of one tensor type.
struct GgufType {
  uint32_t number;
  std::string_view name;
  uint32_t block_values;
  uint32_t block_bytes;
};

/// Every tensor type a GGUF file may have, so that files can be listed that quern cannot compute.
std::span<const GgufType> gguf_types();

/// Reads the head of one little-endian GGUF file of version 2 or 3: metadata, then the list of
/// tensors. `file` is the whole file, of whose data nothing is read; `what` names it in messages.
Result<Container> parse_gguf(std::span<const std::byte> file, const std::string& what);

/// One metadata entry as it lies in the file: key, type and value.
struct GgufEntry {
  std::string key;
  std::span<const std::byte> bytes;
};

/// The metadata entries of a file in its order, checked as parse_gguf() does: for writing a file
/// that says the same, in the same types of numbers.
Result<std::vector<GgufEntry>> gguf_entries(std::span<const std::byte> file,
                                            const std::string& what);

}  // namespace quern
