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
  std::error_code ignored;
  if (name == "demo" && !std::filesystem::exists("demo", ignored)) {
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

/// The template that is a file (*.jinja), or that a JSON file has.
Result<TemplateSource> template_of_file(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kMostBytes));
  if (path.extension() == ".jinja") return TemplateSource{.text = text, .what = path};
  return template_of_json(text, path);
}

}  // namespace

std::string model_name(const Arguments& arguments) { return arguments.positional().front(); }

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
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, open_named_model(model_name(arguments)));
  if (const auto file = arguments.text("--chat-template-file")) {
    ASSIGN_OR_RETURN(TemplateSource source, template_of_file(*file));
    // Read again with the model's words where it is used; here for what is wrong with it.
    RETURN_IF_ERROR(ChatTemplate::parse(source.text, source.what));
    model->files.given_chat_template = std::move(source.text);
  }
  return model;
}

Result<Tokenizer> open_tokenizer_argument(const Arguments& arguments) {
  const std::string name = model_name(arguments);
  std::filesystem::path path = name;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    ASSIGN_OR_RETURN(const ModelLocation location, resolve_model(name));
    path = location.folder.empty() ? location.weights : location.folder;
  } else if (path.extension() == ".safetensors") {
    path = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  } else if (std::filesystem::is_directory(path, ignored)) {
    Result<Tokenizer> found = Tokenizer::open(path);
    if (found || found.error().code != ErrorCode::kNotFound) return found;
    // A folder may hold a GGUF and nothing else.
    const Result<ModelLocation> location = resolve_model(name);
    if (!location || !location->folder.empty()) return found;
    path = location->weights;
  }
  if (!looks_like_gguf(path)) return Tokenizer::open(path);
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(path));
  return open_gguf_tokenizer(checkpoint, path.string());
}

Result<TemplateSource> open_template_argument(const Arguments& arguments) {
  const std::string name = model_name(arguments);
  const std::filesystem::path path = name;
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored) && !looks_like_gguf(path) &&
      path.extension() != ".safetensors") {
    return template_of_file(path);
  }
  // The folder or the GGUF that MODEL stands for, whether or not its model can be run; a folder
  // without weights will do.
  std::filesystem::path folder = path, gguf;
  if (const Result<ModelLocation> location = resolve_model(name); location) {
    folder = location->folder;
    gguf = location->weights;
  } else if (!std::filesystem::is_directory(path, ignored)) {
    return location.error();
  }
  ChatTemplates templates;
  SpecialTokens tokens;
  if (folder.empty()) {
    ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(gguf));
    templates = gguf_chat_templates(checkpoint);
    tokens = gguf_special_tokens(checkpoint);
  } else {
    ASSIGN_OR_RETURN(templates, read_folder_chat_templates(folder));
    ASSIGN_OR_RETURN(tokens, read_folder_special_tokens(folder));
  }
  if (const std::string* source = templates.find()) {
    return TemplateSource{.text = *source, .what = name, .variables = variables_of(tokens)};
  }
  return Error{.code = ErrorCode::kNotFound,
               .message = cat(name,
                              ": has no chat template (chat_template in tokenizer_config.json, "
                              "chat_template.jinja, or tokenizer.chat_template in a GGUF)"),
               .what = name,
               .wanted = "a chat template"};
}

}  // namespace quern
