#include "models/quantization_config.h"

#include <algorithm>
#include <span>

#include "base/cat.h"
#include "models/config_fields.h"

namespace quern {

namespace {

/// A field, the values that quern can follow (a JSON array; empty: any), and whether it may be
/// missing.
struct Field {
  std::string_view name;
  std::string_view values = {};
  bool required = false;
};

constexpr Field kTop[] = {
    {"quant_method", "[\"compressed-tensors\"]", true},
    {"format", "[\"int-quantized\"]", true},
    {"config_groups", "", true},
    {"quantization_status", "[null,\"compressed\"]"},
    {"kv_cache_scheme", "[null]"},
    {"sparsity_config", "[null,{}]"},
    {"transform_config", "[null,{}]"},
    {"ignore"},
    {"global_compression_ratio"},
    {"version"},
};
constexpr Field kGroup[] = {
    {"weights", "", true},
    {"input_activations", "", true},
    {"output_activations", "[null]"},
    {"targets", "[[\"Linear\"]]", true},
    {"format", "[null,\"int-quantized\"]"},
};
constexpr Field kWeights[] = {
    {"num_bits", "[8]", true},
    {"type", "[\"int\"]", true},
    {"symmetric", "[true]", true},
    {"strategy", "[\"channel\"]", true},
    {"dynamic", "[null,false]"},
    {"group_size", "[null]"},
    {"block_structure", "[null]"},
    {"actorder", "[null]"},
    {"observer"},  // how the scales were found
    {"observer_kwargs"},
    {"scale_dtype"},  // the tensors say
    {"zp_dtype"},
};
constexpr Field kActivations[] = {
    {"num_bits", "[8]", true},
    {"type", "[\"int\"]", true},
    {"symmetric", "[true]", true},
    {"strategy", "[\"token\"]", true},
    {"dynamic", "[true]", true},
    {"group_size", "[null]"},
    {"block_structure", "[null]"},
    {"actorder", "[null]"},
    {"observer"},
    {"observer_kwargs"},
    {"scale_dtype"},
    {"zp_dtype"},
};

/// Checks one object against its fields; `name` is the way to it.
struct Checker {
  std::string_view what, architecture;

  Error refusal(std::string_view name, std::string_view found, std::string_view wanted) const {
    return unsupported_field(what, name, found, wanted, architecture);
  }

  Result<void> check(const Json& object, std::string_view name,
                     std::span<const Field> fields) const {
    if (!object.is_object()) return refusal(name, cat("of type ", object.type_name()), "an object");
    for (const auto& [key, value] : object.items()) {
      const std::string path = cat(name, ".", key.substr(0, 60));
      const auto field = std::ranges::find(fields, key, &Field::name);
      if (field == fields.end()) return refusal(path, "a field that is not known", "no such field");
      RETURN_IF_ERROR(check_supported(value, path, field->values, what, architecture));
    }
    for (const Field& field : fields) {
      if (!field.required || object.contains(field.name)) continue;
      const std::string_view values = field.values;
      return refusal(cat(name, ".", field.name), "missing",
                     values.empty() ? "an object" : values.substr(1, values.size() - 2));
    }
    return {};
  }
};

}  // namespace

Result<void> check_quantization_config(const Json& config, std::string_view what,
                                       std::string_view architecture) {
  const Checker checker{what, architecture};
  const std::string top = "quantization_config";
  RETURN_IF_ERROR(checker.check(config, top, kTop));
  const auto ignored = config.find("ignore");
  if (ignored != config.end() && !ignored->is_null()) {
    const bool is_list = ignored->is_array() && std::ranges::all_of(*ignored, [](const Json& name) {
                           return name.is_string();
                         });
    if (!is_list) {
      return checker.refusal(top + ".ignore", cat("of type ", ignored->type_name()),
                             "a list of names");
    }
  }
  const Json& groups = config.at("config_groups");
  if (!groups.is_object() || groups.size() != 1) {
    return checker.refusal(
        top + ".config_groups",
        groups.is_object() ? cat(groups.size(), " groups") : cat("of type ", groups.type_name()),
        "an object of one group");
  }
  const std::string path = cat(top, ".config_groups.", groups.items().begin().key().substr(0, 60));
  const Json& group = *groups.begin();
  RETURN_IF_ERROR(checker.check(group, path, kGroup));
  RETURN_IF_ERROR(checker.check(group.at("weights"), path + ".weights", kWeights));
  return checker.check(group.at("input_activations"), path + ".input_activations", kActivations);
}

}  // namespace quern
