#include "engine/stop_matcher.h"

#include <algorithm>

namespace quern {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    if (stop.empty()) continue;
    Pattern pattern{.text = std::move(stop), .fallback = {}};
    pattern.fallback.reserve(pattern.text.size());
    pattern.fallback.push_back(0);
    // The pattern is matched against itself from its second byte on.
    for (size_t i = 1; i < pattern.text.size(); ++i) {
      pattern.advance(pattern.text[i]);
      pattern.fallback.push_back(pattern.matched);
    }
    pattern.matched = 0;
    patterns_.push_back(std::move(pattern));
  }
}

void StopMatcher::Pattern::advance(char byte) {
  while (matched > 0 && text[matched] != byte) matched = fallback[matched - 1];
  if (text[matched] == byte) ++matched;
}

std::string_view StopMatcher::push(std::string_view piece) {
  out_.clear();
  if (stopped_by_) return out_;
  held_ += piece;
  for (size_t i = held_.size() - piece.size(); i < held_.size(); ++i) {
    size_t longest = 0;
    for (size_t p = 0; p < patterns_.size(); ++p) {
      patterns_[p].advance(held_[i]);
      if (patterns_[p].matched == patterns_[p].text.size() && patterns_[p].matched > longest) {
        stopped_by_ = p;
        longest = patterns_[p].matched;
      }
    }
    if (stopped_by_) {
      out_.assign(held_, 0, i + 1 - longest);
      held_.clear();
      return out_;
    }
  }
  size_t possible = 0;
  for (const Pattern& pattern : patterns_) possible = std::max(possible, pattern.matched);
  const size_t certain = held_.size() - possible;
  out_.assign(held_, 0, certain);
  held_.erase(0, certain);
  return out_;
}

std::string_view StopMatcher::pass(std::string_view piece) {
  out_ = held_;
  out_ += piece;
  held_.clear();
  for (Pattern& pattern : patterns_) pattern.matched = 0;
  return out_;
}

std::string_view StopMatcher::finish() { return pass({}); }

std::optional<std::string_view> StopMatcher::stopped_by() const {
  if (!stopped_by_) return std::nullopt;
  return patterns_[*stopped_by_].text;
}

}  // namespace quern
