#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace quern {

/// What waits for sockets and times, and calls what has waited for them, on the one thread that is
/// in run().
class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Returns after stop(), or when nothing is left to wait for.
  void run();
  /// From any thread: run() returns after the call that it is in, or at once if it is yet to come.
  void stop();
  /// From any thread: calls `work` soon.
  void post(std::function<void()> work);
  /// On the loop's thread: calls `work` once steady_clock() has come to `at_ns`.
  void at(int64_t at_ns, std::function<void()> work);

  /// What the other files of net/ run on.
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
