#include "cli/prompts_file.h"

#include <cstdio>
#include <map>

#include "base/clock.h"
#include "base/file.h"
#include "cli/answer_json.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"
#include "cli/request_flags.h"
#include "cli/run.h"
#include "llm/prompter.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 30;

/// One line of the file, on its way to an answer.
struct Line {
  int64_t index = 0;
  Json id;
  std::optional<Error> error;
  double arrival_ms = 0;
  PreparedRequest prepared;
};

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// The id of a line that may be wrong in every other way.
Json id_of(const Json& object) {
  if (!object.is_object()) return nullptr;
  const auto id = object.find("id");
  return id == object.end() ? Json() : *id;
}

Result<RequestBody> read_body(const Json& object, const Model& model, const Json& flag_fields) {
  RequestBody body = default_body(model);
  Json fields = flag_fields;
  if (object.is_object()) fields.update(object);
  RETURN_IF_ERROR(read_request_into(object.is_object() ? fields : object, body));
  return body;
}

/// Writes answers as they come, or held back until all before them are written.
class AnswerWriter {
 public:
  explicit AnswerWriter(bool ordered) : ordered_(ordered) {}

  void write(int64_t index, const Json& object) {
    if (!ordered_) {
      print_json_line(object);
      return;
    }
    held_.emplace(index, dump_json(object) + "\n");
    while (!held_.empty() && held_.begin()->first == next_) {
      print_text(held_.begin()->second);
      held_.erase(held_.begin());
      ++next_;
    }
  }

 private:
  bool ordered_;
  int64_t next_ = 0;
  std::map<int64_t, std::string> held_;
};

/// Receives the engine's events and turns each end into a line.
class PromptsRun final : public EventSink {
 public:
  PromptsRun(std::vector<Line>& lines, const Tokenizer* tokenizer, AnswerWriter& writer)
      : lines_(lines), tokenizer_(tokenizer), writer_(writer) {}

  void on_token(const TokenEvent&) override {}
  void on_finished(RequestResult result) override {
    Line& line = lines_[result.tag];
    if (line.prepared.text) line.prepared.text->finish();
    prompt_tokens += result.prompt_tokens;
    cached_tokens += result.cached_tokens;
    completion_tokens += static_cast<int64_t>(result.token_ids.size());
    writer_.write(line.index,
                  answer_json(result, line.prepared.request, line.index, line.id,
                              line.prepared.text ? line.prepared.text->text() : std::string(),
                              tokenizer_, load_ns));
    line.prepared = {};  // a long file must not keep every answer
  }

  int64_t load_ns = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;

 private:
  std::vector<Line>& lines_;
  const Tokenizer* tokenizer_;
  AnswerWriter& writer_;
};

void write_error(AnswerWriter& writer, const Line& line) {
  writer.write(line.index,
               {{"index", line.index}, {"id", line.id}, {"error", error_json(*line.error)}});
}

}  // namespace

Result<int> run_prompts_file(const Arguments& arguments, const std::string& file) {
  ASSIGN_OR_RETURN(RunOptions options, read_load_flags(arguments));
  ASSIGN_OR_RETURN(const Json flag_fields, read_request_flags(arguments));
  std::string content;
  if (file == "-") {
    ASSIGN_OR_RETURN(content, read_stdin(kMostBytes));
  } else {
    ASSIGN_OR_RETURN(content, read_file(file, kMostBytes));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, open_model_argument(arguments));
  const Prompter prompter(*model);

  std::vector<Line> lines;
  for (const std::string_view text : split_lines(content)) {
    Line line{.index = static_cast<int64_t>(lines.size()), .id = {}, .error = {}, .prepared = {}};
    Result<Json> object = parse_json(text, cat("line ", line.index), ErrorCode::kBadInput);
    if (!object) {
      line.error = std::move(object).error();
    } else {
      line.id = id_of(*object);
      Result<RequestBody> body = read_body(*object, *model, flag_fields);
      if (body) {
        line.arrival_ms = body->arrival_ms;
        Result<PreparedRequest> prepared = prompter.prepare(*std::move(body));
        if (prepared) {
          line.prepared = *std::move(prepared);
        } else if (prompter.tokenizer() == nullptr) {
          return std::move(prepared).error();  // no line of text can be right
        } else {
          line.error = std::move(prepared).error();
        }
      } else {
        line.error = std::move(body).error();
      }
    }
    if (line.prepared.request.prompt_logprobs) options.extra_wanted_rows = kPromptLogprobRows;
    lines.push_back(std::move(line));
  }

  ASSIGN_OR_RETURN(const std::unique_ptr<Llm> llm, load_llm(*model, options));
  // What the lines without a seed of their own draw theirs from.
  print_seed(options.seed);
  AnswerWriter writer(!arguments.on("--unordered"));
  PromptsRun run(lines, prompter.tokenizer(), writer);
  run.load_ns = llm->load_ns();
  llm->set_listener(&run);

  Engine& engine = llm->engine();
  const int64_t start_ns = steady_clock().now_ns();
  int64_t num_bad = 0;
  std::vector<RequestId> ids;
  for (Line& line : lines) {
    if (!line.error) {
      Request& request = line.prepared.request;
      request.tag = static_cast<uint64_t>(line.index);
      request.not_before_ns = start_ns + static_cast<int64_t>(line.arrival_ms * 1e6);
      Result<RequestId> id = engine.submit(request);
      if (id) {
        ids.push_back(*id);
      } else {
        line.error = std::move(id).error();
      }
    }
    if (line.error) {
      ++num_bad;
      write_error(writer, line);
    }
  }
  bool cancelled = false;
  const InterruptsNoted noted;
  while (!engine.idle()) {
    if (interrupted() && !cancelled) {
      for (const RequestId id : ids) engine.cancel(id);
      cancelled = true;
    }
    if (!engine.step()) engine.wait_for_work(50'000'000);
  }
  const double wall_s = static_cast<double>(steady_clock().now_ns() - start_ns) / 1e9;

  if (const auto summary = arguments.text("--summary")) {
    const Json object{{"schema", 1},
                      {"requests", lines.size()},
                      {"prompt_tokens", run.prompt_tokens},
                      {"completion_tokens", run.completion_tokens},
                      {"wall_s", wall_s},
                      {"tokens_per_second",
                       wall_s > 0 ? static_cast<double>(run.completion_tokens) / wall_s : 0.0},
                      {"steps", engine.stats().steps},
                      {"memory", memory_json(llm->plan())},
                      {"cached_tokens", run.cached_tokens}};
    RETURN_IF_ERROR(write_file_atomically(*summary, dump_json(object) + "\n"));
  }
  if (num_bad == 0) return 0;
  std::fprintf(stderr, "error: %s: %lld of %zu lines are wrong; each says why in its place\n",
               file.c_str(), static_cast<long long>(num_bad), lines.size());
  return exit_status(ErrorCode::kBadInput);
}

}  // namespace quern
