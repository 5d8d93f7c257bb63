#pragma once

#include <optional>

#include "measure/load/load_run.h"

namespace quern {

/// First tokens by the server's own account: how many there were, and the sum of their times from
/// the request read to the token made.
struct ServerTtft {
  double count = 0;
  double sum_ms = 0;

  ServerTtft since(const ServerTtft& before) const {
    return {.count = count - before.count, .sum_ms = sum_ms - before.sum_ms};
  }
};

/// What quern's server says of that so far at /metrics; nothing of another server, whose metrics
/// begin and end elsewhere, and of one beyond a network, whose time is the network's too.
std::optional<ServerTtft> read_server_ttft(const LoadOptions& load);

}  // namespace quern
