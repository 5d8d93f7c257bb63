#include "base/trace.h"

#include <algorithm>

#include "base/ensure.h"

namespace quern {

void Trace::start(int64_t capacity) {
  ENSURE(capacity >= 0);
  if (capacity > capacity_) {
    events_ = std::make_unique<Event[]>(static_cast<size_t>(capacity));
    capacity_ = capacity;
  }
  num_added_.store(0);
  on_.store(true);
}

std::span<const Trace::Event> Trace::events() const {
  return {events_.get(), static_cast<size_t>(std::min(num_added_.load(), capacity_))};
}

int64_t Trace::num_dropped() const { return std::max<int64_t>(0, num_added_.load() - capacity_); }

void Trace::add(const Event& event) {
  if (!on()) return;
  const int64_t place = num_added_.fetch_add(1, std::memory_order_relaxed);
  if (place < capacity_) events_[static_cast<size_t>(place)] = event;
}

}  // namespace quern
