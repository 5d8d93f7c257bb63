#include "base/memory.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

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
constexpr int kMostNodes = 1024;          // that Linux can be built for

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

std::vector<int> parse_node_list(std::string_view text) {
  std::vector<int> nodes;
  while (!text.empty()) {
    const std::string_view range = text.substr(0, text.find(','));
    const size_t dash = range.find('-');
    const auto first = parse_integer<int>(range.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : parse_integer<int>(range.substr(dash + 1));
    if (!first || !last || *first < 0 || *last < *first || *last >= kMostNodes) return {};
    for (int node = *first; node <= *last; ++node) nodes.push_back(node);
    if (range.size() == text.size()) break;
    text.remove_prefix(range.size() + 1);
    if (text.empty()) return {};
  }
  return nodes;
}

std::vector<int> memory_nodes() {
  constexpr std::string_view kKey = "Mems_allowed_list:";
  const Result<std::string> status = read_file("/proc/self/status", kMostBytes);
  const size_t at = status ? status->find(kKey) : std::string::npos;
  if (at == std::string::npos) return {0};
  std::string_view list = std::string_view(*status).substr(at + kKey.size());
  list = list.substr(0, list.find('\n'));
  while (!list.empty() && (list[0] == ' ' || list[0] == '\t')) list.remove_prefix(1);
  std::vector<int> nodes = parse_node_list(list);
  return nodes.empty() ? std::vector{0} : nodes;
}

bool interleave_pages(void* data, size_t bytes, std::span<const int> nodes) {
  constexpr int kBits = 8 * sizeof(unsigned long);
  unsigned long mask[kMostNodes / kBits] = {};
  for (const int node : nodes) {
    if (node < 0 || node >= kMostNodes) return false;
    mask[node / kBits] |= 1ul << node % kBits;
  }
  // The kernel reads one bit less than it is told.
  return syscall(SYS_mbind, data, bytes, MPOL_INTERLEAVE, mask, kMostNodes + 1, 0) == 0;
}

}  // namespace quern
