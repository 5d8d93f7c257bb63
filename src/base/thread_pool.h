#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace quern {

/// How many threads the process may use: the CPUs of its affinity mask, at least 1.
int num_usable_cpus();

/// N threads for short, frequent parallel loops. The thread that calls parallel_for (always the
/// same one at a time) is worker 0, so a pool of one thread starts none.
///
/// Chunks are handed out one by one through an atomic counter and a loop ends when its last chunk
/// has been done, not when every worker has come: a worker that the kernel has taken off its core
/// for a foreign process delays nobody unless it holds a chunk. Workers spin for about 50 us after
/// a loop, since the next one follows at once in a busy step, and then sleep.
class ThreadPool {
 public:
  /// `num_threads` at least 1, the caller included. Workers are pinned, each to a CPU of its own,
  /// where the pool is as large as the machine; a smaller pool is left to the kernel, because two
  /// such pools would choose the same CPUs.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls body(chunk, worker) once for every chunk in [0, num_chunks), in any order, on any
  /// worker; returns when all have returned. At most kMaxChunks. Not reentrant.
  template <typename Body>
  void parallel_for(int64_t num_chunks, Body&& body) {
    if (num_chunks <= 1 || threads_.empty()) {
      for (int64_t chunk = 0; chunk < num_chunks; ++chunk) body(chunk, 0);
      return;
    }
    using Plain = std::remove_reference_t<Body>;
    run({[](void* context, int64_t chunk, int worker) {
           (*static_cast<Plain*>(context))(chunk, worker);
         },
         const_cast<void*>(static_cast<const void*>(&body))},
        num_chunks);
  }

  static constexpr int64_t kMaxChunks = (1 << 24) - 1;

 private:
  struct Job {
    void (*call)(void* context, int64_t chunk, int worker) = nullptr;
    void* context = nullptr;
  };
  /// Loop number, number of chunks and next chunk in one word, so that a late worker can neither
  /// take a chunk of a loop that has ended nor read the job of one it has no chunk of.
  static constexpr uint64_t kIndexBits = 24;
  static constexpr uint64_t kIndexMask = (uint64_t{1} << kIndexBits) - 1;

  void run(Job job, int64_t num_chunks);
  bool work(int worker);
  void serve(int worker, int cpu);

  alignas(64) std::atomic<uint64_t> next_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) Job job_;
  uint64_t loop_ = 0;
  std::atomic<int> num_sleeping_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
};

}  // namespace quern
