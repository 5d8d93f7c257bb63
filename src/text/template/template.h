#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"

namespace quern {

namespace jinja {
struct Code;
}

/// A date and time of day without a zone, as strftime_now shows it.
struct CivilTime {
  int year = 1970, month = 1, day = 1;  // month and day count from 1
  int hour = 0, minute = 0, second = 0;

  /// "2024-07-26T12:00:00", also without the time of day; kUsage for anything else.
  static Result<CivilTime> parse(std::string_view text);
  /// The wall clock of this machine in its own time zone.
  static CivilTime local_now();
};

/// What one rendering may use before it is stopped with kBadInput.
struct TemplateLimits {
  int64_t steps = 10'000'000;
  int64_t bytes = int64_t{64} << 20;  // variables, values in use and output together
  int depth = 200;                    // macro calls within macro calls, values within values
  int64_t milliseconds = 1'000;
};

struct RenderOptions {
  std::optional<CivilTime> now = std::nullopt;  // what strftime_now shows; the local time if absent
  TemplateLimits limits = {};
  const Clock* clock = nullptr;  // for the time limit; the machine's own if null
};

/// Adds what transformers always gives a template: `tools` and `documents`, there and none where
/// nobody gave them.
void add_absent_variables(Json& variables);

/// A run of rendered bytes of one origin. `from_variables` marks what a user wrote: such bytes are
/// tokenised as plain text, so that a special token spelled out in a message stays text.
struct Segment {
  std::string text;
  bool from_variables = false;
  friend bool operator==(const Segment&, const Segment&) = default;
};

/// A chat template in Hugging Face's dialect of Jinja: Jinja 3.1 in its immutable sandbox with
/// trim_blocks, lstrip_blocks, loop controls, the `generation` block, json.dumps as `tojson`,
/// raise_exception and strftime_now. Immutable once parsed; many threads may render at once.
class ChatTemplate {
 public:
  /// `what` leads every message ("tokenizer_config.json"). Every failure here and in render() is
  /// kBadInput and names the line. What the dialect has but quern does not is refused here by name.
  static Result<ChatTemplate> parse(std::string source, std::string what);

  /// `variables` is an object: messages, tools, add_generation_prompt, bos_token and so on.
  Result<std::string> render(const Json& variables, const RenderOptions& options = {}) const;

  /// The same text cut where its origin changes. From variables are all strings (keys included)
  /// inside `messages`, `tools` and every other array or object, through concatenation, slicing,
  /// filters and tojson. Not: what the template spells out, variables that are plain strings
  /// themselves (bos_token), and a message's `role` where it is a plain word, because templates
  /// build their own special tokens around it ("<|user|>").
  Result<std::vector<Segment>> render_segments(const Json& variables,
                                               const RenderOptions& options = {}) const;

  /// Whether it looks at a variable of that name that it does not set itself, in any branch.
  bool reads(std::string_view variable) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const jinja::Code> code) : code_(std::move(code)) {}

  std::shared_ptr<const jinja::Code> code_;
};

}  // namespace quern
