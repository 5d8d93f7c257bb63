#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exec/cpu/ceiling_loops.h"

namespace quern {

/// The median of several runs, and how far they lie apart: (largest - smallest) / median.
struct Measured {
  double value = 0;
  double spread = 0;
};
Measured measured_of(std::span<const double> runs);

/// Runs that lie further apart than this are said to be unsteady.
inline constexpr double kSteadySpread = 0.03;
/// Where others had more than so many cores, figures are said to be taken on a busy machine.
inline constexpr double kBusyCores = 0.05;

/// What a machine does at best with one number of threads, each figure under its name:
///   read_gb_s, l3_gb_s, l2_gb_s     reading memory, a set that fits L3 and not L2, one that fits
///   L2 f32_ymm .. fp16_zmm             10^9 operations a second of a unit (cpu::unit_name)
///   barrier_us                      a parallel_for to which every thread of the pool comes
///   wake_us                         the same where they sleep before
/// A figure that this machine does not have is absent.
struct Ceilings {
  int threads = 1;
  std::map<std::string, Measured, std::less<>> figures;
  std::string measured_at;
  /// The most that other processes, or other guests of the host, had while a kept figure was taken.
  double foreign_cores = 0;

  std::optional<double> value(std::string_view name) const;
  std::optional<double> value(cpu::Unit unit) const { return value(cpu::unit_name(unit)); }
  /// The names of figures whose spread is above kSteadySpread.
  std::vector<std::string> unsteady() const;
};

/// Every name above, in the order of reports.
std::vector<std::string> ceiling_names();

/// The figures that reports and the contract lead with: the best of the units for one kind of
/// number, matrix tiles by themselves.
struct Headline {
  std::string_view name;  // "int8_gop_s"
  std::optional<Measured> (*of)(const Ceilings& ceilings);
};
std::span<const Headline> headlines();

struct CeilingOptions {
  int threads = 1;
  /// After so long nothing is measured a second time. A first pass takes a few seconds.
  double patience_s = 6;
  /// Which figures, by name; all where there is no test.
  std::function<bool(std::string_view name)> wanted = {};
  std::function<void(double fraction)> progress = {};
};

/// Measures the figures wanted: five runs each after a warm-up, and again, a bounded number of
/// times, where they lie apart or a foreign process was busy.
Ceilings measure_ceilings(const CeilingOptions& options);

}  // namespace quern
