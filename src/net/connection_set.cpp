#include "net/connection_set.h"

#include <chrono>
#include <vector>

#include "base/cat.h"
#include "base/clock.h"
#include "net/event_loop_impl.h"
#include "net/server_connection.h"

namespace quern {

namespace {

constexpr std::chrono::milliseconds kSweep{100};  // how often deadlines are looked at

/// Who is closed leaves the set meanwhile.
std::vector<std::shared_ptr<ServerConnection>> all_of(const ConnectionSet& set) {
  return {set.open.begin(), set.open.end()};
}

}  // namespace

ConnectionSet::ConnectionSet(EventLoop& loop, HttpServerOptions its_options,
                             HttpHandler& its_handler)
    : options(std::move(its_options)), handler(its_handler), sweep(loop.impl().context) {}

void ConnectionSet::add(Tcp::socket socket) {
  const bool is_full = static_cast<int64_t>(open.size()) >= options.most_connections;
  if (is_full && uses_tls()) return;  // a refusal would need a handshake first
  const auto connection = make_connection(shared_from_this(), std::move(socket));
  open.insert(connection);
  if (!is_full) return connection->start();
  connection->refuse(
      503, cat("there are ", options.most_connections, " connections already; try again later"));
}

void ConnectionSet::remove(const std::shared_ptr<ServerConnection>& connection) {
  open.erase(connection);
  if (!accepting && open.empty()) sweep.cancel();
}

void ConnectionSet::sweep_soon() {
  sweep.expires_after(kSweep);
  sweep.async_wait([self = shared_from_this()](SystemError error) {
    if (error) return;
    const int64_t now_ns = steady_clock().now_ns();
    for (const auto& connection : all_of(*self)) connection->check_deadlines(now_ns);
    if (self->accepting || !self->open.empty()) self->sweep_soon();
  });
}

void ConnectionSet::stop_accepting() {
  accepting = false;
  for (const auto& connection : all_of(*this)) connection->close_if_idle();
  if (open.empty()) sweep.cancel();
}

void ConnectionSet::close_all() {
  accepting = false;
  sweep.cancel();
  for (const auto& connection : all_of(*this)) connection->close();
}

}  // namespace quern
