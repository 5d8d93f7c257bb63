#pragma once

#include "net/beast.h"
#include "net/event_loop.h"

namespace quern {

struct EventLoop::Impl {
  asio::io_context context{1};
};

}  // namespace quern
