#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/request.h"

namespace quern {

/// Gauges as they are at the moment of asking.
struct MetricGauges {
  int64_t requests_running = 0;
  int64_t requests_waiting = 0;
  double kv_cache_usage = 0;  // 0 .. 1
  int64_t preemptions = 0;
  int64_t steps = 0;
  int64_t connections = 0;
  int64_t resident_bytes = 0;
  int64_t last_step_sequences = 0;
  double schedule_s = 0, forward_s = 0, deliver_s = 0;  // of all steps so far
};

/// What the server counts, in Prometheus' text format; each metric under quern's own name and under
/// those that dashboards of vLLM and llama.cpp know. On the loop's thread.
/// Source: Prometheus exposition format 0.0.4.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  /// The label of every metric, and what never changes.
  void set_model(const std::string& model_name, int64_t block_size, int64_t num_blocks);

  /// A token of an answer, `gap_ns` after the one before; the first has index 1 and counts from the
  /// request's arrival.
  void on_token(int64_t gap_ns, int64_t index);
  /// An answer has ended whose request came at `received_ns`.
  void on_answer(const RequestResult& result, int64_t received_ns, int64_t max_tokens);
  /// An answer whose client had left.
  void on_abort();
  void on_http(std::string_view handler, std::string_view method, int status);
  void on_loop_lag(int64_t lag_ns);

  std::string text(const MetricGauges& gauges);

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
