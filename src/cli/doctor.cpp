#include <sys/resource.h>

#include <algorithm>
#include <string>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/output.h"
#include "cli/stored_ceilings.h"
#include "exec/cpu/isa.h"
#include "measure/machine.h"

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

Check check_numa_nodes() {
  const size_t nodes = memory_nodes().size();
  if (nodes == 1) return {"numa_nodes", "ok", "1", ""};
  return {"numa_nodes", "ok", cat(nodes, ": weights, keys and values lie on them in turns"), ""};
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

/// For `threads` threads and for one.
CeilingsByThreads measure_both(int threads) {
  CeilingsByThreads measured;
  const auto progress = progress_bar("measuring");
  double before = 0;
  for (const int count : {1, threads}) {
    if (measured.contains(count)) continue;
    const double part = threads == 1 ? 1 : 0.5;
    CeilingOptions options{.threads = count};
    if (progress) {
      options.progress = [&](double fraction) { progress(before + part * fraction); };
    }
    measured[count] = measure_ceilings(options);
    before += part;
  }
  return measured;
}

/// What moves from minute to minute and bounds decoding and prompts: for use beside another
/// measurement.
Ceilings probe(int threads) {
  const auto wanted = [](std::string_view name) {
    return name == "read_gb_s" || name == cpu::unit_name(cpu::Unit::kInt8DotZmm) ||
           name == cpu::unit_name(cpu::Unit::kInt8DotYmm) ||
           name == cpu::unit_name(cpu::Unit::kInt8Amx);
  };
  return measure_ceilings({.threads = threads, .patience_s = 0, .wanted = wanted});
}

/// Whether the figures of this check-up can be relied on. `led` may be nullptr: there are none.
Check check_ceilings(const Ceilings* led) {
  if (led == nullptr) {
    return {"ceilings", "ok", "not measured yet",
            "quern doctor --ceilings measures and stores them"};
  }
  std::string names;
  for (const std::string& name : led->unsteady()) names += cat(names.empty() ? "" : ", ", name);
  const std::string detail =
      cat("measured ", printable(led->measured_at), " for ", led->threads, " threads");
  if (led->foreign_cores > kBusyCores) {
    return {"ceilings", "warn",
            cat(detail, " beside other load",
                names.empty() ? "" : ", runs more than 3 % apart: ", names),
            "measure again on a quiet machine"};
  }
  if (!names.empty()) {
    return {"ceilings", "warn", cat(detail, ", runs more than 3 % apart: ", names),
            "measure again, or take these figures for what they are worth"};
  }
  return {"ceilings", "ok", cat(detail, ", five runs within 3 %"), ""};
}

Result<int> run_doctor(const Arguments& arguments) {
  const int cores = num_usable_cpus();
  ASSIGN_OR_RETURN(const auto asked, arguments.integer("--threads", 1, cores));
  const Check load = check_load();  // before this process makes some itself
  CeilingsByThreads ceilings = stored_ceilings();
  if (arguments.on("--ceilings") && arguments.on("--probe")) {
    return Error{
        .code = ErrorCode::kUsage,
        .message = "doctor: --probe and --ceilings do not go together; leave one of them out",
        .what = "--probe"};
  }
  if (arguments.on("--probe")) {
    const auto threads = static_cast<int>(asked.value_or(cores));
    ceilings = {{threads, probe(threads)}};
  }
  if (arguments.on("--ceilings")) {
    CeilingsByThreads measured = measure_both(static_cast<int>(asked.value_or(cores)));
    store_ceilings(measured);
    // What was stored for other numbers of threads is still true.
    measured.merge(ceilings);
    ceilings = std::move(measured);
  }
  const auto led = ceilings.find(static_cast<int>(asked.value_or(cores)));
  const bool any = led != ceilings.end();
  const Check checks[] = {check_isa(),
                          check_memory(),
                          check_huge_pages(),
                          check_numa_nodes(),
                          check_governor(),
                          check_clock(),
                          check_file_limit(),
                          load,
                          check_ceilings(any ? &led->second : nullptr)};
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
    print_text(any ? cat(text, ceilings_text(ceilings, led->first)) : text);
    return 0;
  }
  Json isas = Json::array();
  for (const cpu::Isa isa : cpu::available_isas()) isas.push_back(cpu::isa_name(isa));
  print_json({{"checks", std::move(list)},
              {"cpu",
               {{"model", cpu_model()},
                {"isa", std::move(isas)},
                {"cores", num_usable_cpus()},
                {"l2_bytes", l2_cache_bytes()},
                {"l3_bytes", l3_cache_bytes()}}},
              {"memory", {{"available_bytes", available_memory_bytes()}}},
              {"ceilings", any ? ceilings_report(ceilings, led->first) : Json()}});
  return 0;
}

constexpr std::string_view kFlags[] = {"--ceilings", "--probe", "--threads"};

}  // namespace

const Command kDoctorCommand = {{.name = "doctor",
                                 .arguments = "",
                                 .summary = "whether this machine is fit, and what would help",
                                 .flags = kFlags},
                                run_doctor};

}  // namespace quern
