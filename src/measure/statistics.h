#pragma once

#include <span>
#include <utility>

namespace quern {

/// The middle value, or the mean of the two middle ones; 0 for no values.
double median(std::span<const double> values);
double mean(std::span<const double> values);
/// The sample standard deviation (n - 1); 0 below two values.
double standard_deviation(std::span<const double> values);
/// The value below which a share `p` of all lie, by linear interpolation between ranks (type 7 of
/// Hyndman and Fan 1996); 0 for no values. `p` from 0 to 1.
double percentile(std::span<const double> values, double p);
/// Where that value lies with 95 % confidence, by order statistics: the ranks n p +- 1.96 sqrt(n p
/// (1 - p)), rounded up and kept from 1 to n, for 1,000 values and p = 0.99 those from 984 to 997.
std::pair<double, double> percentile_interval(std::span<const double> values, double p);

}  // namespace quern
