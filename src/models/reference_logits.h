#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/result.h"

namespace quern {

/// One line of a logits.jsonl: what another implementation computed for a prompt.
struct ReferenceLogits {
  std::vector<int32_t> prompt_token_ids;
  std::vector<int32_t> greedy;     // the tokens that follow, end tokens not obeyed
  std::vector<float> logits_last;  // of the last prompt token, one per vocabulary entry
  double tolerance = 0.0;          // largest allowed |difference| in fp32
};

/// Reads a logits.jsonl. kBadFile names the line.
Result<std::vector<ReferenceLogits>> read_reference_logits(const std::filesystem::path& path);

}  // namespace quern
