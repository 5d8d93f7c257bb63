#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace quern {

namespace {

Error system_error(const std::filesystem::path& path, std::string_view doing, int code) {
  const bool missing = code == ENOENT || code == ENOTDIR;
  return Error{.code = missing ? ErrorCode::kNotFound : ErrorCode::kSystem,
               .message = cat(path.string(), ": cannot ", doing, ": ", std::strerror(code)),
               .what = path.string()};
}

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct OpenedFile {
  int fd;
  uint64_t size;
  int64_t modified_ns;
};

Result<OpenedFile> open_regular(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return system_error(path, "open", errno);
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    const int code = errno;
    ::close(fd);
    return system_error(path, "stat", code);
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(fd);
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(path.string(), ": is not a regular file"),
                 .what = path.string(),
                 .wanted = "a regular file"};
  }
  return OpenedFile{fd, static_cast<uint64_t>(status.st_size),
                    int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

Result<std::string> read_descriptor(int fd, uint64_t max_bytes, const Error& too_large,
                                    const std::filesystem::path& path) {
  std::string content;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0) return system_error(path, "read", errno);  // also for a signal: the caller ends
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<size_t>(got));
    if (content.size() > max_bytes) return too_large;
  }
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const OpenedFile file, open_regular(path));
  const Descriptor owner(file.fd);
  if (file.size == 0) return MappedFile(path, nullptr, 0, file.modified_ns);
  void* data = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) return system_error(path, "map", errno);
  return MappedFile(path, static_cast<const std::byte*>(data), file.size, file.modified_ns);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      modified_ns_(other.modified_ns_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(modified_ns_, other.modified_ns_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::drop(uint64_t offset, uint64_t size) const {
  // Whole pages inside the range only: a neighbour may still be needed.
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = (offset + page - 1) / page * page;
  const uint64_t end = offset + size == size_ ? size_ : (offset + size) / page * page;
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

Result<OpenFile> OpenFile::open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const OpenedFile file, open_regular(path));
  return OpenFile(path, file.fd, file.size);
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

OpenFile& OpenFile::operator=(OpenFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> OpenFile::read_at(uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path_, "read", errno);
    if (got == 0) {
      return Error{.code = ErrorCode::kBadFile,
                   .message = cat(path_.string(), ": ends at ", offset, ", ", bytes.size(),
                                  " bytes too soon"),
                   .what = path_.string()};
    }
    offset += static_cast<uint64_t>(got);
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return {};
}

Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const OpenedFile file, open_regular(path));
  const Descriptor owner(file.fd);
  const Error too_large{.code = ErrorCode::kBadFile,
                        .message = cat(path.string(), ": is ", file.size,
                                       " bytes, more than the limit of ", max_bytes),
                        .what = path.string(),
                        .found = cat(file.size, " bytes"),
                        .wanted = cat("at most ", max_bytes, " bytes")};
  if (file.size > max_bytes) return too_large;
  return read_descriptor(file.fd, max_bytes, too_large, path);
}

Result<NewFile> NewFile::create(const std::filesystem::path& path) {
  const std::filesystem::path beside = cat(path.string(), ".tmp.", ::getpid());
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return system_error(path, "create", errno);
  return NewFile(path, beside, fd);
}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      beside_(std::move(other.beside_)),
      fd_(std::exchange(other.fd_, -1)) {}

NewFile& NewFile::operator=(NewFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(beside_, other.beside_);
  std::swap(fd_, other.fd_);
  return *this;
}

NewFile::~NewFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(beside_.c_str());
}

Error NewFile::failed(std::string_view doing, int code) const {
  Error error = system_error(path_, doing, code);
  error.code = ErrorCode::kSystem;
  return error;
}

Result<void> NewFile::reserve(uint64_t bytes) {
  const auto size = static_cast<off_t>(bytes);
  while (::fallocate(fd_, 0, 0, size) != 0) {
    const int code = errno;
    if (code == EINTR) continue;
    if (code == ENOSPC || code == EFBIG || code == EDQUOT) {
      return failed(cat("write ", bytes, " bytes"), code);
    }
    // Not every filesystem can reserve: there a full disk shows while writing.
    if (::ftruncate(fd_, size) != 0) return failed("resize", errno);
    break;
  }
  return {};
}

Result<void> NewFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("write", errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

Result<void> NewFile::publish() {
  if (::rename(beside_.c_str(), path_.c_str()) != 0) return failed("rename", errno);
  ::close(std::exchange(fd_, -1));
  return {};
}

Result<void> NewFile::commit() {
  if (::fsync(fd_) != 0) return failed("sync", errno);
  RETURN_IF_ERROR(publish());
  // The new name, too, is to outlive a power cut; where folders cannot be synced nothing is lost.
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
  const Descriptor parent(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() >= 0) (void)::fsync(parent.get());
  return {};
}

Result<NewFolder> NewFolder::create(const std::filesystem::path& path) {
  const std::filesystem::path beside = cat(path.string(), ".tmp.", ::getpid());
  if (::mkdir(beside.c_str(), 0755) != 0) return system_error(path, "create", errno);
  return NewFolder(path, beside);
}

NewFolder::NewFolder(NewFolder&& other) noexcept
    : path_(std::move(other.path_)), beside_(std::exchange(other.beside_, {})) {}

NewFolder& NewFolder::operator=(NewFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(beside_, other.beside_);
  return *this;
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  if (!beside_.empty()) std::filesystem::remove_all(beside_, ignored);
}

Result<void> NewFolder::commit() {
  if (::rename(beside_.c_str(), path_.c_str()) == 0) {
    beside_.clear();
    return {};
  }
  // A folder that is not empty stands there: the two change places at once, then the old one goes.
  if ((errno != ENOTEMPTY && errno != EEXIST) ||
      ::renameat2(AT_FDCWD, beside_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) != 0) {
    return system_error(path_, "rename", errno);
  }
  return {};
}

Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  ASSIGN_OR_RETURN(NewFile file, NewFile::create(path));
  RETURN_IF_ERROR(file.write(std::as_bytes(std::span(content.data(), content.size()))));
  return file.commit();
}

Result<std::string> read_stdin(uint64_t max_bytes) {
  const Error too_large{
      .code = ErrorCode::kBadInput,
      .message = cat("standard input: is larger than the limit of ", max_bytes, " bytes"),
      .what = "standard input"};
  return read_descriptor(STDIN_FILENO, max_bytes, too_large, "standard input");
}

}  // namespace quern
