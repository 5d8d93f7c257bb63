#include <cstdint>
#include <cstdlib>
#include <string>

#include "text/template/template.h"

namespace {

using quern::ChatTemplate;
using quern::Json;

/// A conversation with everything a template may ask for.
const Json& variables() {
  static const Json value = *quern::parse_json(R"({
    "messages": [
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "Hi \u00e9 <|im_end|>"},
        {"type": "image"}]},
      {"role": "assistant", "content": null, "tool_calls": [
        {"id": "abcdefghi", "type": "function",
         "function": {"name": "add", "arguments": {"a": 1, "b": [2.5, true, null]}}}]},
      {"role": "tool", "tool_call_id": "abcdefghi", "name": "add", "content": "3"}],
    "tools": [{"type": "function", "function": {"name": "add", "description": "Adds.\n",
      "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}],
    "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>",
    "x": 1, "y": "text", "z": [3, 1, 2], "d": {"b": 1, "a": 2}})",
                                               "variables");
  return value;
}

/// Time stands still, so that two renderings of one template end alike.
struct StoppedClock final : quern::Clock {
  int64_t now_ns() const override { return 0; }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string source(reinterpret_cast<const char*>(data), size);
  const auto parsed = ChatTemplate::parse(source, "fuzz");
  if (!parsed) return 0;
  const StoppedClock clock;
  quern::RenderOptions options;
  options.clock = &clock;
  options.now = *quern::CivilTime::parse("2024-07-26T12:00:00");
  options.limits = {.steps = 20'000, .bytes = 4 << 20, .depth = 50, .milliseconds = 1'000};
  const auto text = parsed->render(variables(), options);
  const auto segments = parsed->render_segments(variables(), options);
  if (text.has_value() != segments.has_value()) std::abort();
  if (!text) {
    if (text.error().code != quern::ErrorCode::kBadInput) std::abort();
    return 0;
  }
  std::string joined;
  for (const quern::Segment& segment : *segments) joined += segment.text;
  if (joined != *text) std::abort();
  return 0;
}
