#include "models/weight_types.h"

#include <algorithm>

#include "base/cat.h"
#include "text/pattern.h"

namespace quern {

namespace {

constexpr std::string_view kFlag = "--dtype-override";

Error bad_override(std::string_view found, std::string_view why) {
  return Error{.code = ErrorCode::kUsage,
               .message = cat(kFlag, ": \"", found, "\" ", why),
               .what = std::string(kFlag),
               .found = std::string(found),
               .wanted = "REGEX=DTYPE"};
}

Result<bool> matches(const Pattern& pattern, const std::string& name) {
  std::vector<TextSpan> spans;
  PatternFuel fuel(name.size());
  RETURN_IF_ERROR(pattern.find_all(name, fuel, spans));
  return !spans.empty();
}

/// The first type of asked, q8_0, f16 whose blocks fill a row.
DType fitting(DType asked, int64_t cols) {
  if (asked.fits_row(cols)) return asked;
  const DType q8_0 = DType::of<Q8_0>();
  return q8_0.fits_row(cols) ? q8_0 : DType::of<F16>();
}

}  // namespace

Result<DTypeOverride> parse_dtype_override(std::string_view text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string_view::npos || equals == 0) {
    return bad_override(text, "is not REGEX=DTYPE, for example mlp\\.=q4_0");
  }
  const std::string_view name = text.substr(equals + 1);
  const std::optional<DType> dtype = DType::from_name(name);
  if (!dtype) {
    return Error{
        .code = ErrorCode::kUnsupported,
        .message = cat(kFlag, ": there is no dtype \"", name, "\"; supported: ", dtype_names()),
        .what = std::string(kFlag),
        .found = std::string(name),
        .wanted = dtype_names()};
  }
  return DTypeOverride{.expression = std::string(text.substr(0, equals)), .dtype = *dtype};
}

Result<WeightChoice> choose_weight_types(const Program& program, const CheckpointWeights& weights,
                                         std::optional<DType> dtype,
                                         std::span<const DTypeOverride> overrides) {
  std::vector<Pattern> patterns;
  for (const DTypeOverride& entry : overrides) {
    Result<Pattern> pattern = Pattern::expression(entry.expression, kFlag);
    if (!pattern) {
      Error error = std::move(pattern).error();
      error.code = ErrorCode::kUsage;
      return error;
    }
    patterns.push_back(*std::move(pattern));
  }

  WeightChoice choice;
  std::vector<bool> matched(overrides.size());
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDecl& weight = program.weights[i];
    if (weight.kind == WeightDecl::Kind::kVector) {
      choice.types.of.push_back(DType::of<F32>());
      continue;
    }
    const WeightId id{static_cast<int32_t>(i)};
    DType asked = dtype.value_or(weights.stored_dtype(id));
    bool decided = false;
    for (size_t j = 0; j < patterns.size(); ++j) {
      ASSIGN_OR_RETURN(bool found, matches(patterns[j], weight.name));
      if (!found) {
        ASSIGN_OR_RETURN(found, matches(patterns[j], weights.tensor(id).name));
      }
      matched[j] = matched[j] || found;
      if (!found || decided) continue;
      asked = overrides[j].dtype;
      decided = true;
    }
    const DType used = fitting(asked, weight.cols);
    if (used != asked) {
      choice.fallbacks.push_back({.name = weight.name, .wanted = asked, .used = used});
    }
    choice.types.of.push_back(used);
  }
  for (size_t j = 0; j < overrides.size(); ++j) {
    if (!matched[j]) {
      return bad_override(overrides[j].expression, cat("matches no matrix of the model; there is ",
                                                       program.weights.front().name, " for one"));
    }
  }
  return choice;
}

DType default_kv_dtype(const Program& program, const WeightTypes& types) {
  std::vector<int64_t> bytes(kNumFormats);
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDecl& weight = program.weights[i];
    bytes[types.of[i].index()] += weight.rows * types.of[i].row_bytes(weight.cols);
  }
  const auto most = static_cast<size_t>(std::ranges::max_element(bytes) - bytes.begin());
  for (const DType same : {DType::of<F32>(), DType::of<BF16>()}) {
    if (same.index() == most) return same;
  }
  return DType::of<F16>();
}

}  // namespace quern
