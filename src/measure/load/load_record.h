#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quern {

/// One request of a load, before it goes out.
struct LoadRequest {
  std::string body;           // JSON
  int64_t arrival_ns = 0;     // from the start; of no meaning in a closed loop
  int64_t prompt_tokens = 0;  // as far as is known without the server
  int64_t max_tokens = 0;     // what the body asks for
  int64_t cancel_after = 0;   // pieces of the answer after which the client leaves; 0: never
};

/// What became of it. Times by steady_clock(); -1: it never came to that.
struct LoadRecord {
  enum class Outcome {
    kCompleted,
    kFailed,
    kRefused,    // the server said that it has no room: status 429 or 503
    kCancelled,  // the client left, as it was meant to
  };

  int64_t index = 0;  // which request it was
  bool is_probe = false;
  Outcome outcome = Outcome::kFailed;
  std::string error = {};  // of what failed or was refused
  int status = 0;          // of the answer's head; 0: there was none
  int64_t intended_ns = -1;
  int64_t released_ns = -1;   // when the bound on requests at once let it go; else intended_ns
  int64_t connected_ns = -1;  // -1 also where a kept connection was used
  int64_t sent_ns = -1;
  int64_t first_byte_ns = -1;
  int64_t end_ns = -1;
  std::vector<int64_t> event_ns = {};  // when each piece of the answer came that held tokens
  int64_t prompt_tokens = 0;           // as the server counts, else as the request says
  int64_t completion_tokens = 0;       // as the server counts, else the pieces
  int64_t cached_tokens = 0;
  int64_t max_tokens = 0;
  bool usage_given = false;
  bool stopped_itself = false;  // finish_reason "stop": an end token may count that is no text
  std::string text = {};

  bool completed() const { return outcome == Outcome::kCompleted; }
  int64_t first_token_ns() const { return event_ns.empty() ? -1 : event_ns.front(); }
  int64_t last_token_ns() const { return event_ns.empty() ? -1 : event_ns.back(); }
};

}  // namespace quern
