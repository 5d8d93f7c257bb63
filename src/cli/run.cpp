#include "cli/run.h"

#include <unistd.h>

#include <cstdio>
#include <map>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/answer_json.h"
#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"
#include "cli/prompts_file.h"
#include "cli/request_flags.h"
#include "llm/prompter.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 28;
constexpr int64_t kDefaultMaxTokens = 128;

/// Refuses flags of which one would be without effect.
Result<void> check_combination(const Arguments& arguments) {
  const auto given = [&](std::string_view name) {
    return name == "PROMPT" ? arguments.positional().size() > 1 : arguments.has(name);
  };
  constexpr std::pair<std::string_view, std::string_view> kEitherOr[] = {
      {"PROMPT", "--prompt"},     {"PROMPT", "--messages"},  {"PROMPT", "--prompts"},
      {"--prompt", "--messages"}, {"--prompt", "--prompts"}, {"--messages", "--prompts"},
      {"--raw", "--messages"},    {"--raw", "--prompts"},    {"--raw", "--system"},
      {"--system", "--messages"}, {"--system", "--prompts"},
  };
  for (const auto& [one, other] : kEitherOr) {
    if (!given(one) || !given(other)) continue;
    return Error{
        .code = ErrorCode::kUsage,
        .message = cat("run: ", one, " and ", other, " do not go together; leave one of them out"),
        .what = std::string(one)};
  }
  return {};
}

/// The one prompt of a one-shot run: PROMPT, -p, "-" or stdin, or --messages.
struct OneShot {
  std::optional<std::string> text;
  std::optional<Json> messages;
};

Result<OneShot> read_one_shot(const Arguments& arguments) {
  OneShot shot;
  if (const auto file = arguments.text("--messages")) {
    ASSIGN_OR_RETURN(const std::string content, read_file(*file, kMostBytes));
    ASSIGN_OR_RETURN(Json messages, parse_json(content, *file, ErrorCode::kBadInput));
    if (messages.is_object()) {
      for (const auto& [name, value] : messages.items()) {
        if (name == "messages" || value.is_null()) continue;
        return Error{.code = ErrorCode::kBadInput,
                     .message = cat(*file, ": \"", name,
                                    "\" is not supported beside \"messages\"; leave it out"),
                     .what = name,
                     .wanted = "messages"};
      }
      Json inner = messages.contains("messages") ? messages["messages"] : Json();
      messages = std::move(inner);
    }
    shot.messages = std::move(messages);
    return shot;
  }
  if (arguments.positional().size() > 1) {
    shot.text = arguments.positional()[1];
  } else if (const auto flag_text = arguments.text("--prompt")) {
    shot.text = *flag_text;
  }
  if (shot.text == "-" || (!shot.text && ::isatty(STDIN_FILENO) == 0)) {
    ASSIGN_OR_RETURN(shot.text, read_stdin(kMostBytes));
  }
  return shot;
}

/// The request object of a one-shot run: a user turn where the model has a template, else raw text.
Json one_shot_fields(const OneShot& shot, const Arguments& arguments, bool has_template,
                     Json fields) {
  if (shot.messages) {
    fields["messages"] = *shot.messages;
  } else if (has_template && !arguments.on("--raw")) {
    fields["messages"] = chat_messages(arguments.text("--system"), *shot.text);
  } else {
    fields["prompt"] = *shot.text;
  }
  if (!fields.contains("max_tokens")) fields["max_tokens"] = kDefaultMaxTokens;
  return fields;
}

void print_speed_and_memory(const RequestResult& result, const Llm& llm) {
  const RequestTiming& timing = result.timing;
  const auto seconds = [](std::optional<double> ms) { return ms.value_or(0) / 1e3; };
  const auto generated = static_cast<int64_t>(result.token_ids.size());
  const double load_s = static_cast<double>(llm.load_ns()) / 1e9;
  std::fprintf(stderr,
               "total duration:       %.3f s\nload duration:        %.3f s\n"
               "prompt eval count:    %lld token(s)\nprompt eval duration: %.3f s\n"
               "prompt eval rate:     %.2f tokens/s\neval count:           %lld token(s)\n"
               "eval duration:        %.3f s\neval rate:            %.2f tokens/s\n"
               "TTFT:                 %.1f ms\nTPOT:                 %.2f ms\n",
               load_s + seconds(timing.total_ms()), load_s,
               static_cast<long long>(result.prompt_tokens), seconds(timing.prompt_ms()),
               timing.prompt_per_second(result.prompt_tokens, result.cached_tokens).value_or(0),
               static_cast<long long>(generated), seconds(timing.decode_ms()),
               timing.predicted_per_second(generated).value_or(0), timing.ttft_ms().value_or(0),
               timing.tpot_ms(generated).value_or(0));
  std::fprintf(stderr, "memory:               %.1f MiB planned, %.1f MiB used at most\n",
               static_cast<double>(llm.plan().need.total()) / (1 << 20),
               static_cast<double>(peak_resident_bytes()) / (1 << 20));
}

Result<int> run_command(const Arguments& arguments) {
  RETURN_IF_ERROR(check_combination(arguments));
  if (arguments.has("--image")) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = "--image: this build does not read images yet",
                 .what = "--image"};
  }
  if (const auto file = arguments.text("--prompts")) return run_prompts_file(arguments, *file);
  ASSIGN_OR_RETURN(const OneShot shot, read_one_shot(arguments));
  if (!shot.text && !shot.messages) return run_chat(arguments);
  return run_one(
      arguments,
      [&](bool has_template, Json fields) {
        return one_shot_fields(shot, arguments, has_template, std::move(fields));
      },
      Footer::kNone);
}

constexpr std::string_view kFlags[] = {
    "--model",   "--prompt",    "--messages", "--raw",   "--system",
    "--prompts", "--unordered", "--summary",  "--image", "--chat-template-file"};

}  // namespace

Json chat_messages(const std::optional<std::string>& system, const std::string& user) {
  Json messages = Json::array();
  if (system) messages.push_back({{"role", "system"}, {"content", *system}});
  messages.push_back({{"role", "user"}, {"content", user}});
  return messages;
}

Result<std::unique_ptr<Llm>> load_llm(const Model& model, RunOptions& options) {
  options.exec.progress = progress_bar("loading");
  ASSIGN_OR_RETURN(std::unique_ptr<Llm> llm, Llm::load(model, options));
  const RunPlan& plan = llm->plan();
  if (plan.context_lowered) {
    log_warning(cat("context lowered from the model's ", plan.program.context_length, " to ",
                    plan.shape.max_model_len, " tokens, so that ", plan.shape.max_num_seqs,
                    " sequences fit into memory"));
  }
  return llm;
}

Result<int> run_one(const Arguments& arguments,
                    const std::function<Json(bool has_template, Json fields)>& complete,
                    Footer footer) {
  const bool json = arguments.on("--json");
  ASSIGN_OR_RETURN(RunOptions options, read_load_flags(arguments));
  ASSIGN_OR_RETURN(Json fields, read_request_flags(arguments));
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, open_model_argument(arguments));
  const Prompter prompter(*model);
  RequestBody body = default_body(*model);
  RETURN_IF_ERROR(read_request_into(complete(prompter.has_template(), std::move(fields)), body));
  if (body.request.prompt_logprobs) options.extra_wanted_rows = kPromptLogprobRows;
  const auto print = [&](std::string_view text) {
    if (!json) print_text(text);
  };
  ASSIGN_OR_RETURN(PreparedRequest prepared, prompter.prepare(std::move(body), print));
  // A seed that nobody gave is drawn here, so that it can be printed.
  if (!prepared.request.sampling.seed) prepared.request.sampling.seed = options.seed;

  ASSIGN_OR_RETURN(const std::unique_ptr<Llm> llm, load_llm(*model, options));
  const std::vector<int32_t> prompt = prepared.request.prompt;
  ASSIGN_OR_RETURN(const RequestResult result, answer_until_interrupted(*llm, prepared.request));
  if (prepared.text) prepared.text->finish();
  if (json) {
    Json object = answer_json(result, prepared.request, 0, nullptr,
                              prepared.text ? prepared.text->text() : "", prompter.tokenizer(),
                              llm->load_ns());
    object["prompt_token_ids"] = prompt;
    object["model"] = model->files.location.name;
    object["memory"] = memory_json(llm->plan());
    print_json(std::move(object));
  } else {
    if (!prepared.text) {
      std::string ids;
      for (const int32_t id : result.token_ids) ids += cat(ids.empty() ? "" : " ", id);
      print_text(ids);
    }
    print_text("\n");
  }
  if (footer == Footer::kSpeedAndMemory || arguments.on("--verbose")) {
    print_speed_and_memory(result, *llm);
  }
  if (prepared.request.sampling.temperature > 0) {
    print_seed(result.seed);
  }
  return 0;
}

Result<RequestResult> answer_until_interrupted(Llm& llm, const Request& request) {
  ResultCollector collector;
  llm.set_listener(&collector);
  ASSIGN_OR_RETURN(const RequestId id, llm.engine().submit(request));
  const InterruptsNoted noted;
  while (!llm.engine().idle()) {
    if (interrupted()) llm.engine().cancel(id);
    llm.engine().step();
  }
  llm.set_listener(nullptr);
  ENSURE(collector.results.size() == 1);
  return std::move(collector.results.front());
}

const Command kRunCommand = {{.name = "run",
                              .arguments = "MODEL [PROMPT]",
                              .summary = "one answer, a chat, or the answers to a file of prompts",
                              .min_positional = 1,
                              .max_positional = 2,
                              .load_flags = true,
                              .request_flags = true,
                              .flags = kFlags},
                             run_command};

}  // namespace quern
