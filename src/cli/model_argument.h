#pragma once

#include <memory>

#include "cli/arguments.h"
#include "models/model.h"
#include "text/template/template.h"
#include "text/tokenizer.h"

namespace quern {

/// The first argument, which --model also gives.
std::string model_name(const Arguments& arguments);

/// What a model's name stands for: a path that exists, a Hub id in the local cache, or "demo".
Result<ModelLocation> resolve_model(const std::string& name);

/// The model of the first argument or of --model, its weights not yet read.
Result<std::unique_ptr<Model>> open_model_argument(const Arguments& arguments);
/// Its files alone, whether or not quern can run the model.
Result<ModelFiles> open_model_files_argument(const Arguments& arguments);
Result<std::unique_ptr<Model>> open_named_model(const std::string& name);

/// The tokenizer of a model or of a file that holds one.
Result<Tokenizer> open_tokenizer_argument(const Arguments& arguments);

/// A chat template, where it comes from, and the variables that come with it (bos_token ...).
struct TemplateSource {
  std::string text;
  std::string what;
  Json variables = Json::object();
};

/// The template of a model, or of a file: a Jinja template (*.jinja), a tokenizer_config.json, a
/// chat_template.json, a GGUF.
Result<TemplateSource> open_template_argument(const Arguments& arguments);

}  // namespace quern
