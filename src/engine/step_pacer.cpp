#include "engine/step_pacer.h"

namespace quern {

namespace {

/// Of the last costs of a prompt token the one that is believed: a little above the median, since
/// a step too long is worse than one too short.
constexpr double kCostShare = 0.6;

/// How many answers' pace each prompt behind the first outweighs: "A burst is let in" in
/// docs/PERFORMANCE.md.
constexpr int64_t kAnswersPerPrompt = 16;

/// Steps after which a measurement no longer counts as one of the present contexts, and the least
/// between two steps that are kept free of prompt tokens for it: about two in a hundred, or six
/// where the number of sequences changes all the time.
constexpr int64_t kFreshSteps = 48;
constexpr int64_t kStepsBetweenMeasurements = 16;
/// Steps after which what was measured is dropped for the first new measurement.
constexpr int64_t kForgottenSteps = 6 * kFreshSteps;

}  // namespace

StepPacer::StepPacer(const StepPacerOptions& options)
    : options_(options),
      decode_steps_(options.max_stretch > 0 ? static_cast<size_t>(options.max_sequences) + 1 : 0) {}

int64_t StepPacer::bytes(int64_t max_sequences) {
  return (max_sequences + 1) * static_cast<int64_t>(sizeof(DecodeSteps));
}

double StepPacer::decode_ns(int64_t num_decoding) const {
  const auto known = [&](int64_t n) { return !decode_steps_[static_cast<size_t>(n)].ns.empty(); };
  const auto median = [&](int64_t n) {
    return decode_steps_[static_cast<size_t>(n)].ns.value_at(0.5);
  };
  const auto most = static_cast<int64_t>(decode_steps_.size()) - 1;
  int64_t below = num_decoding, above = num_decoding;
  while (below > 0 && !known(below)) --below;
  while (above <= most && !known(above)) ++above;
  if (below == num_decoding) return median(below);
  if (below > 0 && above <= most) {
    const double share =
        static_cast<double>(num_decoding - below) / static_cast<double>(above - below);
    return median(below) + share * (median(above) - median(below));
  }
  if (below > 0) return median(below);
  return above <= most ? median(above) : 0;
}

bool StepPacer::is_worth_measuring(int64_t num_decoding) const {
  const DecodeSteps& steps = decode_steps_[static_cast<size_t>(num_decoding)];
  if (!steps.ns.empty() && num_steps_ - steps.last_step < kFreshSteps) return false;
  return num_steps_ - last_measured_step_ >= kStepsBetweenMeasurements ||
         decode_ns(num_decoding) == 0;
}

int64_t StepPacer::budget(int64_t num_decoding, int64_t num_prompts) {
  last_budget_ = options_.max_prompt_tokens;
  if (options_.max_stretch <= 0 || num_decoding == 0) return last_budget_;
  if (is_worth_measuring(num_decoding)) {
    last_measured_step_ = num_steps_;
    return last_budget_ = 0;
  }
  const double crowd = std::max(1.0, static_cast<double>(kAnswersPerPrompt * (num_prompts - 1)) /
                                         static_cast<double>(num_decoding));
  const double room_ns = (options_.max_stretch - 1) * decode_ns(num_decoding) * crowd;
  const RecentValues<15>& costs = token_ns_.empty() ? alone_token_ns_ : token_ns_;
  double tokens = static_cast<double>(kFloor);
  if (!costs.empty()) {
    // Not by leaps: what twice as many cost is to be measured before four times as many are given.
    const double most =
        token_counts_.empty() ? room_ns : 2 * std::max<double>(kFloor, token_counts_.value_at(1));
    tokens = std::min(most, room_ns / std::max(costs.value_at(kCostShare), 1e-3));
  }
  tokens = std::min(tokens, static_cast<double>(options_.max_prompt_tokens));
  last_budget_ =
      std::max(static_cast<int64_t>(tokens), std::min<int64_t>(kFloor, options_.max_prompt_tokens));
  return last_budget_;
}

void StepPacer::learn(int64_t num_decoding, int64_t prompt_tokens, int64_t step_ns) {
  if (options_.max_stretch <= 0 || step_ns <= 0) return;
  ++num_steps_;
  const auto ns = static_cast<double>(step_ns);
  const auto tokens = static_cast<double>(prompt_tokens);
  if (prompt_tokens == 0) {
    DecodeSteps& steps = decode_steps_[static_cast<size_t>(num_decoding)];
    if (num_steps_ - steps.last_step >= kForgottenSteps) steps.ns = {};
    steps.ns.add(ns);
    steps.last_step = num_steps_;
    return;
  }
  if (num_decoding == 0) {
    if (prompt_tokens >= kFloor) alone_token_ns_.add(ns / tokens);
    return;
  }
  const double base = decode_ns(num_decoding);
  if (base == 0) return;
  // A few tokens, the end of a prompt, tell little of what many cost; unless even they were too
  // many.
  const bool tells = 2 * prompt_tokens >= last_budget_ || token_ns_.empty();
  if (!tells && ns <= options_.max_stretch * base) return;
  token_ns_.add((ns - base) / tokens);
  token_counts_.add(tokens);
}

}  // namespace quern
