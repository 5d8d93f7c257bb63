#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "tensor/dtype.h"

namespace quern {

/// One tensor of a file set, checked: its bytes lie inside its file and are exactly what shape and
/// type need.
struct TensorInfo {
  std::string name;
  std::string type_name;       // as the file spells it ("Q4_1", "BF16", "I64")
  std::optional<DType> dtype;  // nothing: a type that quern cannot compute with
  std::vector<int64_t> shape;  // outermost first (rows before columns) in every format
  uint64_t offset = 0;         // of the bytes within the file
  uint64_t bytes = 0;
  int32_t file = 0;  // index into Checkpoint::files()

  int64_t num_values() const;
};

struct MetadataValue;
/// An array in GGUF metadata: strings or numbers.
using MetadataArray = std::vector<MetadataValue>;
/// One metadata value. GGUF integers of every width are int64_t or, where that does not hold them,
/// uint64_t; safetensors has text only.
struct MetadataValue {
  std::variant<bool, int64_t, uint64_t, double, std::string, MetadataArray> value;
};

/// Named tensors and metadata of a model's weight files, mapped, everything validated before use.
/// Formats: safetensors (single file, or a folder with model.safetensors or
/// model.safetensors.index.json and its shards) and GGUF v2 and v3.
class Checkpoint {
 public:
  enum class Format { kSafetensors, kGguf };

  /// Opens a .safetensors or .gguf file (told apart by content) or a folder. kNotFound names the
  /// missing file or shard; kBadFile says what is wrong and where.
  static Result<Checkpoint> open(const std::filesystem::path& path);

  Format format() const { return format_; }
  const std::vector<MappedFile>& files() const { return files_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // by name
  /// The tensor of that name, or nullptr.
  const TensorInfo* find(std::string_view name) const;
  /// Its bytes in the mapped file.
  std::span<const std::byte> bytes(const TensorInfo& tensor) const;
  /// Lets the pages of a tensor go that will not be read again.
  void release(const TensorInfo& tensor) const;

  const std::map<std::string, MetadataValue, std::less<>>& metadata() const { return metadata_; }
  uint64_t file_bytes() const;

 private:
  Format format_ = Format::kSafetensors;
  std::vector<MappedFile> files_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, MetadataValue, std::less<>> metadata_;
};

}  // namespace quern
