#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// Takes a stream of server-sent events apart, however its bytes were cut. Of an event only the
/// data counts here; comments (heartbeats), names, ids and retry times are read over.
/// Source: WHATWG HTML, section 9.2.6.
class SseReader {
 public:
  /// An event whose data is longer ends the stream with an error.
  explicit SseReader(size_t most_event_bytes) : most_event_bytes_(most_event_bytes) {}

  /// Calls `on_event` with the data of every event that these bytes complete. kBadInput where an
  /// event or a line grows beyond the limit.
  Result<void> feed(std::string_view bytes, const std::function<void(std::string_view)>& on_event);

 private:
  void end_line(const std::function<void(std::string_view)>& on_event);

  size_t most_event_bytes_;
  std::string line_, data_;
  bool has_data_ = false;
  bool after_cr_ = false;  // a line feed now belongs to the line that has just ended
  bool at_start_ = true;   // where a byte order mark may stand
};

}  // namespace quern
