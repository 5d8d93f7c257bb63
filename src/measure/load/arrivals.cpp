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

/// The rate of one of `count` requests, as a multiple of the first one's.
double relative_rate(const Arrivals& arrivals, int64_t index, int64_t count) {
  const double done = count > 1 ? static_cast<double>(index) / static_cast<double>(count - 1) : 0.0;
  switch (arrivals.ramp) {
    case Ramp::kNone:
      return 1;
    case Ramp::kLinear:
      return 1 + (arrivals.end_rate / arrivals.rate - 1) * done;
    case Ramp::kExponential:
      return std::pow(arrivals.end_rate / arrivals.rate, done);
  }
  return 1;
}

}  // namespace

double mean_rate(const Arrivals& arrivals) {
  if (arrivals.ramp == Ramp::kNone || arrivals.end_rate == arrivals.rate) return arrivals.rate;
  const double ratio = arrivals.end_rate / arrivals.rate;
  // 1 over the mean of 1 / rate along the ramp.
  const double linear = arrivals.rate * (ratio - 1) / std::log(ratio);
  return arrivals.ramp == Ramp::kLinear ? linear
                                        : arrivals.rate * std::log(ratio) / (1 - 1 / ratio);
}

std::vector<int64_t> arrival_times(int64_t count, const Arrivals& arrivals, uint64_t seed) {
  std::vector<int64_t> times(static_cast<size_t>(count), 0);
  if (arrivals.rate <= 0 || count == 0) return times;
  Draws draws(seed);
  std::vector<double> at;
  double sum = 0, expected = 0;  // in gaps of the first request's mean
  for (int64_t i = 0; i < count; ++i) {
    const double rate = relative_rate(arrivals, i, count);
    // A gap of shape k has the mean k.
    const double gap =
        arrivals.is_constant ? 1.0 : gamma(arrivals.burstiness, draws) / arrivals.burstiness;
    sum += gap / rate;
    expected += 1 / rate;
    at.push_back(sum);
  }
  const double stretch = sum > 0 ? expected / arrivals.rate / sum * 1e9 : 0.0;
  for (size_t i = 0; i < at.size(); ++i) times[i] = static_cast<int64_t>(at[i] * stretch);
  return times;
}

}  // namespace quern
