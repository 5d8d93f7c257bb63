#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "llm/llm.h"

namespace quern {

/// One line of `bench model`: a prompt of num_prompt tokens, or num_gen tokens decoded, by `batch`
/// sequences together, each with num_depth tokens before it.
struct ModelBenchCase {
  int64_t num_prompt = 0;
  int64_t num_gen = 0;
  int64_t num_depth = 0;
  int64_t batch = 1;

  /// "pp512", "tg128 @ d2048", "tg128 x8"
  std::string name() const;
  /// Tokens that a repetition is timed for, of all sequences.
  int64_t timed_tokens() const { return batch * (num_prompt > 0 ? num_prompt : num_gen); }
  /// Tokens a sequence needs room for.
  int64_t context() const { return num_depth + num_prompt + num_gen + 1; }
};

struct ModelBenchResult {
  ModelBenchCase bench_case;
  std::vector<int64_t> samples_ns;  // one a repetition

  std::vector<double> samples_ts() const;  // tokens a second
};

/// Every combination of the lists, prompts first; a length of 0 is left out.
std::vector<ModelBenchCase> model_bench_cases(const std::vector<int64_t>& prompts,
                                              const std::vector<int64_t>& gens,
                                              const std::vector<int64_t>& depths,
                                              const std::vector<int64_t>& batches);

/// Runs one case: a warm-up, then `repetitions` timed runs. A prompt is timed from its submission
/// to its first token; decoding from where every sequence has its first token to the end. Ids are a
/// pseudo-random sequence, another one each repetition; what the depth stands for is computed
/// before and found in the prefix cache, which must be on where there is a depth.
Result<ModelBenchResult> run_model_bench(Llm& model, const ModelBenchCase& bench_case,
                                         int64_t repetitions);

}  // namespace quern
