#pragma once

#include "base/json.h"
#include "llm/llm.h"
#include "text/tokenizer.h"

namespace quern {

/// The "timings" object of an answer.
Json timings_json(const RequestResult& result, int64_t load_ns);

/// One answer as `run --prompts` prints it. `tokenizer` may be null where ids are all there is.
Json answer_json(const RequestResult& result, const Request& request, int64_t index, const Json& id,
                 const std::string& text, const Tokenizer* tokenizer, int64_t load_ns);

/// The "memory" object: the four parts of the plan, their sum, and the truth so far.
Json memory_json(const RunPlan& plan);

/// Monotonic time at which this process was started by the kernel, to its clock tick (10 ms).
int64_t process_start_ns();

}  // namespace quern
