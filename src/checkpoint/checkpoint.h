#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "checkpoint/container.h"

namespace quern {

/// Named tensors and metadata of a model's weight files, mapped, everything validated before use.
/// Formats: safetensors (single file, or a folder with model.safetensors or
/// model.safetensors.index.json and its shards) and GGUF v2 and v3.
///
/// The checks hold for the size a file had when it was opened. If somebody truncates it later,
/// reading a page past the new end raises SIGBUS: weights must be replaced by renaming a new file
/// over the old one, never by writing into it.
class Checkpoint {
 public:
  using Format = ContainerFormat;

  /// Opens a .safetensors or .gguf file (told apart by content) or a folder. kNotFound names the
  /// missing file or shard; kBadFile says what is wrong and where; kUnsupported: another format, or
  /// one part of a split GGUF.
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
  /// Size of all files together.
  uint64_t file_bytes() const;
  /// Of every file: all bytes of a small one; of a large one its size, when it was written, its
  /// head and tail and samples from all over it, because a hash of every byte would take longer
  /// than starting from packed weights. Never 0.
  uint64_t fingerprint() const;

  const Metadata& metadata() const { return metadata_; }
  /// The metadata value of that key where it has that type; nothing where it is absent or of
  /// another type. An integer counts as a number; nothing else converts.
  const std::string* text(std::string_view key) const;
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  const std::vector<std::string>* texts(std::string_view key) const;
  const std::vector<int64_t>* integers(std::string_view key) const;
  const std::vector<double>* numbers(std::string_view key) const;
  const std::vector<bool>* booleans(std::string_view key) const;

 private:
  static Result<Checkpoint> open_file(const std::filesystem::path& path);
  static Result<Checkpoint> open_sharded(const std::filesystem::path& index);
  void sort_tensors();
  template <typename T>
  const T* value_as(std::string_view key) const;

  Format format_ = Format::kSafetensors;
  std::vector<MappedFile> files_;
  std::vector<TensorInfo> tensors_;
  Metadata metadata_;
};

}  // namespace quern
