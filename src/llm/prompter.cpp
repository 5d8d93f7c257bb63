#include "llm/prompter.h"

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"

namespace quern {

namespace {

Result<ChatTemplate> read_template(const ModelFiles& files) {
  const std::string& name = files.location.name;
  ASSIGN_OR_RETURN(const ChatTemplates templates, files.chat_templates());
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
  return ChatTemplate::parse(*source, cat(name, ": chat template"));
}

/// The ids of a word as it begins a text and as it goes on one, where that is one other run of as
/// many ids: what vLLM bans for it.
Result<void> add_bad_word(const Tokenizer& tokenizer, std::string_view word,
                          std::vector<std::vector<int32_t>>& words) {
  const std::string bare(word.substr(std::min(word.find_first_not_of(' '), word.size() - 1)));
  const EncodeOptions options{.add_special_tokens = false};
  ASSIGN_OR_RETURN(std::vector<int32_t> first, tokenizer.encode(bare, options));
  ASSIGN_OR_RETURN(std::vector<int32_t> later, tokenizer.encode(" " + bare, options));
  if (first.empty()) return bad_field("bad_words", "a word without tokens", "words with tokens");
  const bool is_other = later.size() == first.size() && later.front() != first.front();
  words.push_back(std::move(first));
  if (is_other) words.push_back(std::move(later));
  return {};
}

}  // namespace

Prompter::Prompter(const Model& model)
    : model_(model),
      template_(read_template(model.files)),
      special_tokens_(model.files.special_tokens()) {
  const Result<const Tokenizer*> found = model_.files.tokenizer();
  if (!found && found.error().code != ErrorCode::kNotFound) log_warning(found.error().message);
}

Result<PreparedRequest> Prompter::prepare(RequestBody body,
                                          std::function<void(std::string_view)> on_text) const {
  RETURN_IF_ERROR(encode_bad_words(body));
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
    RETURN_IF_ERROR(model_.files.tokenizer());  // says which file is missing
  }
  if (vocabulary != nullptr) {
    prepared.text = std::make_shared<AnswerText>(
        *vocabulary, ids,
        AnswerText::Options{.stop = std::move(body.stop),
                            .skip = body.skip_special_tokens ? SkipSpecial::kYes : SkipSpecial::kNo,
                            .min_tokens = body.request.min_tokens,
                            .on_text = std::move(on_text)});
  }
  prepared.request = std::move(body.request);
  prepared.request.prompt = std::move(ids);
  prepared.request.watcher = prepared.text;
  return prepared;
}

Result<void> Prompter::encode_bad_words(RequestBody& body) const {
  if (body.bad_words.empty()) return {};
  ASSIGN_OR_RETURN(const Tokenizer* vocabulary, model_.files.tokenizer());
  for (const std::string& word : std::exchange(body.bad_words, {})) {
    RETURN_IF_ERROR(add_bad_word(*vocabulary, word, body.request.sampling.bad_words));
  }
  return {};
}

Result<std::vector<int32_t>> Prompter::encode(const std::string& text,
                                              EncodeOptions options) const {
  ASSIGN_OR_RETURN(const Tokenizer* vocabulary, model_.files.tokenizer());
  return vocabulary->encode(text, options);
}

Result<std::vector<Segment>> Prompter::segments(const Json& messages,
                                                const TemplateOptions& options) const {
  if (!template_) return template_.error();
  if (!special_tokens_) return special_tokens_.error();
  for (const auto& [name, value] : options.variables.items()) {
    if (!template_->reads(name) || special_tokens_->contains(name)) {
      return bad_field("chat_template_kwargs", shown(Json(name)),
                       "variables that the model's chat template reads and nothing else sets");
    }
  }
  if (!options.tools.is_null() && !template_->reads("tools")) {
    return bad_field("tools", cat(options.tools.size(), " of them"),
                     "none: the model's chat template reads no tools");
  }
  Json variables = options.variables;
  if (!options.tools.is_null()) variables["tools"] = options.tools;
  for (const auto& [name, text] : *special_tokens_) variables[name] = text;
  variables["messages"] = messages;
  const bool adds = options.add_generation_prompt.value_or(!options.continue_final_message);
  if (adds && options.continue_final_message) {
    return bad_field("add_generation_prompt", "true beside continue_final_message", "one of them");
  }
  variables["add_generation_prompt"] = adds;
  add_absent_variables(variables);
  Result<std::vector<Segment>> rendered = template_->render_segments(variables);
  if (!rendered) {
    Error error = std::move(rendered).error();
    error.what = "messages";
    return error;
  }
  std::vector<Segment> all = *std::move(rendered);
  if (!options.continue_final_message) return all;

  // What the template puts behind the last message goes, as transformers has it.
  const Json& last = messages.back();
  const auto content = last.find("content");
  if (content == last.end() || !content->is_string()) {
    return bad_field("continue_final_message", "a last message without text", "one with text");
  }
  const auto& text = content->get_ref<const std::string&>();
  for (size_t i = all.size(); i-- > 0;) {
    const size_t at = all[i].from_variables ? all[i].text.rfind(text) : std::string::npos;
    if (at == std::string::npos) continue;
    all[i].text.resize(at + text.size());
    all.resize(i + 1);
    return all;
  }
  return bad_field("continue_final_message", "a chat template that changes the last message",
                   "one that gives it as it is");
}

Result<std::string> Prompter::render_messages(const Json& messages,
                                              const TemplateOptions& options) const {
  ASSIGN_OR_RETURN(const std::vector<Segment> all, segments(messages, options));
  std::string text;
  for (const Segment& segment : all) text += segment.text;
  return text;
}

Result<std::vector<int32_t>> Prompter::encode_messages(const Json& messages,
                                                       const TemplateOptions& options,
                                                       PromptTimes* times) const {
  ASSIGN_OR_RETURN(const Tokenizer* vocabulary, model_.files.tokenizer());
  const int64_t begun_ns = steady_clock().now_ns();
  ASSIGN_OR_RETURN(const std::vector<Segment> all, segments(messages, options));
  std::string text;
  std::vector<ByteRange> plain;
  for (const Segment& segment : all) {
    if (segment.from_variables) plain.push_back({text.size(), text.size() + segment.text.size()});
    text += segment.text;
  }
  const int64_t rendered_ns = steady_clock().now_ns();
  // The template writes every special token there is to be, BOS included.
  Result<std::vector<int32_t>> ids =
      vocabulary->encode(text, {.add_special_tokens = false, .plain_text = plain});
  if (times != nullptr) {
    times->template_ns += rendered_ns - begun_ns;
    times->tokenise_ns += steady_clock().now_ns() - rendered_ns;
  }
  return ids;
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

}  // namespace quern
