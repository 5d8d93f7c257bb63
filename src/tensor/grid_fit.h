#pragma once

#include <cmath>
#include <cstring>
#include <limits>

// Fits evenly spaced levels to a few values: the search that the encoders of Q4_K, Q5_K and Q6_K
// share. Rounding to the nearest level and the least-squares line through levels and values are
// solved in turn, from several starting widths, because the error has many local minima.
//
// An error counts by its weight, root mean square of the sub-block plus magnitude of the value:
// large weights are the ones that matter to the products, and the small ones still count.
// A value that is not finite makes every error not finite, which no comparison below prefers: the
// sub-block becomes zeros, and no undefined conversion is reached.

namespace quern {

/// Four floats side by side, what every machine has registers for. Sums run in four lanes that are
/// added at the end, in this order everywhere.
constexpr int kFitLanes = 4;
using FitLanes [[gnu::vector_size(4 * kFitLanes)]] = float;

inline double lane_sum(const FitLanes& lanes) {
  double sum = 0;
  for (int i = 0; i < kFitLanes; ++i) sum += static_cast<double>(lanes[i]);
  return sum;
}

/// v to the nearest whole number (ties to even) within low .. high, all below 2^22; NaN to low.
/// T is float or FitLanes.
template <typename T>
[[gnu::always_inline]] inline T nearest_level(const T& v, float low, float high) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: no fraction bits are left beside it
  const T least = T{} + low, most = T{} + high;
  const T raised = v > least ? v : least;
  const T bounded = raised < most ? raised : most;
  return (bounded + kRound) - kRound;
}

inline float reciprocal(float v) { return v != 0.0f ? 1.0f / v : 0.0f; }

/// kValues values and the weights of their errors.
template <int kValues>
struct FitValues {
  static constexpr int kVectors = kValues / kFitLanes;
  static_assert(kValues % kFitLanes == 0);

  FitLanes x[kVectors], weight[kVectors];
  double sum_w = 0;

  explicit FitValues(const float* values) {
    std::memcpy(x, values, sizeof(x));
    double squares = 0;
    for (const FitLanes& v : x) squares += lane_sum(v * v);
    const float rms = static_cast<float>(std::sqrt(squares / kValues));
    for (int k = 0; k < kVectors; ++k) {
      weight[k] = (x[k] < 0.0f ? -x[k] : x[k]) + rms;
      sum_w += lane_sum(weight[k]);
    }
  }
};

/// sum of weight * (x - value)^2, value = scale * level - minimum, level the nearest of low ..
/// high.
template <int kValues>
double grid_error(const FitValues<kValues>& values, float scale, float minimum, float low,
                  float high) {
  const float inverse = reciprocal(scale);
  FitLanes sum{};
  for (int k = 0; k < values.kVectors; ++k) {
    const FitLanes level = nearest_level((values.x[k] + minimum) * inverse, low, high);
    const FitLanes error = values.x[k] - (level * scale - minimum);
    sum += values.weight[k] * error * error;
  }
  return lane_sum(sum);
}

/// value = scale * level - minimum
struct GridFit {
  float scale = 0.0f;
  float minimum = 0.0f;
  double error = std::numeric_limits<double>::infinity();
};

/// The weighted least-squares scale and minimum for the levels that `start` rounds to. The minimum
/// is never negative, as the formats store it: where it would be, the line goes through zero.
template <int kValues>
GridFit refit_with_minimum(const FitValues<kValues>& values, const GridFit& start, float high) {
  const float inverse = reciprocal(start.scale);
  FitLanes wy_lanes{}, wl_lanes{}, wll_lanes{}, wyl_lanes{}, wyy_lanes{};
  for (int k = 0; k < values.kVectors; ++k) {
    const FitLanes w = values.weight[k];
    const FitLanes y = values.x[k] + start.minimum;  // small where the error is small
    const FitLanes level = nearest_level(y * inverse, 0.0f, high);
    const FitLanes wl = w * level, wy = w * y;
    wl_lanes += wl;
    wy_lanes += wy;
    wll_lanes += wl * level;
    wyl_lanes += wl * y;
    wyy_lanes += wy * y;
  }
  const double w = values.sum_w, wl = lane_sum(wl_lanes), wy = lane_sum(wy_lanes);
  const double wll = lane_sum(wll_lanes), wyl = lane_sum(wyl_lanes), wyy = lane_sum(wyy_lanes);

  // y = scale * level - shift
  double scale = static_cast<double>(start.scale), shift = 0;
  const double determinant = w * wll - wl * wl;
  if (determinant > 0) {
    scale = (w * wyl - wy * wl) / determinant;
    shift = (wl * wyl - wll * wy) / determinant;
  }
  if (static_cast<double>(start.minimum) + shift < 0) {
    shift = -static_cast<double>(start.minimum);
    scale = wll > 0 ? (wyl + shift * wl) / wll : 0.0;
  }
  return {.scale = static_cast<float>(scale),
          .minimum = static_cast<float>(static_cast<double>(start.minimum) + shift),
          .error = wyy - 2 * scale * wyl + 2 * shift * wy + scale * scale * wll -
                   2 * scale * shift * wl + shift * shift * w};
}

/// Levels 0 .. high with a minimum that is not negative.
template <int kValues>
GridFit fit_with_minimum(const FitValues<kValues>& values, float high) {
  float least = 0.0f, most = values.x[0][0];  // zero is always among the values that can be stored
  for (const FitLanes& x : values.x) {
    for (int i = 0; i < kFitLanes; ++i) {
      least = x[i] < least ? x[i] : least;
      most = x[i] > most ? x[i] : most;
    }
  }
  GridFit best;
  if (!(most > least)) {  // one value that is not positive, or NaN
    if (most == least) best.minimum = -least;
    return best;
  }
  for (int tenths = -12; tenths <= 10; tenths += 2) {
    const GridFit start = {.scale = (most - least) / (high + static_cast<float>(tenths) / 10),
                           .minimum = -least};
    const GridFit fit = refit_with_minimum(values, start, high);
    if (fit.error < best.error) best = fit;
  }
  for (int round = 0; round < 4; ++round) {
    const GridFit fit = refit_with_minimum(values, best, high);
    if (!(fit.error < best.error)) break;
    best = fit;
  }
  return best;
}

/// Levels low .. high around zero, low + high < 0: the value of largest magnitude takes the side
/// that has one level more, so that the scale may be negative.
template <int kValues>
GridFit fit_through_zero(const FitValues<kValues>& values, float low, float high) {
  float extreme = 0.0f;
  for (const FitLanes& x : values.x) {
    for (int i = 0; i < kFitLanes; ++i) {
      if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
    }
  }
  GridFit best;
  if (extreme == 0.0f) return best;
  const auto refit = [&](float start) {
    const float inverse = reciprocal(start);
    FitLanes wxl_lanes{}, wll_lanes{};
    for (int k = 0; k < values.kVectors; ++k) {
      const FitLanes level = nearest_level(values.x[k] * inverse, low, high);
      const FitLanes wl = values.weight[k] * level;
      wxl_lanes += wl * values.x[k];
      wll_lanes += wl * level;
    }
    const double wxl = lane_sum(wxl_lanes), wll = lane_sum(wll_lanes);
    const double scale = wll > 0 ? wxl / wll : 0.0;
    // Less the sum of w * x^2, the same for all.
    return GridFit{.scale = static_cast<float>(scale), .error = -scale * wxl};
  };
  for (int tenths = -12; tenths <= 12; tenths += 2) {
    const GridFit fit = refit(extreme / (low + static_cast<float>(tenths) / 10));
    if (fit.error < best.error) best = fit;
  }
  for (int round = 0; round < 4; ++round) {
    const GridFit fit = refit(best.scale);
    if (!(fit.error < best.error)) break;
    best = fit;
  }
  return best;
}

}  // namespace quern
