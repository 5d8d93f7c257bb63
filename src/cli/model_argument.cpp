#include "cli/model_argument.h"

#include "base/file.h"
#include "cli/embedded_demo.h"
#include "cli/environment.h"
#include "models/gguf_tokenizer.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 26;

/// Where models are found; the demo model is unpacked only when it is asked for.
Result<ModelPlaces> places(std::string_view name) {
  ModelPlaces places{.demo = {}, .hub_cache = hub_cache_folder(environment_variable)};
  if (name == "demo" && !std::filesystem::exists("demo")) {
    ASSIGN_OR_RETURN(places.demo, embedded_demo_path());
  }
  return places;
}

Json variables_of(const SpecialTokens& tokens) {
  Json variables = Json::object();
  for (const auto& [name, text] : tokens) variables[name] = text;
  return variables;
}

/// The template under "chat_template" in a JSON file.
Result<TemplateSource> template_of_json(const std::string& text, const std::string& path) {
  ASSIGN_OR_RETURN(const Json object, parse_json(text, path));
  ASSIGN_OR_RETURN(const ChatTemplates templates, read_chat_templates(object, path));
  const std::string* source = templates.find();
  if (source == nullptr) {
    return Error{.code = ErrorCode::kNotFound,
                 .message = cat(path, ": has no \"chat_template\""),
                 .what = path,
                 .wanted = "chat_template"};
  }
  TemplateSource found{.text = *source, .what = path};
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  ASSIGN_OR_RETURN(const SpecialTokens tokens, read_folder_special_tokens(folder));
  found.variables = variables_of(tokens);
  return found;
}

}  // namespace

std::string model_name(const Arguments& arguments) {
  if (const auto name = arguments.text("--model")) return *name;
  return arguments.positional().front();
}

Result<ModelLocation> resolve_model(const std::string& name) {
  ASSIGN_OR_RETURN(const ModelPlaces where, places(name));
  return locate_model(name, where);
}

Result<std::unique_ptr<Model>> open_named_model(const std::string& name) {
  ASSIGN_OR_RETURN(const ModelPlaces where, places(name));
  ASSIGN_OR_RETURN(Model model, open_model(name, where));
  return std::make_unique<Model>(std::move(model));
}

Result<ModelFiles> open_model_files_argument(const Arguments& arguments) {
  const std::string name = model_name(arguments);
  ASSIGN_OR_RETURN(const ModelPlaces where, places(name));
  return open_model_files(name, where);
}

Result<std::unique_ptr<Model>> open_model_argument(const Arguments& arguments) {
  return open_named_model(model_name(arguments));
}

Result<Tokenizer> open_tokenizer_argument(const Arguments& arguments) {
  const std::string name = model_name(arguments);
  std::filesystem::path path = name;
  if (!std::filesystem::exists(path)) {
    ASSIGN_OR_RETURN(const ModelLocation location, resolve_model(name));
    path = location.folder.empty() ? location.weights : location.folder;
  } else if (path.extension() == ".safetensors") {
    path = path.parent_path();
  }
  if (!looks_like_gguf(path)) return Tokenizer::open(path);
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(path));
  return open_gguf_tokenizer(checkpoint, path.string());
}

Result<TemplateSource> open_template_argument(const Arguments& arguments) {
  const std::string name = model_name(arguments);
  const std::filesystem::path path = name;
  if (std::filesystem::is_regular_file(path) && !looks_like_gguf(path) &&
      path.extension() != ".safetensors") {
    ASSIGN_OR_RETURN(const std::string text, read_file(path, kMostBytes));
    if (path.extension() == ".jinja") return TemplateSource{.text = text, .what = name};
    return template_of_json(text, name);
  }
  // A folder or a GGUF: its template and tokens, whether or not its model can be run.
  if (std::filesystem::is_directory(path)) {
    ASSIGN_OR_RETURN(const ChatTemplates templates, read_folder_chat_templates(path));
    ASSIGN_OR_RETURN(const SpecialTokens tokens, read_folder_special_tokens(path));
    if (const std::string* source = templates.find()) {
      return TemplateSource{.text = *source, .what = name, .variables = variables_of(tokens)};
    }
  } else {
    ASSIGN_OR_RETURN(const ModelLocation location, resolve_model(name));
    if (location.folder.empty()) {
      ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(location.weights));
      const ChatTemplates templates = gguf_chat_templates(checkpoint);
      if (const std::string* source = templates.find()) {
        return TemplateSource{.text = *source,
                              .what = name,
                              .variables = variables_of(gguf_special_tokens(checkpoint))};
      }
    } else {
      ASSIGN_OR_RETURN(const ChatTemplates templates, read_folder_chat_templates(location.folder));
      ASSIGN_OR_RETURN(const SpecialTokens tokens, read_folder_special_tokens(location.folder));
      if (const std::string* source = templates.find()) {
        return TemplateSource{.text = *source, .what = name, .variables = variables_of(tokens)};
      }
    }
  }
  return Error{.code = ErrorCode::kNotFound,
               .message = cat(name,
                              ": has no chat template (chat_template in tokenizer_config.json, "
                              "chat_template.jinja, or tokenizer.chat_template in a GGUF)"),
               .what = name,
               .wanted = "a chat template"};
}

}  // namespace quern
