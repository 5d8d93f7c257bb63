#include "base/memory.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/numbers.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = 1 << 20;  // of a file in /proc

/// The number behind "Key:   123 kB" in bytes.
std::optional<int64_t> kib_line(const std::string& text, std::string_view key) {
  size_t at = text.find(key);
  if (at == std::string::npos) return std::nullopt;
  at += key.size();
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  const size_t end = text.find_first_not_of("0123456789", at);
  const auto kib = parse_integer<int64_t>(std::string_view(text).substr(at, end - at));
  return kib ? std::optional(*kib * 1024) : std::nullopt;
}

/// The number in a control group's file, nothing if it says "max" or is not there.
std::optional<int64_t> group_number(const char* path) {
  const Result<std::string> text = read_file(path, kMostBytes);
  if (!text) return std::nullopt;
  return parse_integer<int64_t>(std::string_view(*text).substr(0, text->find('\n')));
}

int64_t status_line(std::string_view key) {
  const Result<std::string> text = read_file("/proc/self/status", kMostBytes);
  return text ? kib_line(*text, key).value_or(0) : 0;
}

}  // namespace

int64_t available_memory_bytes() {
  const Result<std::string> text = read_file("/proc/meminfo", kMostBytes);
  int64_t available = text ? kib_line(*text, "MemAvailable:").value_or(0) : 0;
  const auto limit = group_number("/sys/fs/cgroup/memory.max");
  const auto used = group_number("/sys/fs/cgroup/memory.current");
  if (limit && used) available = std::min(available, std::max<int64_t>(0, *limit - *used));
  return available;
}

int64_t peak_resident_bytes() { return status_line("VmHWM:"); }
int64_t resident_bytes() { return status_line("VmRSS:"); }

}  // namespace quern
