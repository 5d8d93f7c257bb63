#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace quern {

/// What a model's own files say about sampling from it; absent where they are mute.
struct GenerationConfig {
  std::vector<int32_t> eos_token_ids;  // each of them ends an answer
  std::optional<bool> do_sample;
  std::optional<double> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> typical_p;
  std::optional<double> repetition_penalty;
};

/// The ids under "eos_token_id" (a number or a list); nothing if the field is absent or null.
/// Negative ids, which some files write for "none", are left out.
Result<std::optional<std::vector<int32_t>>> read_eos_token_ids(const Json& object,
                                                               std::string_view what);

/// Reads generation_config.json; end tokens only where it names some.
Result<GenerationConfig> read_generation_config(const Json& object, std::string_view what);

/// The same from a GGUF file: eos, eot and eom ids and general.sampling.
GenerationConfig read_gguf_generation_config(const Checkpoint& checkpoint);

}  // namespace quern
