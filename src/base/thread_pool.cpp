#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include "base/clock.h"
#include "base/ensure.h"

namespace quern {

namespace {

constexpr int64_t kSpinNs = 50'000;
constexpr int kPausesPerLook = 16;  // about 1 us between looks at the clock

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/// The CPUs this thread may run on, ascending.
std::vector<int> usable_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace

int num_usable_cpus() {
  const size_t count = usable_cpus().size();
  return count == 0 ? 1 : static_cast<int>(count);
}

ThreadPool::ThreadPool(int num_threads) {
  ENSURE(num_threads >= 1, "a pool of ", num_threads, " threads");
  const std::vector<int> cpus = usable_cpus();
  const bool pin = static_cast<size_t>(num_threads) == cpus.size();
  threads_.reserve(static_cast<size_t>(num_threads) - 1);
  for (int worker = 1; worker < num_threads; ++worker) {
    const int cpu = pin ? cpus[static_cast<size_t>(worker)] : -1;
    threads_.emplace_back([this, worker, cpu] { serve(worker, cpu); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(Job job, int64_t num_chunks) {
  ENSURE(num_chunks <= kMaxChunks, "a parallel loop of ", num_chunks, " chunks");
  // No worker reads job_ now: it does so only while it holds a chunk, and all chunks of the last
  // loop are done.
  job_ = job;
  done_.store(0, std::memory_order_relaxed);
  ++loop_;
  // Sequentially consistent with num_sleeping_: either a worker about to sleep sees this loop or
  // this thread sees that it sleeps.
  next_.store(loop_ << (2 * kIndexBits) | static_cast<uint64_t>(num_chunks) << kIndexBits);
  if (num_sleeping_.load() > 0) {
    {
      const std::lock_guard lock(mutex_);
    }
    wake_.notify_all();
  }
  work(0);
  for (int looks = 0; done_.load(std::memory_order_acquire) != num_chunks; ++looks) {
    // The worker that holds the last chunk may need this very core.
    if (looks < 1000) {
      pause_cpu();
    } else {
      sched_yield();
    }
  }
}

/// Does chunks of the current loop until none is left; false where there was none at all.
bool ThreadPool::work(int worker) {
  bool any = false;
  while (true) {
    // Looking first keeps late workers from counting the index up for nothing.
    const uint64_t seen = next_.load(std::memory_order_relaxed);
    if ((seen & kIndexMask) >= (seen >> kIndexBits & kIndexMask)) return any;
    const uint64_t ticket = next_.fetch_add(1, std::memory_order_acq_rel);
    const uint64_t chunk = ticket & kIndexMask;
    if (chunk >= (ticket >> kIndexBits & kIndexMask)) return any;
    any = true;
    job_.call(job_.context, static_cast<int64_t>(chunk), worker);
    done_.fetch_add(1, std::memory_order_acq_rel);
  }
}

void ThreadPool::serve(int worker, int cpu) {
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    // A refusal (a container's limits) costs speed only.
    (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
  }
  const auto loop_of = [this] { return next_.load() >> (2 * kIndexBits); };
  uint64_t last_loop = 0;
  while (!stopping_.load(std::memory_order_relaxed)) {
    const int64_t spin_end = steady_clock().now_ns() + kSpinNs;
    while (loop_of() == last_loop && !stopping_.load(std::memory_order_relaxed)) {
      for (int i = 0; i < kPausesPerLook; ++i) pause_cpu();
      if (steady_clock().now_ns() < spin_end) continue;
      std::unique_lock lock(mutex_);
      num_sleeping_.fetch_add(1);
      wake_.wait(lock, [&] { return stopping_.load() || loop_of() != last_loop; });
      num_sleeping_.fetch_sub(1);
    }
    last_loop = loop_of();
    work(worker);
  }
}

}  // namespace quern
