#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "llm/llm.h"

namespace quern {

/// How a text is cut and what of it is scored.
enum class PerplexityMethod {
  kWindow,    // consecutive windows; all but a window's first id is scored
  kLlamaCpp,  // as llama-perplexity: BOS first, the second half scored, the last part dropped
};

/// A run of ids that is scored by itself: ids[first_scored ..] given all before them.
struct PerplexityWindow {
  std::vector<int32_t> ids;
  int64_t first_scored = 1;

  int64_t num_scored() const { return static_cast<int64_t>(ids.size()) - first_scored; }
};

/// `bos` is put in place of the first id of each window (llama.cpp's method only).
std::vector<PerplexityWindow> perplexity_windows(std::span<const int32_t> ids, int64_t ctx,
                                                 PerplexityMethod method,
                                                 std::optional<int32_t> bos);

struct KlDivergence {
  double mean = 0;
  double p99 = 0;
  double max = 0;
  double same_top1 = 0;  // share of the scored positions
};

struct PerplexityReport {
  double nll_sum = 0;
  int64_t scored = 0;
  int64_t tokens = 0;  // of all windows
  double seconds = 0;
  std::optional<KlDivergence> kl;

  double nll_mean() const { return nll_sum / static_cast<double>(scored); }
  double perplexity() const;
};

/// Scores the windows in order. With `reference` also KL(reference || model) at every scored
/// position, from log-probabilities in float.
Result<PerplexityReport> measure_perplexity(Llm& model, Llm* reference,
                                            std::span<const PerplexityWindow> windows);

}  // namespace quern
