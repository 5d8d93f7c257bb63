#include "models/chat_templates.h"

#include <array>

#include "base/cat.h"
#include "base/file.h"

namespace quern {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxJsonBytes = 64 << 20;  // some list a hundred thousand added tokens
constexpr uint64_t kMaxTemplateBytes = 4 << 20;

constexpr std::array<std::string_view, 7> kTokenNames = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

/// The JSON object in that file; an empty one if there is no such file.
Result<Json> read_optional_object(const fs::path& path) {
  Result<std::string> text = read_file(path, kMaxJsonBytes);
  if (!text) {
    if (text.error().code == ErrorCode::kNotFound) return Json(Json::object());
    return std::move(text).error();
  }
  ASSIGN_OR_RETURN(Json object, parse_json(*text, path.string()));
  if (!object.is_object()) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(path.string(), ": holds a JSON value of type ", object.type_name(),
                                ", wanted an object"),
                 .what = path.string(),
                 .wanted = "a JSON object"};
  }
  return object;
}

/// Adds the tokens of `object` that are not known yet: a string, or an object with "content".
void add_tokens(const Json& object, SpecialTokens& tokens) {
  for (const std::string_view name : kTokenNames) {
    const auto member = object.find(name);
    if (member == object.end()) continue;
    const Json* text = &*member;
    if (text->is_object()) {
      const auto content = text->find("content");
      if (content == text->end()) continue;
      text = &*content;
    }
    if (text->is_string()) {
      tokens.emplace(std::string(name), text->get_ref<const std::string&>());
    }
  }
}

}  // namespace

const std::string* ChatTemplates::find(std::string_view name) const {
  const auto found = sources.find(name);
  return found == sources.end() ? nullptr : &found->second;
}

Result<ChatTemplates> read_chat_templates(const Json& object, std::string_view what) {
  ChatTemplates templates;
  const JsonFields fields(object, std::string(what));
  const Json* value = fields.find("chat_template");
  if (value == nullptr) return templates;
  if (value->is_string()) {
    templates.sources["default"] = value->get_ref<const std::string&>();
    return templates;
  }
  constexpr std::string_view kWanted = "a string, or a list of {\"name\", \"template\"}";
  if (!value->is_array()) return fields.wrong_type("chat_template", kWanted);
  for (const Json& entry : *value) {
    if (!entry.is_object()) return fields.wrong_type("chat_template", kWanted);
    const JsonFields named(entry, cat(what, ": chat_template"));
    ASSIGN_OR_RETURN(const std::optional<std::string> name, named.text("name"));
    ASSIGN_OR_RETURN(const std::optional<std::string> source, named.text("template"));
    if (!name || !source) return fields.wrong_type("chat_template", kWanted);
    templates.sources[*name] = *source;
  }
  return templates;
}

Result<ChatTemplates> read_folder_chat_templates(const fs::path& folder) {
  Result<std::string> jinja = read_file(folder / "chat_template.jinja", kMaxTemplateBytes);
  if (jinja) {
    ChatTemplates templates;
    templates.sources["default"] = *std::move(jinja);
    return templates;
  }
  if (jinja.error().code != ErrorCode::kNotFound) return std::move(jinja).error();
  for (const std::string_view name : {"chat_template.json", "tokenizer_config.json"}) {
    const fs::path path = folder / name;
    ASSIGN_OR_RETURN(const Json object, read_optional_object(path));
    ASSIGN_OR_RETURN(ChatTemplates templates, read_chat_templates(object, path.string()));
    if (!templates.empty()) return templates;
  }
  return ChatTemplates();
}

Result<SpecialTokens> read_folder_special_tokens(const fs::path& folder) {
  SpecialTokens tokens;
  for (const std::string_view name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    ASSIGN_OR_RETURN(const Json object, read_optional_object(folder / name));
    add_tokens(object, tokens);
  }
  return tokens;
}

ChatTemplates gguf_chat_templates(const Checkpoint& checkpoint) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  ChatTemplates templates;
  for (const auto& [key, value] : checkpoint.metadata()) {
    if (!key.starts_with(kKey)) continue;
    const std::string* source = checkpoint.text(key);
    if (source == nullptr) continue;
    const std::string_view rest = std::string_view(key).substr(kKey.size());
    if (rest.empty()) templates.sources["default"] = *source;
    if (rest.starts_with('.')) templates.sources[std::string(rest.substr(1))] = *source;
  }
  return templates;
}

SpecialTokens gguf_special_tokens(const Checkpoint& checkpoint) {
  constexpr std::pair<std::string_view, std::string_view> kKeys[] = {
      {"bos_token", "tokenizer.ggml.bos_token_id"},
      {"eos_token", "tokenizer.ggml.eos_token_id"},
      {"unk_token", "tokenizer.ggml.unknown_token_id"},
      {"sep_token", "tokenizer.ggml.seperator_token_id"},  // as the format spells it
      {"pad_token", "tokenizer.ggml.padding_token_id"},
      {"cls_token", "tokenizer.ggml.cls_token_id"},
      {"mask_token", "tokenizer.ggml.mask_token_id"},
  };
  SpecialTokens tokens;
  const std::vector<std::string>* texts = checkpoint.texts("tokenizer.ggml.tokens");
  if (texts == nullptr) return tokens;
  for (const auto& [name, key] : kKeys) {
    const std::optional<int64_t> id = checkpoint.integer(key);
    if (id && *id >= 0 && std::cmp_less(*id, texts->size())) {
      tokens.emplace(std::string(name), (*texts)[static_cast<size_t>(*id)]);
    }
  }
  return tokens;
}

}  // namespace quern
