#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "measure/load/load_record.h"

namespace quern {

/// The body of an answer as it came, and when each part of it did.
struct TimedBody {
  struct Part {
    int64_t at_ns;
    size_t end;  // in `bytes`
  };
  std::string bytes;
  std::vector<Part> parts;

  void add(std::string_view part, int64_t at_ns) {
    bytes += part;
    parts.push_back({at_ns, bytes.size()});
  }
};

/// Reads an answer of the OpenAI API, of chat or of completions, of any server, into text, counts
/// and times of a record. kBadInput for what no such server says and for a stream that does not end
/// with [DONE], kSystem for an error that it reports.
Result<void> read_openai_stream(const TimedBody& body, LoadRecord& record);
/// The same of an answer that is no stream: its tokens came when it ended.
Result<void> read_openai_answer(const TimedBody& body, LoadRecord& record);

/// The message of an error body, or its beginning.
std::string error_of_body(std::string_view body);

}  // namespace quern
