#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace quern {

/// A few threads for what takes longer than the loop may wait and is no step of the engine:
/// parsing, templates, tokenising. First come, first served.
class TaskQueue {
 public:
  explicit TaskQueue(int num_threads);
  ~TaskQueue() { stop(); }
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  /// Drops what has not begun and waits for what has; nothing runs from then on.
  void stop();
  /// From any thread. How many wait is bounded by whoever pushes.
  void push(std::function<void()> task);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace quern
