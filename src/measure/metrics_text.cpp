#include "measure/metrics_text.h"

#include <limits>

#include "base/cat.h"
#include "base/numbers.h"

namespace quern {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The name of a sample without its labels.
std::string_view name_of(std::string_view sample) { return sample.substr(0, sample.find('{')); }

/// What stands in le="..".
std::optional<double> bound_of(std::string_view sample) {
  constexpr std::string_view kLabel = "le=\"";
  const size_t at = sample.find(kLabel);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view text = sample.substr(at + kLabel.size());
  text = text.substr(0, text.find('"'));
  return text == "+Inf" ? std::optional(kInfinity) : parse_number(text);
}

}  // namespace

MetricsText::MetricsText(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t space = line.rfind(' ');
    if (line.starts_with('#') || space == std::string_view::npos) continue;
    const std::optional<double> value = parse_number(line.substr(space + 1));
    if (value) samples_.emplace(line.substr(0, space), *value);
  }
}

std::optional<double> MetricsText::value(std::string_view name) const {
  std::optional<double> sum;
  for (auto at = samples_.lower_bound(name); at != samples_.end(); ++at) {
    if (!at->first.starts_with(name)) break;
    if (name_of(at->first) == name) sum = sum.value_or(0) + at->second;
  }
  return sum;
}

std::map<double, double> MetricsText::buckets(std::string_view name) const {
  const std::string bucket = cat(name, "_bucket");
  std::map<double, double> counts;
  for (auto at = samples_.lower_bound(bucket); at != samples_.end(); ++at) {
    if (!at->first.starts_with(bucket)) break;
    const std::optional<double> bound = bound_of(at->first);
    if (name_of(at->first) == bucket && bound) counts[*bound] += at->second;
  }
  return counts;
}

std::optional<double> MetricsText::quantile(std::string_view name, double q,
                                            const MetricsText& before) const {
  std::map<double, double> counts = buckets(name);
  for (const auto& [bound, count] : before.buckets(name)) counts[bound] -= count;
  if (counts.empty() || counts.rbegin()->second <= 0) return std::nullopt;
  const double wanted = q * counts.rbegin()->second;
  double low = 0, below = 0;
  for (const auto& [bound, count] : counts) {
    if (count >= wanted) {
      // Beyond the last edge nothing is known but that.
      if (bound == kInfinity || count == below) return low;
      return low + (bound - low) * (wanted - below) / (count - below);
    }
    low = bound;
    below = count;
  }
  return low;
}

}  // namespace quern
