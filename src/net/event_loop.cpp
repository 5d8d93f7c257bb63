#include "net/event_loop.h"

#include <chrono>

#include "net/event_loop_impl.h"

namespace quern {

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
  impl_->context.run();
  impl_->context.restart();  // a stop() that came before this run() counted for it
}

void EventLoop::stop() { impl_->context.stop(); }

void EventLoop::post(std::function<void()> work) { asio::post(impl_->context, std::move(work)); }

void EventLoop::at(int64_t at_ns, std::function<void()> work) {
  // Both count CLOCK_MONOTONIC from the same start.
  auto timer = std::make_shared<asio::steady_timer>(
      impl_->context, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(at_ns)));
  timer->async_wait([timer, work = std::move(work)](SystemError error) {
    if (!error) work();
  });
}

}  // namespace quern
