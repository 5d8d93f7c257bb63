// What probes, dashboards and benchmarks ask: answered by the loop, never behind the engine's work.

#include "base/cat.h"
#include "base/clock.h"
#include "base/memory.h"
#include "exec/batch.h"
#include "server/api_error.h"
#include "server/endpoints.h"
#include "server/routes.h"

namespace quern {

namespace {

/// Milliseconds that the engine has had work and come to no end of a step; 0 while it gets on.
int64_t stalled_ms(const Service& service) {
  if (service.phase == Service::Phase::kLoading) return 0;
  const EngineSnapshot snapshot = service.served->llm.engine().snapshot();
  if (snapshot.live_requests == 0 || snapshot.last_progress_ns < 0) return 0;
  return (steady_clock().now_ns() - snapshot.last_progress_ns) / 1'000'000;
}

MetricGauges gauges_of(const Service& service) {
  MetricGauges gauges{.resident_bytes = resident_bytes()};
  if (service.num_connections) gauges.connections = service.num_connections();
  if (service.phase == Service::Phase::kLoading) return gauges;
  const EngineSnapshot snapshot = service.served->llm.engine().snapshot();
  gauges.requests_running = snapshot.num_running;
  gauges.requests_waiting = std::max<int64_t>(0, snapshot.live_requests - snapshot.num_running);
  for (const KvGroupCounts& group : snapshot.kv_groups) {
    const double usage = static_cast<double>(group.held()) / static_cast<double>(group.total);
    gauges.kv_cache_usage = std::max(gauges.kv_cache_usage, usage);
  }
  gauges.preemptions = snapshot.scheduler.preemptions;
  gauges.steps = snapshot.stats.steps;
  gauges.schedule_s = static_cast<double>(snapshot.stats.schedule_ns) * 1e-9;
  gauges.forward_s = static_cast<double>(snapshot.stats.forward_ns) * 1e-9;
  gauges.deliver_s = static_cast<double>(snapshot.stats.deliver_ns) * 1e-9;
  gauges.last_step_sequences = snapshot.last_step_sequences;
  return gauges;
}

}  // namespace

void health(Service& service, Call call) {
  if (service.phase == Service::Phase::kLoading) {
    return service.respond(call, busy_response("Loading model", "loading", 1));
  }
  const int64_t stalled = stalled_ms(service);
  if (stalled > service.options.stall_ms) {
    return service.respond(
        call,
        busy_response(cat("the engine has finished no step for ", stalled, " ms"), "stalled", 30));
  }
  service.respond(call, json_response(200, {{"status", "ok"}}));
}

void livez(Service& service, Call call) {
  service.respond(call, json_response(200, {{"status", "ok"}}));
}

void readyz(Service& service, Call call) {
  switch (service.phase.load()) {
    case Service::Phase::kLoading:
      return service.respond(call, busy_response("Loading model", "loading", 1));
    case Service::Phase::kDraining:
      return service.respond(call, busy_response("the server is stopping", "draining", 5));
    case Service::Phase::kReady:
      return service.respond(call, json_response(200, {{"status", "ok"}}));
  }
}

void load(Service& service, Call call) {
  service.respond(call, json_response(200, {{"server_load", service.answers.size()}}));
}

void version(Service& service, Call call) {
  service.respond(call, json_response(200, {{"version", service.options.version}}));
}

void metrics_text(Service& service, Call call) {
  service.respond(call, {.status = 200,
                         .headers = {{"content-type", "text/plain; version=0.0.4; charset=utf-8"}},
                         .body = service.metrics.text(gauges_of(service))});
}

void slots(Service& service, Call call) {
  Json list = Json::array();
  for (const SequenceView& view : service.served->llm.engine().sequences()) {
    list.push_back({{"id", view.slot},
                    {"id_task", view.id},
                    {"n_ctx", service.served->llm.plan().shape.max_model_len},
                    {"is_processing", true},
                    {"state", view.is_decoding ? "decode" : "prefill"},
                    {"priority", view.priority},
                    {"prompt_tokens", view.prompt_tokens},
                    {"cached_tokens", view.cached_tokens},
                    {"computed_tokens", view.computed_tokens},
                    {"n_decoded", view.generated_tokens},
                    {"n_remain", view.max_new_tokens - view.generated_tokens},
                    {"num_preemptions", view.num_preemptions}});
  }
  service.respond(call, json_response(200, list));
}

void account(Service& service, Call call) {
  const Route& route = *find_route(call.head.path, call.head.method);
  const std::string id = path_id(route, call.head.path);
  for (const RequestAccount& found : service.accounts) {
    // One tenant's requests are nothing to another.
    if (found.id != id || found.tenant != call.tenant) continue;
    Json parts = Json::object();
    for (const auto& [name, ms] : found.parts) parts[std::string(name)] = ms;
    return service.respond(call, json_response(200, {{"id", found.id},
                                                     {"total_ms", found.total_ms},
                                                     {"parts", std::move(parts)}}));
  }
  service.respond(call,
                  api_error(404,
                            cat("no request ", dump_json(Json(id)), " has ended lately; the last ",
                                Service::kMostAccounts, " are kept"),
                            "id", "request_not_found"));
}

void reset_prefix_cache(Service& service, Call call) {
  service.served->llm.engine().reset_prefix_cache();
  service.respond(call, json_response(200, {{"status", "ok"}}));
}

}  // namespace quern
