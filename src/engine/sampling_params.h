#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"

namespace quern {

/// How a token is chosen from a row of logits; the names and meanings of the completion API.
struct SamplingParams {
  float temperature = 1.0f;  // 0: the most likely token, ties to the lower id
  int64_t top_k = 0;         // 0 or -1: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float repetition_penalty = 1.0f;  // over prompt and answer
  float presence_penalty = 0.0f;    // over the answer
  float frequency_penalty = 0.0f;   // over the answer
  std::vector<std::pair<int32_t, float>> logit_bias = {};
  std::vector<int32_t> allowed_token_ids = {};  // if there are some, nothing else can come
  /// What the answer must not hold, as runs of ids: the last id of one cannot come where the others
  /// have just come.
  std::vector<std::vector<int32_t>> bad_words = {};
  std::optional<uint64_t> seed = std::nullopt;

  /// Whether the most likely token of the row as it is is the answer.
  bool is_plain_greedy() const {
    return temperature == 0 && repetition_penalty == 1 && presence_penalty == 0 &&
           frequency_penalty == 0 && logit_bias.empty() && allowed_token_ids.empty() &&
           bad_words.empty();
  }
};

/// Refuses what is out of bounds, by name.
Result<void> check_sampling(const SamplingParams& params, int64_t vocab_size);

}  // namespace quern
