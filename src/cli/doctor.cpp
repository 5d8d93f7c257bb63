#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/file.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "exec/cpu/isa.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = 1 << 20;

/// One line of the check-up.
struct Check {
  std::string name;
  std::string status;  // ok, warn, fail
  std::string detail;
  std::string advice;
};

std::string first_line(const char* path) {
  const Result<std::string> text = read_file(path, kMostBytes);
  return text ? text->substr(0, text->find('\n')) : std::string();
}

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

int64_t cache_bytes(int name) { return std::max<int64_t>(0, ::sysconf(name)); }

Check check_isa() {
  std::string names;
  for (const cpu::Isa isa : cpu::available_isas()) {
    names += cat(names.empty() ? "" : ", ", cpu::isa_name(isa));
  }
  if (names.empty()) {
    return {"cpu", "fail", cat(cpu_model(), ": no AVX2 with FMA and F16C"),
            "the cpu executor needs AVX2; --executor reference works, slowly"};
  }
  return {"cpu", "ok", cat(cpu_model(), ", ", num_usable_cpus(), " cores: ", names), ""};
}

Check check_memory() {
  const int64_t available = available_memory_bytes();
  const std::string detail = cat(available >> 20, " MiB available");
  if (available < (int64_t{1} << 30)) {
    return {"memory", "warn", detail, "models above a few hundred MiB will be refused"};
  }
  return {"memory", "ok", detail, ""};
}

Check check_huge_pages() {
  const std::string mode = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  if (mode.empty()) return {"huge_pages", "warn", "not known to this kernel", ""};
  if (mode.find("[never]") != std::string::npos) {
    return {"huge_pages", "warn", mode,
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled gives 2 to 8 % of decode "
            "speed"};
  }
  return {"huge_pages", "ok", mode, ""};
}

Check check_governor() {
  const std::string governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  if (governor.empty()) return {"governor", "ok", "not visible (a virtual machine)", ""};
  if (governor != "performance") {
    return {"governor", "warn", governor, "measure with the performance governor"};
  }
  return {"governor", "ok", governor, ""};
}

Check check_clock() {
  const std::string source =
      first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  if (source == "tsc" || source == "kvm-clock" || source == "arch_sys_counter") {
    return {"clock", "ok", source, ""};
  }
  return {"clock", "warn", source.empty() ? "unknown" : source,
          "reading this clock may cost microseconds; timings of single steps suffer"};
}

Check check_file_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::string detail = cat(static_cast<uint64_t>(limit.rlim_cur), " open files");
  if (limit.rlim_cur < 256) return {"file_limit", "warn", detail, "ulimit -n 1024"};
  return {"file_limit", "ok", detail, ""};
}

Check check_load() {
  double load = 0;
  if (::getloadavg(&load, 1) != 1) return {"load", "warn", "unknown", ""};
  const std::string detail = cat(load, " processes want the CPU");
  if (load > 0.5 * static_cast<double>(num_usable_cpus())) {
    return {"load", "warn", detail, "speeds measured now are those of a busy machine"};
  }
  return {"load", "ok", detail, ""};
}

Result<int> run_doctor(const Arguments& arguments) {
  if (arguments.on("--ceilings")) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message =
                     "--ceilings: this build does not measure the machine's ceilings yet; "
                     "leave the flag out",
                 .what = "--ceilings"};
  }
  const Check checks[] = {check_isa(),   check_memory(),     check_huge_pages(), check_governor(),
                          check_clock(), check_file_limit(), check_load()};
  Json list = Json::array();
  std::string text;
  for (const Check& check : checks) {
    list.push_back({{"name", check.name},
                    {"status", check.status},
                    {"detail", check.detail},
                    {"advice", check.advice.empty() ? Json() : Json(check.advice)}});
    text += cat(check.status, std::string(6 - check.status.size(), ' '), check.name, ": ",
                check.detail, check.advice.empty() ? "" : cat("; ", check.advice), "\n");
  }
  if (!arguments.on("--json")) {
    print_text(text);
    return 0;
  }
  Json isas = Json::array();
  for (const cpu::Isa isa : cpu::available_isas()) isas.push_back(cpu::isa_name(isa));
  print_json({{"checks", std::move(list)},
              {"cpu",
               {{"model", cpu_model()},
                {"isa", std::move(isas)},
                {"cores", num_usable_cpus()},
                {"l2_bytes", cache_bytes(_SC_LEVEL2_CACHE_SIZE)},
                {"l3_bytes", cache_bytes(_SC_LEVEL3_CACHE_SIZE)}}},
              {"memory", {{"available_bytes", available_memory_bytes()}}},
              {"ceilings", nullptr}});
  return 0;
}

constexpr std::string_view kFlags[] = {"--ceilings"};

}  // namespace

const Command kDoctorCommand = {{.name = "doctor",
                                 .arguments = "",
                                 .summary = "whether this machine is fit, and what would help",
                                 .flags = kFlags},
                                run_doctor};

}  // namespace quern
