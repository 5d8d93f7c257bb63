#pragma once

#include <span>

namespace quern {

/// The middle value, or the mean of the two middle ones; 0 for no values.
double median(std::span<const double> values);
double mean(std::span<const double> values);
/// The sample standard deviation (n - 1); 0 below two values.
double standard_deviation(std::span<const double> values);
/// The value below which a share `p` of all lie, by linear interpolation between ranks (type 7 of
/// Hyndman and Fan 1996); 0 for no values. `p` from 0 to 1.
double percentile(std::span<const double> values, double p);

}  // namespace quern
