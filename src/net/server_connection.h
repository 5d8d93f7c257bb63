#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "net/beast.h"
#include "net/connection_set.h"

namespace quern {

/// One client's connection: reads its requests, hands them to the handler one by one, and writes
/// the answers. It is in its set until close().
class ServerConnection {
 public:
  virtual ~ServerConnection() = default;
  virtual void start() = 0;
  /// Instead of start(): says no without having read anything.
  virtual void refuse(int status, std::string_view why) = 0;
  virtual void check_deadlines(int64_t now_ns) = 0;
  virtual void close_if_idle() = 0;
  virtual void close() = 0;
};

/// Over TLS where the set has a certificate.
std::shared_ptr<ServerConnection> make_connection(std::shared_ptr<ConnectionSet> set,
                                                  Tcp::socket socket);

}  // namespace quern
