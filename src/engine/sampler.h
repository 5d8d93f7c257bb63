#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sampling_params.h"

namespace quern {

/// Turns a row of logits into a token. What it does, in this order, each step on what the one
/// before has left:
///   repetition, presence and frequency penalties; logit_bias; allowed and banned ids, bad words;
///   temperature; top_k; typical_p; top_p; min_p; one draw.
/// Temperature 0 ends after the banned ids with the largest logit, ties to the lower id.
///
/// The draw is a pure function of (row, params, seed, position, tokens so far): equal inputs give
/// equal tokens in any company. Sums run in double over ascending ids. All memory is taken at
/// construction, none per token.
class Sampler {
 public:
  explicit Sampler(int64_t vocab_size);

  /// What a draw depends on besides the row.
  struct Draw {
    const SamplingParams& params;
    uint64_t seed = 0;
    int64_t position = 0;  // of the drawn token in its sequence
    std::span<const int32_t> prompt = {};
    std::span<const int32_t> output = {};
    std::span<const int32_t> banned = {};  // ids that must not come now
    std::span<const int32_t> banned_too = {};
  };
  int32_t sample(std::span<const float> logits, const Draw& draw);

  static int64_t bytes(int64_t vocab_size);

 private:
  struct Candidate {
    double weight = 0;  // proportional to its probability
    float logit = 0;
    int32_t token_id = 0;
  };
  struct Ranked {
    double key = 0;  // smaller is better
    int32_t candidate = 0;
    bool operator<(const Ranked& other) const {
      return key != other.key ? key < other.key : candidate < other.candidate;
    }
  };

  void adjust(std::span<const float> logits, const Draw& draw);
  void penalise(const Draw& draw);
  void bar(const Draw& draw);
  bool bar_words_and_ends(const Draw& draw);
  int32_t most_likely() const;
  void keep_top_k(int64_t top_k);
  void weigh(float temperature);
  void keep_typical(double mass);
  void keep_top_p(double mass);
  void keep_min_p(double share);
  template <typename Key>
  void keep_by_mass(double mass, Key&& key);
  template <typename Keep>
  void keep_if(Keep&& keep);
  double total_weight() const;

  std::vector<float> adjusted_;        // [V]
  std::vector<int32_t> counts_;        // [V] in the answer; zero between calls
  std::vector<uint8_t> seen_;          // [V] in prompt or answer; zero between calls
  std::vector<Candidate> candidates_;  // ascending ids
  std::vector<Ranked> ranked_;         // scratch of a selection
};

}  // namespace quern
