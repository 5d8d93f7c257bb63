#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "models/architecture.h"
#include "models/model_config.h"

namespace quern {

/// A number of ModelConfig, its name in a file and its bounds.
struct IntegerField {
  std::string_view name;
  int64_t ModelConfig::*member;
  int64_t min;
  int64_t max;
};
struct NumberField {
  std::string_view name;
  double ModelConfig::*member;
  double min;
  double max;
};
struct FlagField {
  std::string_view name;
  bool ModelConfig::*member;
};

// Limits far above any model, low enough that sizes of weights stay inside 64 bits; the context,
// which multiplies other numbers, is bounded once more by complete_config().
inline constexpr int64_t kMaxVocabSize = 1 << 24;
inline constexpr int64_t kMaxWidth = 1 << 20;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxHeads = 1 << 14;
inline constexpr int64_t kMaxContext = 1 << 30;

/// Writes `target` if the field is there; kBadFile if it is of another type or out of bounds.
Result<void> read_integer(const JsonFields& fields, std::string_view what, std::string_view name,
                          int64_t min, int64_t max, int64_t& target);
Result<void> read_number(const JsonFields& fields, std::string_view what, std::string_view name,
                         double min, double max, double& target);
Result<void> read_flag(const JsonFields& fields, std::string_view name, bool& target);

/// kUnsupported unless `value` is one of `values` (a JSON array).
Result<void> check_supported(const Json& value, std::string_view name, std::string_view values,
                             std::string_view what, std::string_view architecture);

/// The rule of that name, or nullptr.
const FieldRule* find_rule(std::span<const FieldRule> rules, std::string_view name);

/// The refusal of a field whose value quern cannot follow.
Error unsupported_field(std::string_view what, std::string_view name, std::string_view found,
                        std::string_view supported, std::string_view architecture);
/// The refusal of a field that contradicts the rest of the file.
Error bad_field(std::string_view what, std::string_view name, std::string_view found,
                std::string_view wanted);

/// One warning that names fields nobody knows, if there are any.
void warn_unknown_fields(std::string_view what, std::span<const std::string> names,
                         std::string_view architecture);

}  // namespace quern
