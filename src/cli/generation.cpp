#include "cli/generation.h"

#include <algorithm>

#include "base/log.h"
#include "base/numbers.h"

namespace quern {

Prompter::Prompter(const Model& model) : model_(model) {
  const Result<const Tokenizer*> found = model_.files.tokenizer();
  if (!found && found.error().code != ErrorCode::kNotFound) log_warning(found.error().message);
}

Result<PreparedRequest> Prompter::prepare(RequestBody body,
                                          std::function<void(std::string_view)> on_text) const {
  PreparedRequest prepared;
  std::vector<int32_t> ids;
  if (body.prompt_token_ids) {
    ids = *std::move(body.prompt_token_ids);
  } else if (body.messages) {
    ASSIGN_OR_RETURN(ids, encode_messages(*body.messages));
  } else {
    ASSIGN_OR_RETURN(ids, encode(*body.prompt, {.add_special_tokens = body.add_special_tokens,
                                                .parse_special = body.parse_special}));
  }
  const Tokenizer* vocabulary = tokenizer();
  if (vocabulary == nullptr && !body.stop.empty()) {
    // Says which file is missing.
    RETURN_IF_ERROR(model_.files.tokenizer());
  }
  if (vocabulary != nullptr) {
    prepared.text =
        std::make_shared<AnswerText>(*vocabulary, ids,
                                     AnswerText::Options{.stop = std::move(body.stop),
                                                         .min_tokens = body.request.min_tokens,
                                                         .on_text = std::move(on_text)});
  }
  prepared.request = std::move(body.request);
  prepared.request.prompt = std::move(ids);
  prepared.request.watcher = prepared.text;
  return prepared;
}

Result<std::vector<int32_t>> Prompter::encode(const std::string& text,
                                              EncodeOptions options) const {
  ASSIGN_OR_RETURN(const Tokenizer* vocabulary, model_.files.tokenizer());
  return vocabulary->encode(text, options);
}

bool Prompter::has_template() const {
  const Result<ChatTemplates> templates = model_.files.chat_templates();
  return !templates || !templates->empty();
}

Result<const ChatTemplate*> Prompter::chat_template() const {
  if (!template_) {
    const std::string& name = model_.files.location.name;
    ASSIGN_OR_RETURN(const ChatTemplates templates, model_.files.chat_templates());
    const std::string* source = templates.find();
    if (source == nullptr) {
      return Error{.code = ErrorCode::kNotFound,
                   .message = cat(name,
                                  ": the model has no chat template (chat_template in "
                                  "tokenizer_config.json, or chat_template.jinja); give the prompt "
                                  "as text"),
                   .what = "chat_template",
                   .wanted = "a chat template"};
    }
    ASSIGN_OR_RETURN(template_, ChatTemplate::parse(*source, cat(name, ": chat template")));
  }
  return &*template_;
}

Result<std::vector<int32_t>> Prompter::encode_messages(const Json& messages) const {
  ASSIGN_OR_RETURN(const ChatTemplate* chat, chat_template());
  ASSIGN_OR_RETURN(const Tokenizer* vocabulary, model_.files.tokenizer());
  ASSIGN_OR_RETURN(const SpecialTokens tokens, model_.files.special_tokens());
  Json variables = Json::object();
  for (const auto& [name, text] : tokens) variables[name] = text;
  variables["messages"] = messages;
  variables["add_generation_prompt"] = true;
  add_absent_variables(variables);
  ASSIGN_OR_RETURN(const std::vector<Segment> segments, chat->render_segments(variables));
  std::string text;
  std::vector<ByteRange> plain;
  for (const Segment& segment : segments) {
    if (segment.from_variables) plain.push_back({text.size(), text.size() + segment.text.size()});
    text += segment.text;
  }
  // The template writes every special token there is to be, BOS included.
  return vocabulary->encode(text, {.add_special_tokens = false, .plain_text = plain});
}

const Tokenizer* Prompter::tokenizer() const {
  const Result<const Tokenizer*> found = model_.files.tokenizer();
  return found ? *found : nullptr;
}

RequestBody default_body(const Model& model) {
  const GenerationConfig& defaults = model.generation;
  RequestBody body;
  SamplingParams& sampling = body.request.sampling;
  const auto over = [](float& value, const std::optional<double>& given) {
    if (given) value = static_cast<float>(*given);
  };
  over(sampling.temperature, defaults.temperature);
  if (defaults.do_sample == false) sampling.temperature = 0;
  sampling.top_k = defaults.top_k.value_or(sampling.top_k);
  over(sampling.top_p, defaults.top_p);
  over(sampling.min_p, defaults.min_p);
  over(sampling.typical_p, defaults.typical_p);
  over(sampling.repetition_penalty, defaults.repetition_penalty);
  return body;
}

namespace {

/// --max-tokens -> max_tokens
std::string field_name(std::string_view flag_name) {
  std::string name(flag_name.substr(2));
  std::ranges::replace(name, '-', '_');
  return name;
}

/// A flag's word as the JSON value that its field takes.
Result<Json> flag_value(std::string_view flag_name, const std::string& word) {
  if (const auto integer = parse_integer<int64_t>(word)) return Json(*integer);
  if (const auto natural = parse_integer<uint64_t>(word)) return Json(*natural);
  if (const auto number = parse_number(word)) return Json(*number);
  return bad_value(flag_name, word, "a number");
}

}  // namespace

Result<Json> read_request_flags(const Arguments& arguments) {
  Json fields = Json::object();
  for (const Flag& f : flags()) {
    // --seed stands with the flags of the model and is a field of the request all the same.
    const bool is_field = f.group == FlagGroup::kRequest || f.name == "--seed";
    if (!is_field || !arguments.has(f.name)) continue;
    const std::string name = field_name(f.name);
    const std::vector<std::string> words = arguments.texts(f.name);
    if (f.kind == FlagKind::kSwitch) {
      fields[name] = true;
    } else if (f.name == "--stop") {
      fields[name] = words;
    } else if (f.name == "--logit-bias") {
      for (const std::string& word : words) {
        const size_t equals = word.find('=');
        if (equals == std::string::npos) return bad_value(f.name, word, "ID=NUMBER");
        ASSIGN_OR_RETURN(fields[name][word.substr(0, equals)],
                         flag_value(f.name, word.substr(equals + 1)));
      }
    } else if (f.kind == FlagKind::kRepeatable) {
      for (const std::string& word : words) {
        ASSIGN_OR_RETURN(Json value, flag_value(f.name, word));
        fields[name].push_back(std::move(value));
      }
    } else {
      ASSIGN_OR_RETURN(fields[name], flag_value(f.name, words.back()));
    }
    // The field's own bounds, said in the flag's name.
    const auto field = std::ranges::find(request_fields(), name, &RequestField::name);
    ENSURE(field != request_fields().end(), name);
    RequestBody probe;
    if (!field->take(fields[name], probe)) return bad_value(f.name, words.back(), field->wanted);
  }
  return fields;
}

}  // namespace quern
