#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/trace.h"

namespace quern {

/// A request as a trace shows it, a row of its own: waiting, prompt, answer. Times by the clock of
/// the events; what did not come to pass is -1.
struct TracedRequest {
  uint64_t id = 0;
  int64_t submitted_ns = -1;
  int64_t scheduled_ns = -1;
  int64_t first_token_ns = -1;
  int64_t finished_ns = -1;
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
};

/// Events and requests as one JSON object that Perfetto and chrome://tracing open: spans of the
/// engine's thread nested on one track, counters, requests as nestable async spans.
/// `num_dropped`: events that found no place, said in the object's metadata.
/// Source: "Trace Event Format" of the Chromium project.
std::string chrome_trace(std::span<const Trace::Event> events,
                         std::span<const TracedRequest> requests, int64_t num_dropped);

}  // namespace quern
