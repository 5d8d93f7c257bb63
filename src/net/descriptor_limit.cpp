#include "net/descriptor_limit.h"

#include <sys/resource.h>

#include <algorithm>

namespace quern {

int64_t raise_descriptor_limit(int64_t count) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return count;  // no limit is known: try
  const auto wanted = std::min(static_cast<rlim_t>(count), limit.rlim_max);
  if (wanted > limit.rlim_cur) {
    const rlimit raised{.rlim_cur = wanted, .rlim_max = limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return static_cast<int64_t>(std::min(limit.rlim_cur, static_cast<rlim_t>(INT64_MAX)));
}

}  // namespace quern
