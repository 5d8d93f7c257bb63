#pragma once

#include <cstdint>
#include <memory>
#include <unordered_set>

#include "net/beast.h"
#include "net/event_loop.h"
#include "net/http_server.h"

namespace quern {

class ServerConnection;

/// The connections of one server, what they share, and the clock that ends those over time.
struct ConnectionSet : std::enable_shared_from_this<ConnectionSet> {
  ConnectionSet(EventLoop& loop, HttpServerOptions its_options, HttpHandler& its_handler);

  bool uses_tls() const { return !options.certificate_file.empty(); }
  /// Starts a client's connection, or refuses it where there are too many.
  void add(Tcp::socket socket);
  void remove(const std::shared_ptr<ServerConnection>& connection);
  /// Looks at deadlines from now on, for as long as there may be one.
  void sweep_soon();
  /// Those that are idle go, the others after their answer.
  void stop_accepting();
  void close_all();

  HttpServerOptions options;
  HttpHandler& handler;
  asio::ssl::context tls{asio::ssl::context::tls_server};
  asio::steady_timer sweep;
  std::unordered_set<std::shared_ptr<ServerConnection>> open;
  uint64_t body_bytes = 0;  // of requests that are being read
  bool accepting = true;
};

}  // namespace quern
