#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace quern {

/// The sources of a model's chat templates by name ("default", "tool_use" ...); unparsed.
struct ChatTemplates {
  std::map<std::string, std::string, std::less<>> sources;

  bool empty() const { return sources.empty(); }
  /// The template of that name, or nullptr.
  const std::string* find(std::string_view name = "default") const;
};

/// The tokens a template may name: "bos_token", "eos_token", "unk_token", "pad_token" ... with
/// their texts; only those the model has.
using SpecialTokens = std::map<std::string, std::string, std::less<>>;

/// The member "chat_template" of tokenizer_config.json or chat_template.json: one template, or a
/// list of named ones.
Result<ChatTemplates> read_chat_templates(const Json& object, std::string_view what);

/// Those of a model's folder: chat_template.jinja, else chat_template.json, else
/// tokenizer_config.json. None is no error.
Result<ChatTemplates> read_folder_chat_templates(const std::filesystem::path& folder);
Result<SpecialTokens> read_folder_special_tokens(const std::filesystem::path& folder);

ChatTemplates gguf_chat_templates(const Checkpoint& checkpoint);
SpecialTokens gguf_special_tokens(const Checkpoint& checkpoint);

}  // namespace quern
