#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace quern {

/// One tensor of a weight file, checked: its bytes lie inside the file, overlap no other tensor's
/// and are exactly as many as shape and type need.
struct TensorInfo {
  std::string name;
  std::string_view type_name;  // as the file's format spells it ("Q4_1", "BF16", "I64"); static
  std::optional<DType> dtype;  // nothing: a type that quern cannot compute with
  std::vector<int64_t> shape;  // outermost first (rows before columns) in every format
  uint64_t offset = 0;         // of the bytes within the file
  uint64_t bytes = 0;
  int32_t file = 0;  // index into Checkpoint::files()

  int64_t num_values() const;
};

struct MetadataValue;
/// An array of arrays; only GGUF has them, and no model is known to.
using MetadataArrays = std::vector<MetadataValue>;

/// One metadata value. Integers of every width are int64_t or, where that does not hold one of
/// them, uint64_t; floats of both widths are double. Arrays are of one type and as compact as their
/// values, so that a file cannot take many times its own size in memory. safetensors has text only.
struct MetadataValue {
  std::variant<bool, int64_t, uint64_t, double, std::string,  //
               std::vector<bool>, std::vector<int64_t>, std::vector<uint64_t>, std::vector<double>,
               std::vector<std::string>, MetadataArrays>
      value;
};

using Metadata = std::map<std::string, MetadataValue, std::less<>>;

enum class ContainerFormat { kSafetensors, kGguf };

/// What the head of one weight file says, everything validated against the file's size.
struct Container {
  ContainerFormat format = ContainerFormat::kSafetensors;
  std::vector<TensorInfo> tensors;  // in the order of the file, names unique
  Metadata metadata;
};

/// A name out of a file as it can stand in a message: control characters become '?', and it is cut
/// after 80 bytes.
std::string shown_name(std::string_view name);

/// Refuses (kBadFile) two tensors of one name.
Result<void> check_unique_names(const std::vector<TensorInfo>& tensors, std::string_view what);

}  // namespace quern
