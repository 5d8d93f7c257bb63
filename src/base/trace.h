#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/clock.h"

namespace quern {

/// What happened when: spans with begin and end, and counters with a value. Everything a report
/// says about time is made from these. Off until start(); then one event costs two looks at the
/// clock and a few stores, and off it costs one branch that always goes the same way.
///
/// Any thread may add events. Names are string literals: they are kept as pointers.
class Trace {
 public:
  struct Event {
    const char* name = nullptr;
    int64_t begin_ns = 0;
    int64_t end_ns = 0;  // of a counter: begin_ns
    int64_t value = 0;   // a counter's value; of a span what its maker says (a step's index)
    bool is_counter = false;
  };

  explicit Trace(const Clock& clock = steady_clock()) : clock_(clock) {}

  bool on() const { return on_.load(std::memory_order_relaxed); }
  int64_t now_ns() const { return clock_.now_ns(); }

  /// Forgets all events and records from now on, at most `capacity` of them. Not while another
  /// thread adds events.
  void start(int64_t capacity);
  void stop() { on_.store(false); }

  void add_span(const char* name, int64_t begin_ns, int64_t end_ns, int64_t value) {
    add({name, begin_ns, end_ns, value, false});
  }
  void add_counter(const char* name, int64_t value) {
    if (!on()) return;
    const int64_t now = now_ns();
    add({name, now, now, value, true});
  }

  /// What has been recorded, in the order of ending; after stop() and once every adder is done.
  std::span<const Event> events() const;
  /// Events that no longer found a place.
  int64_t num_dropped() const;

 private:
  void add(const Event& event);

  const Clock& clock_;
  std::atomic<bool> on_{false};
  std::atomic<int64_t> num_added_{0};
  int64_t capacity_ = 0;
  std::unique_ptr<Event[]> events_;
};

/// Records the time from its making to its end. `trace` may be nullptr: nobody wants to know.
class TraceSpan {
 public:
  TraceSpan(Trace* trace, const char* name, int64_t value = 0)
      : trace_(trace != nullptr && trace->on() ? trace : nullptr), name_(name), value_(value) {
    if (trace_ != nullptr) [[unlikely]]
      begin_ns_ = trace_->now_ns();
  }
  ~TraceSpan() {
    if (trace_ != nullptr) [[unlikely]] {
      trace_->add_span(name_, begin_ns_, trace_->now_ns(), value_);
    }
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  Trace* trace_;
  const char* name_;
  int64_t value_;
  int64_t begin_ns_ = 0;
};

}  // namespace quern
