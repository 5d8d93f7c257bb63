#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace quern {

/// The last few of a series in order of size: what one slow step cannot move.
template <size_t kMost>
class RecentValues {
 public:
  void add(double value) {
    values_[next_] = value;
    next_ = (next_ + 1) % kMost;
    count_ = std::min(count_ + 1, kMost);
  }
  bool empty() const { return count_ == 0; }
  /// The value that a share of the others is not above: 0 the smallest, 0.5 the median (of an even
  /// number the smaller of the two in the middle), 1 the largest.
  double value_at(double share) const {
    std::array<double, kMost> sorted = values_;
    const auto place = sorted.begin() +
                       static_cast<std::ptrdiff_t>(share * static_cast<double>(count_ - 1) + 1e-9);
    std::nth_element(sorted.begin(), place, sorted.begin() + static_cast<std::ptrdiff_t>(count_));
    return *place;
  }

 private:
  std::array<double, kMost> values_{};
  size_t count_ = 0;
  size_t next_ = 0;
};

struct StepPacerOptions {
  double max_stretch = 0;  // 0: off, every step may have all prompt tokens
  int64_t max_prompt_tokens = 0;
  int64_t max_sequences = 0;
};

/// Bounds the prompt tokens of a step so that those who decode keep their pace: a step with prompt
/// tokens is to take at most `max_stretch` times what one without would take.
///
/// It learns two things from the steps as they were measured. What a step takes in which n
/// sequences decode and nobody else computes: the median of the last such steps of each n. What a
/// prompt token adds: a little above the median over the last steps that had some. The second
/// changes with the number of tokens, for a step pays something for having any at all, and with
/// their depth; but each bound is answered by a measurement at that bound, so it settles where the
/// bound is met.
///
/// The bound is for a prompt alone. What the prompts behind it take, those who decode lose in any
/// case, now or later; how soon each of them is answered is what can be chosen. So they stretch the
/// step, the more the fewer answers are being written.
///
/// Where prompts follow each other without a pause no step is without prompt tokens, and contexts
/// grow meanwhile: then now and then a step is given none, to measure anew. Otherwise a step may
/// always have kFloor, whatever the bound says, so prompts get done.
///
/// Deterministic in what it is told; takes memory at construction only.
class StepPacer {
 public:
  static constexpr int64_t kFloor = 4;

  explicit StepPacer(const StepPacerOptions& options);

  /// Prompt tokens that the next step may have beside `num_decoding` sequences that decode, for the
  /// `num_prompts` that are not computed yet.
  int64_t budget(int64_t num_decoding, int64_t num_prompts = 1);
  /// What a step of these took. Steps that follow budget() are told in order.
  void learn(int64_t num_decoding, int64_t prompt_tokens, int64_t step_ns);

  /// What a step in which so many decode and nobody else computes is thought to take; 0: unknown.
  double decode_ns(int64_t num_decoding) const;
  static int64_t bytes(int64_t max_sequences);

 private:
  /// Steps without prompt tokens of one number of decoding sequences.
  struct DecodeSteps {
    RecentValues<5> ns;
    int64_t last_step = 0;  // when the last one was
  };

  bool is_worth_measuring(int64_t num_decoding) const;

  StepPacerOptions options_;
  std::vector<DecodeSteps> decode_steps_;  // [max_sequences + 1]
  RecentValues<15> token_ns_;              // that each prompt token added
  RecentValues<15> token_counts_;          // of the same steps
  RecentValues<15> alone_token_ns_;  // of steps in which nobody decodes; until there is better
  int64_t num_steps_ = 0;
  int64_t last_measured_step_ = 0;  // that was given no prompt tokens
  int64_t last_budget_ = 0;
};

}  // namespace quern
