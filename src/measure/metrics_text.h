#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace quern {

/// The samples of one metrics page, by "name{labels}" as they stand there.
/// Source: Prometheus exposition format 0.0.4.
class MetricsText {
 public:
  /// Lines that are no samples are read over.
  explicit MetricsText(std::string_view text);

  /// The sum over all labels of a counter or gauge; nothing where there is none.
  std::optional<double> value(std::string_view name) const;
  /// A quantile of a histogram's observations since `before`, by linear interpolation within its
  /// bucket; nothing where there were none.
  std::optional<double> quantile(std::string_view name, double q, const MetricsText& before) const;

 private:
  /// Upper bounds and what has come up to them, all labels together.
  std::map<double, double> buckets(std::string_view name) const;

  std::map<std::string, double, std::less<>> samples_;
};

}  // namespace quern
