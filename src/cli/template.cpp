#include "text/template/template.h"

#include "base/file.h"
#include "cli/commands.h"
#include "cli/model_argument.h"
#include "cli/output.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 28;

/// A JSON file as a value of variables: `key` inside an object, or the whole.
Result<Json> read_json(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string content, read_file(path, kMostBytes));
  return parse_json(content, path, ErrorCode::kBadInput);
}

Result<int> run_template(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const TemplateSource source, open_template_argument(arguments));
  ASSIGN_OR_RETURN(const ChatTemplate chat, ChatTemplate::parse(source.text, source.what));

  Json variables = source.variables;
  if (const auto file = arguments.text("--vars")) {
    ASSIGN_OR_RETURN(const Json further, read_json(*file));
    if (!further.is_object()) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat(*file, ": wanted a JSON object of variables"),
                   .what = *file};
    }
    variables.update(further);
  }
  const auto messages_file = arguments.text("--messages");
  if (!messages_file) {
    return Error{.code = ErrorCode::kUsage,
                 .message = "template: needs --messages FILE",
                 .what = "--messages"};
  }
  ASSIGN_OR_RETURN(Json messages, read_json(*messages_file));
  if (messages.is_object()) {
    if (messages.contains("tools")) variables["tools"] = messages["tools"];
    Json inner = messages.contains("messages") ? messages["messages"] : Json();
    messages = std::move(inner);
  }
  if (!messages.is_array()) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat(*messages_file,
                                ": wanted an array of messages, or an object with \"messages\""),
                 .what = *messages_file};
  }
  variables["messages"] = std::move(messages);
  if (const auto file = arguments.text("--tools")) {
    ASSIGN_OR_RETURN(variables["tools"], read_json(*file));
  }
  // A bare flag overrides what --vars says; without it, --vars may.
  if (arguments.has("--generation-prompt") || !variables.contains("add_generation_prompt")) {
    variables["add_generation_prompt"] = arguments.on("--generation-prompt", true);
  }
  add_absent_variables(variables);
  RenderOptions options;
  if (const auto now = arguments.text("--now")) {
    ASSIGN_OR_RETURN(options.now, CivilTime::parse(*now));
  }
  ASSIGN_OR_RETURN(const std::string text, chat.render(variables, options));
  if (arguments.on("--json")) {
    print_json({{"text", text}});
  } else {
    print_text(text);
  }
  return 0;
}

constexpr std::string_view kFlags[] = {"--model", "--messages", "--tools",
                                       "--vars",  "--now",      "--generation-prompt"};

}  // namespace

const Command kTemplateCommand = {
    {.name = "template",
     .arguments = "MODEL|FILE --messages FILE",
     .summary = "what a chat template makes of messages, byte for byte",
     .min_positional = 1,
     .max_positional = 1,
     .flags = kFlags},
    run_template};

}  // namespace quern
