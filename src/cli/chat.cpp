#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"
#include "cli/request_flags.h"
#include "cli/run.h"
#include "llm/prompter.h"

namespace quern {

Result<int> run_chat(const Arguments& arguments) {
  if (arguments.on("--json")) {
    return Error{.code = ErrorCode::kUsage,
                 .message = "chat: --json needs a prompt; give one, or a file with --prompts",
                 .what = "--json"};
  }
  ASSIGN_OR_RETURN(RunOptions options, read_load_flags(arguments));
  ASSIGN_OR_RETURN(Json fields, read_request_flags(arguments));
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, open_model_argument(arguments));
  const Prompter prompter(*model);
  if (!prompter.has_template()) {
    return Error{.code = ErrorCode::kNotFound,
                 .message = cat(model->files.location.name,
                                ": the model has no chat template, so it cannot chat; give it a "
                                "prompt to continue"),
                 .what = "chat_template"};
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Llm> llm, load_llm(*model, options));
  if (!fields.contains("seed")) {
    fields["seed"] = options.seed;
    print_seed(options.seed);
  }

  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal) {
    std::fprintf(stderr, "%s, %lld tokens of context. /clear starts over, /bye or Ctrl-D ends.\n",
                 model->files.location.name.c_str(),
                 static_cast<long long>(llm->plan().shape.max_model_len));
  }
  const Json start =
      arguments.has("--system")
          ? Json::array({{{"role", "system"}, {"content", *arguments.text("--system")}}})
          : Json::array();
  Json messages = start;
  while (!interrupted()) {
    if (terminal) std::fputs(">>> ", stderr);
    std::string line;
    if (!std::getline(std::cin, line) || line == "/bye") break;
    if (line == "/clear") {
      messages = start;
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    messages.push_back({{"role", "user"}, {"content", line}});
    Json turn = fields;
    turn["messages"] = messages;
    if (!turn.contains("max_tokens")) turn["max_tokens"] = llm->plan().shape.max_model_len;
    RequestBody body = default_body(*model);
    RETURN_IF_ERROR(read_request_into(turn, body));
    ASSIGN_OR_RETURN(
        const PreparedRequest prepared,
        prompter.prepare(std::move(body), [](std::string_view text) { print_text(text); }));
    // A conversation that has outgrown the context ends here, with both numbers, not truncated.
    ASSIGN_OR_RETURN(const RequestResult result, answer_until_interrupted(*llm, prepared.request));
    prepared.text->finish();
    print_text("\n");
    if (arguments.on("--verbose")) {
      std::fprintf(stderr,
                   "[%lld prompt tokens, %lld of them cached, %zu generated, %.1f tokens/s]\n",
                   static_cast<long long>(result.prompt_tokens),
                   static_cast<long long>(result.cached_tokens), result.token_ids.size(),
                   result.timing.predicted_per_second(static_cast<int64_t>(result.token_ids.size()))
                       .value_or(0));
    }
    messages.push_back({{"role", "assistant"}, {"content", prepared.text->text()}});
  }
  return 0;
}

namespace {

constexpr std::string_view kFlags[] = {"--model", "--system", "--chat-template-file"};

}  // namespace

const Command kChatCommand = {
    {.name = "chat",
     .arguments = "MODEL",
     .summary = "a conversation (the same as run without a prompt, on a terminal)",
     .min_positional = 1,
     .max_positional = 1,
     .load_flags = true,
     .request_flags = true,
     .flags = kFlags},
    run_chat};

}  // namespace quern
