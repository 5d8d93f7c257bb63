#include "base/ensure.h"

#include <cstdio>
#include <cstdlib>

namespace quern::internal {

void ensure_failed(const char* file, int line, const char* condition, const std::string& message) {
  std::fprintf(stderr, "%s:%d: ENSURE(%s) failed%s%s\nerror: internal: this is a bug in quern\n",
               file, line, condition, message.empty() ? "" : ": ", message.c_str());
  std::abort();
}

}  // namespace quern::internal
