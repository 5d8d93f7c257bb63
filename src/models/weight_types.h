#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "models/checkpoint_weights.h"
#include "program/program.h"
#include "program/weight_source.h"

namespace quern {

/// --dtype-override REGEX=DTYPE: matrices whose name the expression finds itself in, by the name in
/// the Program or in the file, are held as `dtype`.
struct DTypeOverride {
  std::string expression;
  DType dtype = DType::of<F32>();
};

/// Reads "REGEX=DTYPE"; the last '=' separates. kUsage for anything else.
Result<DTypeOverride> parse_dtype_override(std::string_view text);

/// A matrix that could not be held as asked: its rows are no whole number of blocks.
struct Fallback {
  std::string name;  // of the weight
  DType wanted = DType::of<F32>();
  DType used = DType::of<F32>();
};

/// What the types of all weights come to, and why.
struct WeightChoice {
  WeightTypes types;
  std::vector<Fallback> fallbacks;
};

/// The type each weight is held in: the first override that matches, else `dtype`, else as stored.
/// Where that does not fit the row: q8_0, where that does not either: f16. Vectors are f32. kUsage
/// for an override that is no regular expression or that matches no matrix of the model.
Result<WeightChoice> choose_weight_types(const Program& program, const CheckpointWeights& weights,
                                         std::optional<DType> dtype,
                                         std::span<const DTypeOverride> overrides);

/// What --kv-cache-dtype auto means: f32 or bf16 where most weight bytes are of that type, else
/// f16.
DType default_kv_dtype(const Program& program, const WeightTypes& types);

}  // namespace quern
