#include "models/weight_types.h"

#include <algorithm>
#include <set>

#include "base/cat.h"

namespace quern {

namespace {

Error bad_override(std::string_view flag, std::string_view found, std::string_view why) {
  return Error{.code = ErrorCode::kUsage,
               .message = cat(flag, ": \"", found, "\" ", why),
               .what = std::string(flag),
               .found = std::string(found),
               .wanted = "REGEX=DTYPE"};
}

Result<bool> matches(const Pattern& pattern, std::string_view name) {
  std::vector<TextSpan> spans;
  PatternFuel fuel(name.size());
  RETURN_IF_ERROR(pattern.find_all(name, fuel, spans));
  return !spans.empty();
}

/// Tables of which rows are taken, and the head: left as they are where the products between them
/// are to have one scale a row, as whoever makes such files leaves them.
std::set<int32_t> tables_and_heads(const Program& program) {
  std::set<int32_t> weights;
  for (const Step& step : program.steps) {
    if (const auto* embed = std::get_if<Embed>(&step)) weights.insert(embed->table.index);
    if (const auto* add = std::get_if<AddPositions>(&step)) weights.insert(add->table.index);
    if (const auto* head = std::get_if<Head>(&step)) weights.insert(head->weight.index);
  }
  return weights;
}

}  // namespace

DType fitting_dtype(DType asked, int64_t cols) {
  if (asked.fits_row(cols)) return asked;
  const DType q8_0 = DType::of<Q8_0>();
  return q8_0.fits_row(cols) ? q8_0 : DType::of<F16>();
}

Result<DTypeOverride> parse_dtype_override(std::string_view text, std::string_view flag) {
  const size_t equals = text.rfind('=');
  if (equals == std::string_view::npos || equals == 0) {
    return bad_override(flag, text, "is not REGEX=DTYPE, for example mlp\\.=q4_0");
  }
  const std::string_view name = text.substr(equals + 1);
  const std::optional<DType> dtype = DType::from_name(name);
  if (!dtype) {
    return Error{
        .code = ErrorCode::kUnsupported,
        .message = cat(flag, ": there is no dtype \"", name, "\"; supported: ", dtype_names()),
        .what = std::string(flag),
        .found = std::string(name),
        .wanted = dtype_names()};
  }
  return DTypeOverride{.expression = std::string(text.substr(0, equals)), .dtype = *dtype};
}

Result<DTypeRules> DTypeRules::compile(std::span<const DTypeOverride> overrides,
                                       std::string_view flag) {
  DTypeRules rules;
  rules.flag_ = flag;
  for (const DTypeOverride& entry : overrides) {
    Result<Pattern> pattern = Pattern::expression(entry.expression, flag);
    if (!pattern) {
      Error error = std::move(pattern).error();
      error.code = ErrorCode::kUsage;
      return error;
    }
    rules.rules_.push_back({.entry = entry, .pattern = *std::move(pattern)});
  }
  return rules;
}

Result<std::optional<DType>> DTypeRules::find(std::initializer_list<std::string_view> names) {
  std::optional<DType> first;
  for (Rule& rule : rules_) {
    for (const std::string_view name : names) {
      ASSIGN_OR_RETURN(const bool found, matches(rule.pattern, name));
      if (!found) continue;
      rule.found = true;
      if (!first) first = rule.entry.dtype;
      break;
    }
  }
  return first;
}

Result<void> DTypeRules::check_all_found(std::string_view example) const {
  for (const Rule& rule : rules_) {
    if (rule.found) continue;
    return bad_override(flag_, rule.entry.expression,
                        cat("matches no matrix of the model; there is ", example, " for one"));
  }
  return {};
}

Result<WeightChoice> choose_weight_types(const Program& program, const CheckpointWeights& weights,
                                         std::optional<DType> dtype,
                                         std::span<const DTypeOverride> overrides) {
  ASSIGN_OR_RETURN(DTypeRules rules, DTypeRules::compile(overrides));
  WeightChoice choice;
  const bool scales_rows = dtype && dtype->scales_rows();
  const std::set<int32_t> left = scales_rows ? tables_and_heads(program) : std::set<int32_t>();
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDecl& weight = program.weights[i];
    if (weight.kind == WeightDecl::Kind::kVector) {
      choice.types.of.push_back(DType::of<F32>());
      continue;
    }
    const WeightId id{static_cast<int32_t>(i)};
    ASSIGN_OR_RETURN(const std::optional<DType> ruled,
                     rules.find({weight.name, weights.tensor(id).name}));
    const DType stored = weights.stored_dtype(id);
    const DType general = left.contains(id.index) ? stored : dtype.value_or(stored);
    const DType asked = ruled.value_or(general);
    const DType used = fitting_dtype(asked, weight.cols);
    if (used != asked) {
      choice.fallbacks.push_back({.name = weight.name, .wanted = asked, .used = used});
    }
    choice.types.of.push_back(used);
  }
  RETURN_IF_ERROR(rules.check_all_found(program.weights.front().name));
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
