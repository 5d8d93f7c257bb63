#include "measure/chrome_trace.h"

#include <algorithm>

#include "base/cat.h"
#include "base/json.h"

namespace quern {

namespace {

/// Microseconds with nanoseconds behind the point, as the format has times.
std::string micros(int64_t ns) {
  const std::string digits = cat(ns % 1000);
  return cat(ns / 1000, ".", std::string(3 - digits.size(), '0'), digits);
}

class Writer {
 public:
  explicit Writer(int64_t origin_ns) : origin_ns_(origin_ns) {}

  /// One event: its name, phase and time, then whatever else stands in it.
  void add(std::string_view name, char phase, int64_t at_ns, std::string_view rest) {
    text_ += cat(text_.empty() ? "" : ",\n", "{\"name\":", dump_json(Json(name)), ",\"ph\":\"",
                 phase, "\",\"ts\":", micros(at_ns - origin_ns_), ",\"pid\":1", rest, "}");
  }
  /// A nestable async span of a request.
  void add_part(std::string_view name, uint64_t id, int64_t from_ns, int64_t to_ns,
                std::string_view arguments = {}) {
    if (from_ns < 0 || to_ns < from_ns) return;
    const std::string where = cat(",\"tid\":2,\"cat\":\"request\",\"id\":", id);
    add(name, 'b', from_ns, cat(where, arguments));
    add(name, 'e', to_ns, where);
  }
  std::string take() { return std::move(text_); }

 private:
  int64_t origin_ns_;
  std::string text_;
};

}  // namespace

std::string chrome_trace(std::span<const Trace::Event> events,
                         std::span<const TracedRequest> requests, int64_t num_dropped) {
  int64_t origin_ns = INT64_MAX;
  for (const Trace::Event& event : events) origin_ns = std::min(origin_ns, event.begin_ns);
  for (const TracedRequest& request : requests) {
    origin_ns = std::min(origin_ns, request.submitted_ns);
  }
  Writer writer(origin_ns);
  writer.add("thread_name", 'M', origin_ns, ",\"tid\":1,\"args\":{\"name\":\"engine\"}");
  for (const Trace::Event& event : events) {
    if (event.is_counter) {
      writer.add(event.name, 'C', event.begin_ns,
                 cat(",\"tid\":1,\"args\":{\"value\":", event.value, "}"));
    } else {
      writer.add(event.name, 'X', event.begin_ns,
                 cat(",\"tid\":1,\"dur\":", micros(event.end_ns - event.begin_ns),
                     ",\"args\":{\"value\":", event.value, "}"));
    }
  }
  for (const TracedRequest& request : requests) {
    const std::string tokens = cat(",\"args\":{\"prompt_tokens\":", request.prompt_tokens,
                                   ",\"generated_tokens\":", request.generated_tokens, "}");
    writer.add_part("request", request.id, request.submitted_ns, request.finished_ns, tokens);
    writer.add_part("queue", request.id, request.submitted_ns, request.scheduled_ns);
    writer.add_part("prefill", request.id, request.scheduled_ns, request.first_token_ns);
    writer.add_part("decode", request.id, request.first_token_ns, request.finished_ns);
  }
  return cat("{\"displayTimeUnit\":\"ms\",\"metadata\":{\"dropped_events\":", num_dropped,
             "},\"traceEvents\":[\n", writer.take(), "\n]}\n");
}

}  // namespace quern
