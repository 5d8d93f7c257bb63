#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// A regular file mapped read-only. Moves, does not copy; unmaps when destroyed.
class MappedFile {
 public:
  /// kNotFound if there is no such file, kSystem if it cannot be read, kBadFile if it is not a
  /// regular file.
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  /// When it had last been written when it was opened, in nanoseconds of the system's clock.
  int64_t modified_ns() const { return modified_ns_; }

  /// Tells the kernel that [offset, offset + size) will not be read again, so that its pages stop
  /// counting as resident. Reading them later is still right, only slow.
  void drop(uint64_t offset, uint64_t size) const;

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size, int64_t modified_ns)
      : path_(std::move(path)), data_(data), size_(size), modified_ns_(modified_ns) {}

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int64_t modified_ns_ = 0;
};

/// A regular file that is read at places, by any number of threads at once.
class OpenFile {
 public:
  /// As MappedFile::open().
  static Result<OpenFile> open(const std::filesystem::path& path);

  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&& other) noexcept;
  ~OpenFile();

  /// When it was opened.
  uint64_t size() const { return size_; }
  /// Fills `bytes` from `offset`; kBadFile where the file ends before.
  Result<void> read_at(uint64_t offset, std::span<std::byte> bytes) const;

 private:
  OpenFile(std::filesystem::path path, int fd, uint64_t size)
      : path_(std::move(path)), fd_(fd), size_(size) {}

  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

/// The whole of a regular file; fails with kBadFile where it is larger than `max_bytes`.
Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes);

/// A file that is written beside its place, PATH.tmp.PID, and moved there when it is whole: a
/// reader sees what stood there before or all of the new one. What was not committed is removed.
class NewFile {
 public:
  static Result<NewFile> create(const std::filesystem::path& path);

  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&& other) noexcept;
  ~NewFile();

  /// Makes the file that long and asks the disk for the room, so that a full disk is known before
  /// the work of filling it.
  Result<void> reserve(uint64_t bytes);
  Result<void> write(std::span<const std::byte> bytes);
  /// Waits until the disk has it, then renames it to `path`.
  Result<void> commit();
  /// Renames it without waiting: a power cut may leave `path` with parts of it, so its reader must
  /// know them from the whole.
  Result<void> publish();

  /// Where it lies until then.
  const std::filesystem::path& beside() const { return beside_; }

 private:
  NewFile(std::filesystem::path path, std::filesystem::path beside, int fd)
      : path_(std::move(path)), beside_(std::move(beside)), fd_(fd) {}
  Error failed(std::string_view doing, int code) const;

  std::filesystem::path path_, beside_;
  int fd_ = -1;
};

/// A folder that is made beside its place in the same way, with the files in it.
class NewFolder {
 public:
  static Result<NewFolder> create(const std::filesystem::path& path);

  NewFolder(NewFolder&& other) noexcept;
  NewFolder& operator=(NewFolder&& other) noexcept;
  ~NewFolder();

  /// Takes its place; a folder that stood there is removed, unless that fails, which is no error.
  Result<void> commit();

  const std::filesystem::path& beside() const { return beside_; }

 private:
  NewFolder(std::filesystem::path path, std::filesystem::path beside)
      : path_(std::move(path)), beside_(std::move(beside)) {}

  std::filesystem::path path_;
  std::filesystem::path beside_;  // empty once committed or moved from
};

/// Writes beside `path` and renames, so that a reader sees the old file or the whole new one.
Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// All of standard input, byte for byte; fails with kBadInput above `max_bytes`.
Result<std::string> read_stdin(uint64_t max_bytes);

}  // namespace quern
