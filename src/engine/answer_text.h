#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "engine/stop_matcher.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace quern {

/// The text of an answer as it comes: end tokens and, unless wanted, special ones left out, never a
/// broken character, never a piece of a stop string. Set as the request's watcher it ends the
/// answer there.
class AnswerText final : public TokenWatcher {
 public:
  struct Options {
    std::vector<std::string> stop = {};
    SkipSpecial skip = SkipSpecial::kYes;
    int64_t min_tokens = 0;  // no stop string counts in a token up to this one
    /// Each piece of text as soon as it is certain, on the engine's thread; may be empty.
    std::function<void(std::string_view)> on_text = nullptr;
  };
  /// `prompt` is what the answer follows.
  AnswerText(Tokenizer tokenizer, std::span<const int32_t> prompt, Options options);

  std::optional<std::string> on_token(int32_t token_id, int64_t num_generated) override;
  /// To be called once the answer has ended: gives what was held back.
  void finish();

  const std::string& text() const { return text_; }
  std::optional<std::string_view> stopped_by() const { return matcher_.stopped_by(); }

 private:
  void give(std::string_view text);

  Detokenizer detokenizer_;
  StopMatcher matcher_;
  int64_t min_tokens_;
  std::function<void(std::string_view)> on_text_;
  std::string text_;
};

}  // namespace quern
