#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/ensure.h"
#include "measure/load/prompts.h"

namespace {

/// A file in memory, which the readers open by its path as any other.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("prompts", 0)) {
    ENSURE(descriptor_ >= 0, "no file in memory");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void fill(const uint8_t* data, size_t size) {
    ENSURE(::ftruncate(descriptor_, 0) == 0);
    ENSURE(::pwrite(descriptor_, data, size, 0) == static_cast<ssize_t>(size));
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace

/// The first byte says which dataset the rest is, and whether lengths of answers are given.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr const char* kNames[] = {"custom", "sharegpt", "trace"};
  constexpr int64_t kCount = 2;  // of a trace each may be millions of words
  static MemoryFile file;
  file.fill(data + 1, size - 1);
  const quern::Dataset* const dataset = quern::find_dataset(kNames[data[0] % 3]);
  quern::PromptOptions options{.count = kCount, .path = file.path()};
  if (data[0] >= 128) options.output_len = 7;
  const auto prompts = dataset->read(options);
  if (!prompts) {
    ENSURE(!prompts.error().message.empty());
    return 0;
  }
  ENSURE(prompts->prompts.size() == kCount);
  for (const quern::LoadPrompt& prompt : prompts->prompts) {
    ENSURE(!prompt.text.empty() && prompt.max_tokens > 0 && prompt.arrival_ns >= 0);
    ENSURE(!options.output_len || prompt.max_tokens == *options.output_len);
  }
  return 0;
}
