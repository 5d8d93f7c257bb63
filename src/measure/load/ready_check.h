#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/http_client.h"
#include "net/url.h"

namespace quern {

struct ReadyCheck {
  Url url;
  std::string api_key = {};
  HttpClientOptions client = {};
  int64_t timeout_ms = 60'000;  // 0: one try
};

/// Asks a server for its models until it answers, and returns their names; none where it has no
/// such list. kSystem where it does not answer in time, or does not take the key.
Result<std::vector<std::string>> wait_for_models(const ReadyCheck& check);

}  // namespace quern
