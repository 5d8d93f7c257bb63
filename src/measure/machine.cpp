#include "measure/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <span>

#include "base/cat.h"
#include "base/hash.h"

namespace quern {

namespace {

/// What the first processor's line "NAME : ..." says.
std::string cpu_info(std::string_view name) {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line) && !line.empty();) {
    if (!line.starts_with(name)) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return {};
}

int64_t system_number(int name) { return std::max<int64_t>(0, ::sysconf(name)); }

}  // namespace

std::string cpu_model() {
  const std::string name = cpu_info("model name");
  return name.empty() ? "unknown" : name;
}

std::string machine_key() {
  const std::string what = cat(cpu_info("microcode"), "\n", cpu_info("flags"), "\n",
                               l2_cache_bytes(), " ", l3_cache_bytes());
  char hash[17];
  std::snprintf(hash, sizeof(hash), "%016llx",
                static_cast<unsigned long long>(xxh64(std::as_bytes(std::span(what)))));
  return cat(cpu_model(), ", ", system_number(_SC_NPROCESSORS_ONLN), " cores, ", hash);
}

int64_t l2_cache_bytes() { return system_number(_SC_LEVEL2_CACHE_SIZE); }
int64_t l3_cache_bytes() { return system_number(_SC_LEVEL3_CACHE_SIZE); }

CpuTimes cpu_times() {
  std::ifstream stat("/proc/stat");
  std::string name;
  CpuTimes times;
  // user nice system idle iowait irq softirq steal; what follows counts under user and nice too.
  constexpr int kColumns = 8, kSteal = 7;
  if (!(stat >> name) || name != "cpu") return times;
  for (int column = 0; column < kColumns; ++column) {
    int64_t ticks = 0;
    if (!(stat >> ticks)) return {};
    times.total += ticks;
    if (column == kSteal) times.steal = ticks;
  }
  return times;
}

double steal_share(const CpuTimes& before, const CpuTimes& after) {
  const int64_t total = after.total - before.total;
  return total > 0 ? static_cast<double>(after.steal - before.steal) / static_cast<double>(total)
                   : 0.0;
}

std::string kernel_name() {
  utsname names{};
  if (::uname(&names) != 0) return "unknown";
  return cat(names.sysname, " ", names.release, " ", names.machine);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::string text(32, '\0');
  text.resize(std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts));
  return text;
}

int64_t unix_now_ns() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace quern
