#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/cat.h"
#include "base/ensure.h"

namespace quern {

namespace {

using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

/// vLLM's own edges with finer ones below: a small model answers within a millisecond.
Buckets seconds() {
  return {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.005, 0.006, 0.008, 0.01,  0.02,   0.025,
          0.04,   0.05,   0.06,   0.075, 0.08,  0.1,   0.15,  0.2,   0.25,  0.3,   0.4,    0.5,
          0.75,   0.8,    1.0,    1.5,   2.0,   2.5,   5.0,   7.5,   10.0,  15.0,  20.0,   30.0,
          40.0,   50.0,   60.0,   80.0,  120.0, 160.0, 240.0, 480.0, 640.0, 960.0, 1920.0, 2560.0};
}

/// 1, 2, 5, 10, .. up to a million.
Buckets tokens() {
  Buckets edges;
  for (double ten = 1; ten <= 100'000; ten *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) edges.push_back(ten * step);
  }
  edges.push_back(1'000'000);
  return edges;
}

/// The names under which others know a metric of ours.
struct Alias {
  std::string_view ours, theirs;
};
constexpr Alias kAliases[] = {
    {"quern_num_requests_running", "vllm:num_requests_running"},
    {"quern_num_requests_running", "llamacpp:requests_processing"},
    {"quern_num_requests_waiting", "vllm:num_requests_waiting"},
    {"quern_num_requests_waiting", "llamacpp:requests_deferred"},
    {"quern_kv_cache_usage_ratio", "vllm:kv_cache_usage_perc"},
    {"quern_kv_cache_usage_ratio", "vllm:gpu_cache_usage_perc"},
    {"quern_kv_cache_usage_ratio", "llamacpp:kv_cache_usage_ratio"},
    {"quern_cache_config_info", "vllm:cache_config_info"},
    {"quern_prefix_cache_queries_total", "vllm:prefix_cache_queries_total"},
    {"quern_prefix_cache_hits_total", "vllm:prefix_cache_hits_total"},
    {"quern_prompt_tokens_total", "vllm:prompt_tokens_total"},
    {"quern_prompt_tokens_total", "llamacpp:prompt_tokens_total"},
    {"quern_generation_tokens_total", "vllm:generation_tokens_total"},
    {"quern_generation_tokens_total", "llamacpp:tokens_predicted_total"},
    {"quern_request_success_total", "vllm:request_success_total"},
    {"quern_preemptions_total", "vllm:num_preemptions_total"},
    {"quern_time_to_first_token_seconds", "vllm:time_to_first_token_seconds"},
    {"quern_inter_token_latency_seconds", "vllm:inter_token_latency_seconds"},
    {"quern_time_per_output_token_seconds", "vllm:time_per_output_token_seconds"},
    {"quern_e2e_request_latency_seconds", "vllm:e2e_request_latency_seconds"},
    {"quern_request_queue_time_seconds", "vllm:request_queue_time_seconds"},
    {"quern_request_prefill_time_seconds", "vllm:request_prefill_time_seconds"},
    {"quern_request_decode_time_seconds", "vllm:request_decode_time_seconds"},
    {"quern_request_inference_time_seconds", "vllm:request_inference_time_seconds"},
    {"quern_request_prompt_tokens", "vllm:request_prompt_tokens"},
    {"quern_request_generation_tokens", "vllm:request_generation_tokens"},
    {"quern_request_params_max_tokens", "vllm:request_params_max_tokens"},
};

}  // namespace

struct Metrics::Impl {
  using Labels = prometheus::Labels;

  Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels,
                                                                                     buckets);
  }
  prometheus::Counter& counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
  }
  prometheus::Gauge& gauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
  }

  explicit Impl(Labels its_labels) : labels(std::move(its_labels)) {}

  prometheus::Registry registry;
  Labels labels;

  prometheus::Gauge& running = gauge("quern_num_requests_running", "Requests in the batch.");
  prometheus::Gauge& waiting =
      gauge("quern_num_requests_waiting", "Requests that wait for a place.");
  prometheus::Gauge& kv_usage =
      gauge("quern_kv_cache_usage_ratio", "Blocks of keys and values that sequences hold, 0 to 1.");
  prometheus::Gauge& connections = gauge("quern_http_connections", "Open connections.");
  prometheus::Gauge& resident =
      gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
  prometheus::Gauge& preemptions =
      gauge("quern_preemptions_total", "Sequences taken off for lack of blocks.");
  prometheus::Gauge& steps = gauge("quern_steps_total", "Steps of the engine.");
  prometheus::Gauge& batch = gauge("quern_batch_sequences", "Sequences of the last step.");
  prometheus::Gauge& schedule =
      gauge("quern_step_schedule_seconds_total", "Time of steps: making the plan.");
  prometheus::Gauge& forward =
      gauge("quern_step_forward_seconds_total", "Time of steps: the executor.");
  prometheus::Gauge& deliver = gauge("quern_step_deliver_seconds_total",
                                     "Time of steps: choosing tokens and giving them away.");
  prometheus::Counter& prefix_queries =
      counter("quern_prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.");
  prometheus::Counter& prefix_hits =
      counter("quern_prefix_cache_hits_total", "Prompt tokens found there.");
  prometheus::Counter& prompt_tokens = counter("quern_prompt_tokens_total", "Prompt tokens.");
  prometheus::Counter& generation_tokens =
      counter("quern_generation_tokens_total", "Tokens of answers.");
  prometheus::Family<prometheus::Counter>& success = prometheus::BuildCounter()
                                                         .Name("quern_request_success_total")
                                                         .Help("Requests that ended, by reason.")
                                                         .Register(registry);
  prometheus::Family<prometheus::Counter>& http = prometheus::BuildCounter()
                                                      .Name("http_requests_total")
                                                      .Help("Answers by route, method and status.")
                                                      .Register(registry);
  Histogram& ttft = histogram("quern_time_to_first_token_seconds",
                              "From a request's arrival to its first token.", seconds());
  Histogram& itl = histogram("quern_inter_token_latency_seconds",
                             "Between two tokens of one answer.", seconds());
  Histogram& tpot = histogram("quern_time_per_output_token_seconds",
                              "Mean of a request's time between tokens.", seconds());
  Histogram& e2e = histogram("quern_e2e_request_latency_seconds",
                             "From a request's arrival to its last token.", seconds());
  Histogram& queue = histogram("quern_request_queue_time_seconds",
                               "From submission to the first step.", seconds());
  Histogram& prefill = histogram("quern_request_prefill_time_seconds",
                                 "From the first step to the first token.", seconds());
  Histogram& decode = histogram("quern_request_decode_time_seconds",
                                "From the first token to the last.", seconds());
  Histogram& inference = histogram("quern_request_inference_time_seconds",
                                   "From the first step to the last token.", seconds());
  Histogram& lag =
      histogram("quern_loop_lag_seconds", "How late the I/O loop comes to what is due.", seconds());
  Histogram& request_prompt =
      histogram("quern_request_prompt_tokens", "Prompt tokens of a request.", tokens());
  Histogram& request_generation =
      histogram("quern_request_generation_tokens", "Tokens of an answer.", tokens());
  Histogram& request_max =
      histogram("quern_request_params_max_tokens", "What max_tokens asked for.", tokens());
};

Metrics::Metrics() : impl_(std::make_unique<Impl>(Impl::Labels{{"model_name", ""}})) {}
Metrics::~Metrics() = default;

void Metrics::set_model(const std::string& model_name, int64_t block_size, int64_t num_blocks) {
  impl_ = std::make_unique<Impl>(Impl::Labels{{"model_name", model_name}});
  prometheus::BuildGauge()
      .Name("quern_cache_config_info")
      .Help("The cache of keys and values.")
      .Register(impl_->registry)
      .Add({{"model_name", model_name},
            {"block_size", cat(block_size)},
            {"num_gpu_blocks", cat(num_blocks)}})
      .Set(1);
}

void Metrics::on_token(int64_t gap_ns, int64_t index) {
  (index == 1 ? impl_->ttft : impl_->itl).Observe(static_cast<double>(gap_ns) * 1e-9);
  impl_->generation_tokens.Increment();
}

void Metrics::on_answer(const RequestResult& result, int64_t received_ns, int64_t max_tokens) {
  const RequestTiming& timing = result.timing;
  const auto observe = [](Histogram& histogram, std::optional<double> ms) {
    if (ms) histogram.Observe(*ms * 1e-3);
  };
  const auto generated = static_cast<int64_t>(result.token_ids.size());
  observe(impl_->queue, timing.queue_ms());
  observe(impl_->prefill, timing.prompt_ms());
  observe(impl_->decode, timing.decode_ms());
  observe(impl_->tpot, timing.tpot_ms(generated));
  if (timing.prompt_ms() && timing.decode_ms()) {
    observe(impl_->inference, *timing.prompt_ms() + *timing.decode_ms());
  }
  impl_->e2e.Observe(static_cast<double>(timing.finished_ns - received_ns) * 1e-9);
  impl_->prompt_tokens.Increment(static_cast<double>(result.prompt_tokens));
  impl_->prefix_queries.Increment(static_cast<double>(result.prompt_tokens));
  impl_->prefix_hits.Increment(static_cast<double>(result.cached_tokens));
  impl_->request_prompt.Observe(static_cast<double>(result.prompt_tokens));
  impl_->request_generation.Observe(static_cast<double>(generated));
  impl_->request_max.Observe(static_cast<double>(max_tokens));
  Impl::Labels labels = impl_->labels;
  labels["finished_reason"] = result.finish_reason == FinishReason::kCancelled
                                  ? "abort"
                                  : std::string(finish_reason_name(result.finish_reason));
  impl_->success.Add(labels).Increment();
}

void Metrics::on_abort() {
  Impl::Labels labels = impl_->labels;
  labels["finished_reason"] = "abort";
  impl_->success.Add(labels).Increment();
}

void Metrics::on_http(std::string_view handler, std::string_view method, int status) {
  impl_->http
      .Add({{"handler", std::string(handler)},
            {"method", std::string(method)},
            {"status", cat(status)}})
      .Increment();
}

void Metrics::on_loop_lag(int64_t lag_ns) {
  impl_->lag.Observe(static_cast<double>(lag_ns) * 1e-9);
}

std::string Metrics::text(const MetricGauges& gauges) {
  impl_->running.Set(static_cast<double>(gauges.requests_running));
  impl_->waiting.Set(static_cast<double>(gauges.requests_waiting));
  impl_->kv_usage.Set(gauges.kv_cache_usage);
  impl_->preemptions.Set(static_cast<double>(gauges.preemptions));
  impl_->steps.Set(static_cast<double>(gauges.steps));
  impl_->connections.Set(static_cast<double>(gauges.connections));
  impl_->resident.Set(static_cast<double>(gauges.resident_bytes));
  impl_->batch.Set(static_cast<double>(gauges.last_step_sequences));
  impl_->schedule.Set(gauges.schedule_s);
  impl_->forward.Set(gauges.forward_s);
  impl_->deliver.Set(gauges.deliver_s);

  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  for (prometheus::MetricFamily& family : families) {
    // What the engine counts itself comes as a gauge.
    if (!family.name.ends_with("_total") || family.type != prometheus::MetricType::Gauge) continue;
    family.type = prometheus::MetricType::Counter;
    for (prometheus::ClientMetric& metric : family.metric)
      metric.counter.value = metric.gauge.value;
  }
  for (const auto& [ours, theirs] : kAliases) {
    const auto found = std::ranges::find(families, ours, &prometheus::MetricFamily::name);
    if (found == families.end()) continue;
    prometheus::MetricFamily copy = *found;
    copy.name = theirs;
    families.push_back(std::move(copy));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace quern
