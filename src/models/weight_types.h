#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "models/checkpoint_weights.h"
#include "program/program.h"
#include "program/weight_source.h"
#include "text/pattern.h"

namespace quern {

/// --dtype-override REGEX=DTYPE: matrices whose name the expression finds itself in, by the name in
/// the Program or in the file, are held as `dtype`.
struct DTypeOverride {
  std::string expression;
  DType dtype = DType::of<F32>();
};

/// Reads "REGEX=DTYPE", the value of `flag`; the last '=' separates. kUsage for anything else.
Result<DTypeOverride> parse_dtype_override(std::string_view text,
                                           std::string_view flag = "--dtype-override");

/// The overrides of one flag, ready to be asked about names.
class DTypeRules {
 public:
  /// kUsage for an override that is no regular expression.
  static Result<DTypeRules> compile(std::span<const DTypeOverride> overrides,
                                    std::string_view flag = "--dtype-override");

  /// The type of the first override that finds itself in one of the names, which are those of one
  /// matrix.
  Result<std::optional<DType>> find(std::initializer_list<std::string_view> names);
  /// kUsage for an override that was never found; `example` is a name that it might have meant.
  Result<void> check_all_found(std::string_view example) const;

 private:
  struct Rule {
    DTypeOverride entry;
    Pattern pattern;
    bool found = false;
  };
  std::string flag_;
  std::vector<Rule> rules_;
};

/// What rows of `cols` values are held in where `asked` is asked for: the first of it, q8_0, f16
/// whose blocks fill a row.
DType fitting_dtype(DType asked, int64_t cols);

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
/// Where that does not fit the row: q8_0, where that does not either: f16. Vectors are f32. Where
/// `dtype` scales whole rows, tables and the head stay as stored unless an override names them.
/// kUsage for an override that is no regular expression or that matches no matrix of the model.
Result<WeightChoice> choose_weight_types(const Program& program, const CheckpointWeights& weights,
                                         std::optional<DType> dtype,
                                         std::span<const DTypeOverride> overrides);

/// What --kv-cache-dtype auto means: f32 or bf16 where most weight bytes are of that type, else
/// f16.
DType default_kv_dtype(const Program& program, const WeightTypes& types);

}  // namespace quern
