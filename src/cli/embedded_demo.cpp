#include "cli/embedded_demo.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/cat.h"

#ifdef QUERN_DEMO_MODEL
asm(".section .rodata\n"
    ".balign 64\n"
    "quern_demo_begin:\n"
    ".incbin \"" QUERN_DEMO_MODEL
    "\"\n"
    "quern_demo_end:\n"
    ".byte 0\n"
    ".previous\n");
extern "C" const char quern_demo_begin[];
extern "C" const char quern_demo_end[];
#endif

namespace quern {

namespace {

/// A file in memory that holds `content`; its descriptor stays open.
Result<std::filesystem::path> memory_file(std::string_view content) {
  const int fd = ::memfd_create("quern-demo", MFD_CLOEXEC);
  if (fd < 0) {
    return Error{.code = ErrorCode::kSystem,
                 .message = cat("demo: cannot make a file in memory: ", std::strerror(errno)),
                 .what = "demo"};
  }
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int code = errno;
      ::close(fd);
      return Error{.code = ErrorCode::kSystem,
                   .message = cat("demo: cannot write to memory: ", std::strerror(code)),
                   .what = "demo"};
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  return std::filesystem::path(cat("/proc/self/fd/", fd));
}

}  // namespace

Result<std::filesystem::path> embedded_demo_path() {
#ifdef QUERN_DEMO_MODEL
  return memory_file({quern_demo_begin, static_cast<size_t>(quern_demo_end - quern_demo_begin)});
#else
  return Error{
      .code = ErrorCode::kNotFound,
      .message = "demo: this build has no demo model inside; build it where models/demo is",
      .what = "demo"};
#endif
}

}  // namespace quern
