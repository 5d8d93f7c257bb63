#pragma once

#include <cstdint>

#include "base/result.h"
#include "models/model_config.h"
#include "program/steps/rotate.h"

namespace quern {

/// The inverse frequencies for heads of `head_dim` values, scaling applied, in the float arithmetic
/// of transformers so that long contexts turn by the same angles. kBadFile for an odd `head_dim`,
/// or where the file's own divisors are not one per frequency. Source of the llama3 form:
/// Grattafiori et al. 2024, arXiv:2407.21783, section 3.4.
Result<Rope> make_rope(const RopeParameters& parameters, int64_t head_dim);

}  // namespace quern
