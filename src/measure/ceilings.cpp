#include "measure/ceilings.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <thread>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "exec/cpu/arena.h"
#include "measure/machine.h"
#include "measure/statistics.h"

namespace quern {

namespace {

constexpr int kRuns = 5;
constexpr int kAttempts = 3;
constexpr double kRunSeconds = 0.02;      // of a unit: long against its clock's ramp
constexpr double kReadRunSeconds = 0.05;  // of memory
constexpr int64_t kMiB = int64_t{1} << 20;

double seconds_now() { return static_cast<double>(steady_clock().now_ns()) * 1e-9; }

/// What others did to the CPUs between two moments.
class LoadGauge {
 public:
  LoadGauge() : wall_(seconds_now()), own_(own_seconds()), all_(all_seconds()) {}

  /// Cores that other processes and other guests had. /proc/stat counts in ticks, so that short
  /// times are known to a tick a core.
  double foreign_cores() const {
    const double wall = seconds_now() - wall_;
    const double foreign = all_seconds() - all_ - (own_seconds() - own_);
    return wall <= 0 ? 0 : std::max(0.0, foreign / wall);
  }
  double tick_error() const {
    const double wall = seconds_now() - wall_;
    return wall <= 0 ? 0 : 2 * tick() / wall;
  }

 private:
  static double tick() { return 1.0 / static_cast<double>(std::max(1L, ::sysconf(_SC_CLK_TCK))); }
  static double own_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  /// user, nice, system, irq, softirq and steal of all CPUs; 0 where it cannot be read.
  static double all_seconds() {
    std::ifstream stat("/proc/stat");
    std::string name;
    int64_t user = 0, nice = 0, system = 0, idle = 0, io = 0, irq = 0, soft = 0, steal = 0;
    if (!(stat >> name >> user >> nice >> system >> idle >> io >> irq >> soft >> steal)) return 0;
    return static_cast<double>(user + nice + system + irq + soft + steal) * tick();
  }

  double wall_, own_, all_;
};

/// One part of the work on each thread of the pool, begun at the same moment.
class Together {
 public:
  explicit Together(ThreadPool& pool) : pool_(pool) {}

  /// One loop of the pool in which a thread that has come waits for the others, so that none does
  /// two chunks. `part(worker)` follows.
  template <typename Part>
  void meet(const Part& part) {
    std::atomic<int> waiting_for{pool_.num_threads()};
    pool_.parallel_for(pool_.num_threads(), [&](int64_t, int worker) {
      waiting_for.fetch_sub(1);
      for (int looks = 0; waiting_for.load() > 0; ++looks) {
        if (looks > 10'000) std::this_thread::yield();
      }
      part(worker);
    });
  }
  void meet() {
    meet([](int) {});
  }

  /// Seconds from the first thread's start of part(worker) to the last one's end.
  template <typename Part>
  double run(const Part& part) {
    std::atomic<int64_t> first{std::numeric_limits<int64_t>::max()}, last{0};
    meet([&](int worker) {
      const int64_t begin = steady_clock().now_ns();
      part(worker);
      const int64_t end = steady_clock().now_ns();
      for (int64_t seen = first; begin < seen && !first.compare_exchange_weak(seen, begin);) {
      }
      for (int64_t seen = last; end > seen && !last.compare_exchange_weak(seen, end);) {
      }
    });
    return static_cast<double>(std::max<int64_t>(1, last - first)) * 1e-9;
  }

 private:
  ThreadPool& pool_;
};

/// Repeats figures until they are good or patience ends.
class Session {
 public:
  explicit Session(const CeilingOptions& options)
      : ends_at_(seconds_now() + options.patience_s), pool_(options.threads), together_(pool_) {
    result_.threads = options.threads;
    result_.measured_at = utc_now();
  }

  ThreadPool& pool() { return pool_; }
  Together& together() { return together_; }
  int threads() const { return pool_.num_threads(); }
  Ceilings take() { return std::move(result_); }

  /// `run` gives the figure once; what it does the first time has been a warm-up.
  template <typename Run>
  void measure(const std::string& name, const Run& run) {
    Measured best;
    double best_foreign = 0;
    bool best_disturbed = true;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (attempt > 0 && seconds_now() > ends_at_) break;
      const LoadGauge load;
      std::vector<double> runs;
      for (int i = 0; i < kRuns; ++i) runs.push_back(run());
      const double foreign = std::max(0.0, load.foreign_cores() - load.tick_error());
      const Measured now = measured_of(runs);
      const bool disturbed = foreign > kBusyCores;
      if (attempt == 0 ||
          std::pair(disturbed, now.spread) < std::pair(best_disturbed, best.spread)) {
        best = now;
        best_foreign = foreign;
        best_disturbed = disturbed;
      }
      if (!best_disturbed && best.spread <= kSteadySpread) break;
    }
    result_.figures[name] = best;
    result_.foreign_cores = std::max(result_.foreign_cores, best_foreign);
  }

 private:
  double ends_at_;
  ThreadPool pool_;
  Together together_;
  Ceilings result_;
};

/// How often to repeat what takes `seconds` once, to fill a run.
int64_t repeats_for(double run_seconds, double seconds) {
  return std::clamp<int64_t>(std::llround(run_seconds / std::max(seconds, 1e-9)), 1, 1 << 30);
}

void measure_unit(Session& session, const cpu::RateLoop& loop) {
  int64_t rounds = 4096;
  const auto seconds = [&] { return session.together().run([&](int) { loop.run(rounds); }); };
  // Twice: the first time wakes the unit up, the clock may change with it.
  for (int i = 0; i < 2; ++i) {
    rounds *= repeats_for(kRunSeconds / (i == 0 ? 4 : 1), seconds());
    rounds = std::min<int64_t>(rounds, int64_t{1} << 40);
  }
  session.measure(std::string(cpu::unit_name(loop.unit)), [&] {
    const double operations = static_cast<double>(rounds * loop.operations * session.threads());
    return operations / seconds() * 1e-9;
  });
}

/// Memory on 2 MiB pages where the system gives them, written once.
struct Region {
  cpu::Arena arena;
  const std::byte* data = nullptr;
  int64_t bytes = 0;

  static Region of(ThreadPool& pool, int64_t bytes) {
    constexpr int64_t kPage = 2 * kMiB;
    Region region;
    Result<cpu::Arena> arena = cpu::Arena::reserve(bytes + kPage, "ceilings");
    if (!arena) return region;
    region.arena = std::move(arena).value();
    const auto address = reinterpret_cast<uintptr_t>(region.arena.at(0));
    std::byte* const data =
        region.arena.at((kPage - static_cast<int64_t>(address % kPage)) % kPage);
    pool.parallel_for((bytes + kPage - 1) / kPage, [&](int64_t page, int) {
      const int64_t size = std::min(kPage, bytes - page * kPage);
      std::memset(data + page * kPage, 1, static_cast<size_t>(size));
    });
    region.data = data;
    region.bytes = bytes;
    return region;
  }
};

/// Each thread reads its own part of the region again and again.
void measure_reads(Session& session, const std::string& name, const Region& region) {
  const int64_t part = region.bytes / session.threads() / cpu::kReadGrain * cpu::kReadGrain;
  if (region.data == nullptr || part == 0) return;
  constexpr int64_t kCall = 4 * kMiB;
  const auto seconds = [&](const cpu::ReadLoop& loop, int64_t passes) {
    return session.together().run([&](int worker) {
      const std::byte* const from = region.data + worker * part;
      for (int64_t pass = 0; pass < passes; ++pass) {
        for (int64_t at = 0; at < part; at += kCall) {
          loop.run(from + at, std::min(kCall, part - at));
        }
      }
    });
  };
  // The fastest way here, and how many passes make a run of it.
  cpu::ReadLoop fastest{};
  int64_t passes = 1;
  double best = std::numeric_limits<double>::max();
  for (const cpu::ReadLoop& loop : cpu::read_loops()) {
    seconds(loop, 1);
    const int64_t few = repeats_for(kReadRunSeconds / 4, seconds(loop, 1));
    const double time = seconds(loop, few) / static_cast<double>(few);
    if (time >= best) continue;
    best = time;
    fastest = loop;
    passes = repeats_for(kReadRunSeconds, time);
  }
  if (fastest.run == nullptr) return;
  session.measure(name, [&] {
    const double bytes = static_cast<double>(part * session.threads() * passes);
    return bytes / seconds(fastest, passes) * 1e-9;
  });
}

/// Several times the last-level cache, at most a quarter of what is free; 0 where that is too
/// little to say anything about memory.
int64_t memory_set_bytes(int64_t l3) {
  const int64_t wanted = std::clamp(4 * l3, 256 * kMiB, 4096 * kMiB);
  const int64_t bytes = std::min(wanted, available_memory_bytes() / 4) / kMiB * kMiB;
  return bytes < std::max(2 * l3, 64 * kMiB) ? 0 : bytes;
}

/// Half of the last-level cache; 0 where the threads' second-level caches would hold much of it.
int64_t l3_set_bytes(int64_t l2, int64_t l3, int threads) {
  return l3 / 2 < 3 * l2 * threads ? 0 : l3 / 2;
}

/// All threads come to each loop: with bodies of no length at all the first of them would do every
/// chunk before the others have looked.
void measure_barrier(Session& session) {
  constexpr int kLoops = 20'000;
  const auto once = [&] {
    const int64_t begin = steady_clock().now_ns();
    for (int i = 0; i < kLoops; ++i) session.together().meet();
    return static_cast<double>(steady_clock().now_ns() - begin) * 1e-3 / kLoops;
  };
  once();
  session.measure("barrier_us", once);
}

void measure_wake(Session& session) {
  constexpr int kSamples = 31;
  const auto once = [&] {
    std::vector<double> samples;
    for (int i = 0; i < kSamples; ++i) {
      // Longer than workers spin for, so that all of them sleep.
      std::this_thread::sleep_for(std::chrono::microseconds(500));
      const int64_t begin = steady_clock().now_ns();
      session.together().meet();
      samples.push_back(static_cast<double>(steady_clock().now_ns() - begin) * 1e-3);
    }
    return median(samples);
  };
  once();
  session.measure("wake_us", once);
}

std::optional<Measured> figure(const Ceilings& ceilings, std::string_view name) {
  const auto found = ceilings.figures.find(name);
  return found == ceilings.figures.end() ? std::nullopt : std::optional(found->second);
}
template <cpu::Unit... kUnits>
std::optional<Measured> best_of(const Ceilings& ceilings) {
  std::optional<Measured> best;
  for (const cpu::Unit unit : {kUnits...}) {
    const std::optional<Measured> found = figure(ceilings, cpu::unit_name(unit));
    if (found && (!best || found->value > best->value)) best = found;
  }
  return best;
}

using enum cpu::Unit;
constexpr Headline kHeadlines[] = {
    {"read_gb_s", [](const Ceilings& c) { return figure(c, "read_gb_s"); }},
    {"l3_gb_s", [](const Ceilings& c) { return figure(c, "l3_gb_s"); }},
    {"l2_gb_s", [](const Ceilings& c) { return figure(c, "l2_gb_s"); }},
    {"int8_gop_s", best_of<kInt8AddYmm, kInt8AddZmm, kInt8DotYmm, kInt8DotZmm>},
    {"amx_int8_gop_s", best_of<kInt8Amx>},
    {"bf16_gflop_s", best_of<kBf16Zmm>},
    {"amx_bf16_gflop_s", best_of<kBf16Amx>},
    {"fp16_gflop_s", best_of<kFp16Zmm>},
    {"f32_gflop_s", best_of<kF32Ymm, kF32Zmm>},
    {"barrier_us", [](const Ceilings& c) { return figure(c, "barrier_us"); }},
    {"wake_us", [](const Ceilings& c) { return figure(c, "wake_us"); }},
};

}  // namespace

Measured measured_of(std::span<const double> runs) {
  if (runs.empty()) return {};
  const auto [low, high] = std::ranges::minmax(runs);
  const double middle = median(runs);
  return {.value = middle, .spread = middle > 0 ? (high - low) / middle : 0};
}

std::optional<double> Ceilings::value(std::string_view name) const {
  const std::optional<Measured> found = figure(*this, name);
  return found ? std::optional(found->value) : std::nullopt;
}

std::vector<std::string> Ceilings::unsteady() const {
  std::vector<std::string> names;
  for (const std::string& name : ceiling_names()) {
    const std::optional<Measured> found = figure(*this, name);
    if (found && found->spread > kSteadySpread) names.push_back(name);
  }
  return names;
}

std::vector<std::string> ceiling_names() {
  std::vector<std::string> names = {"read_gb_s", "l3_gb_s", "l2_gb_s"};
  for (int unit = 0; unit < cpu::kNumUnits; ++unit) {
    names.emplace_back(cpu::unit_name(static_cast<cpu::Unit>(unit)));
  }
  names.insert(names.end(), {"barrier_us", "wake_us"});
  return names;
}

std::span<const Headline> headlines() { return kHeadlines; }

Ceilings measure_ceilings(const CeilingOptions& options) {
  const std::vector<cpu::RateLoop> loops = cpu::rate_loops();
  const double all = static_cast<double>(loops.size()) + 5;
  double done = 0;
  // After rate_loops(): threads inherit the permission to use tiles.
  Session session(options);
  const auto step = [&](std::string_view name, const auto& measure) {
    if (!options.wanted || options.wanted(name)) measure();
    if (options.progress) options.progress(++done / all);
  };
  for (const cpu::RateLoop& loop : loops) {
    step(cpu::unit_name(loop.unit), [&] { measure_unit(session, loop); });
  }
  const int64_t l2 = l2_cache_bytes(), l3 = l3_cache_bytes();
  const auto read = [&](const std::string& name, int64_t bytes) {
    step(name, [&] {
      if (bytes > 0) measure_reads(session, name, Region::of(session.pool(), bytes));
    });
  };
  read("l2_gb_s", l2 / 2 / cpu::kReadGrain * cpu::kReadGrain * session.threads());
  read("l3_gb_s", l3_set_bytes(l2, l3, session.threads()));
  read("read_gb_s", memory_set_bytes(l3));
  step("barrier_us", [&] {
    if (session.threads() > 1) measure_barrier(session);
  });
  step("wake_us", [&] {
    if (session.threads() > 1) measure_wake(session);
  });
  return session.take();
}

}  // namespace quern
