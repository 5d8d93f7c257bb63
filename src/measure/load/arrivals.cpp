#include "measure/load/arrivals.h"

#include <cmath>
#include <numbers>

#include "engine/philox.h"

namespace quern {

namespace {

/// Numbers of one stream of chance, one after the other.
class Draws {
 public:
  explicit Draws(uint64_t seed) : seed_(seed) {}
  /// In (0, 1].
  double unit() { return 1.0 - random_unit(seed_, next_++); }
  /// Standard normal. Source: Box and Muller 1958.
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(unit()));
    return radius * std::cos(2.0 * std::numbers::pi * unit());
  }

 private:
  uint64_t seed_;
  uint64_t next_ = 0;
};

/// Gamma distributed with scale 1. Source: Marsaglia and Tsang 2000, "A simple method for
/// generating gamma variables"; a shape below 1 by its last section, from shape + 1.
double gamma(double shape, Draws& draws) {
  const double boost = shape < 1 ? std::pow(draws.unit(), 1.0 / shape) : 1.0;
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = draws.normal();
    const double v = std::pow(1.0 + c * x, 3.0);
    if (v > 0 && std::log(draws.unit()) < 0.5 * x * x + d - d * v + d * std::log(v)) {
      return d * v * boost;
    }
  }
}

}  // namespace

std::vector<int64_t> arrival_times(int64_t count, const Arrivals& arrivals, uint64_t seed) {
  std::vector<int64_t> times(static_cast<size_t>(count), 0);
  if (arrivals.rate <= 0 || count == 0) return times;
  Draws draws(seed);
  std::vector<double> at;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += arrivals.is_constant ? 1.0 : gamma(arrivals.burstiness, draws);
    at.push_back(sum);
  }
  const double stretch = sum > 0 ? static_cast<double>(count) / arrivals.rate / sum * 1e9 : 0.0;
  for (size_t i = 0; i < at.size(); ++i) times[i] = static_cast<int64_t>(at[i] * stretch);
  return times;
}

}  // namespace quern
