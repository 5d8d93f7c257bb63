#include <algorithm>

#include "base/cat.h"
#include "models/architecture.h"

namespace quern {

extern const Architecture kGemma3;
extern const Architecture kGpt2;
extern const Architecture kLlama;
extern const Architecture kQwen2;

namespace {

constexpr const Architecture* kArchitectures[] = {
    &kGpt2,
    &kGemma3,
    &kLlama,
    &kQwen2,
};

std::string supported_names() {
  std::string out;
  for (const Architecture* architecture : kArchitectures) {
    out +=
        cat(out.empty() ? "" : ", ", architecture->name, " (GGUF: ", architecture->gguf_name, ")");
  }
  return out;
}

}  // namespace

std::span<const Architecture* const> architectures() { return kArchitectures; }

const Architecture* find_architecture(std::string_view name) {
  const auto found = std::ranges::find_if(kArchitectures, [&](const Architecture* architecture) {
    return architecture->name == name || architecture->base_name == name;
  });
  return found == std::end(kArchitectures) ? nullptr : *found;
}

const Architecture* find_gguf_architecture(std::string_view gguf_name) {
  const auto found = std::ranges::find(kArchitectures, gguf_name, &Architecture::gguf_name);
  return found == std::end(kArchitectures) ? nullptr : *found;
}

Error unsupported_architecture(std::string_view what, std::string_view field,
                               std::string_view found) {
  const std::string known = supported_names();
  const std::string shown(found.substr(0, 80));
  return Error{.code = ErrorCode::kUnsupported,
               .message = cat(what, ": ", field, " is \"", shown,
                              "\", an architecture that quern does not know; supported: ", known),
               .what = std::string(field),
               .found = shown,
               .wanted = known};
}

Result<const Architecture*> architecture_of(const Json& config, std::string_view what) {
  if (!config.is_object()) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what, ": holds a JSON value of type ", config.type_name(),
                                ", wanted an object with the model's numbers"),
                 .what = std::string(what),
                 .wanted = "a JSON object"};
  }
  const JsonFields fields(config, std::string(what));
  if (const Json* names = fields.find("architectures"); names != nullptr && !names->empty()) {
    if (!names->is_array() || !names->front().is_string()) {
      return fields.wrong_type("architectures", "an array of strings");
    }
    const auto& name = names->front().get_ref<const std::string&>();
    if (const Architecture* found = find_architecture(name)) return found;
    return unsupported_architecture(what, "architectures", name);
  }
  ASSIGN_OR_RETURN(const std::optional<std::string> type, fields.text("model_type"));
  if (!type) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what,
                                ": has neither \"architectures\" nor \"model_type\", so it "
                                "does not say what the model is; supported: ",
                                supported_names()),
                 .what = "architectures",
                 .found = "missing",
                 .wanted = supported_names()};
  }
  const auto found = std::ranges::find(kArchitectures, *type, &Architecture::model_type);
  if (found != std::end(kArchitectures)) return *found;
  return unsupported_architecture(what, "model_type", *type);
}

}  // namespace quern
