#include "measure/load/openai_answer.h"

#include "base/cat.h"
#include "base/json.h"
#include "net/sse_reader.h"

namespace quern {

namespace {

constexpr std::string_view kWhat = "answer";
constexpr size_t kMostEventBytes = 8 << 20;

/// The member of an object, or nullptr.
const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

int64_t count_of(const Json* value) {
  return value != nullptr && value->is_number_integer() ? value->get<int64_t>() : 0;
}

void append_text(const Json& object, const char* key, std::string& out) {
  const Json* const piece = member(object, key);
  if (piece != nullptr && piece->is_string()) out += piece->get_ref<const std::string&>();
}

/// What a choice says, thinks, or calls.
void append_choice(const Json& choice, std::string& out) {
  for (const char* part : {"delta", "message"}) {
    const Json* const found = member(choice, part);
    if (found == nullptr) continue;
    for (const char* key : {"reasoning_content", "reasoning", "content"}) {
      append_text(*found, key, out);
    }
    const Json* const calls = member(*found, "tool_calls");
    if (calls != nullptr && !calls->empty()) out += dump_json(*calls);
  }
  append_text(choice, "text", out);
}

void read_usage(const Json& object, LoadRecord& record) {
  const Json* const usage = member(object, "usage");
  if (usage == nullptr) return;
  record.usage_given = true;
  record.prompt_tokens = count_of(member(*usage, "prompt_tokens"));
  record.completion_tokens = count_of(member(*usage, "completion_tokens"));
  if (const Json* const details = member(*usage, "prompt_tokens_details")) {
    record.cached_tokens = count_of(member(*details, "cached_tokens"));
  }
}

std::string message_of(const Json& error) {
  const Json* const message = member(error, "message");
  return message != nullptr && message->is_string() ? message->get<std::string>()
                                                    : dump_json(error);
}

/// One object of an answer: a chunk of a stream, or all of it.
Result<void> read_object(std::string_view text, int64_t at_ns, LoadRecord& record) {
  ASSIGN_OR_RETURN(const Json object, parse_json(text, kWhat, ErrorCode::kBadInput));
  if (const Json* const error = member(object, "error")) {
    return Error{.code = ErrorCode::kSystem,
                 .message = cat("the server says: ", message_of(*error)),
                 .what = std::string(kWhat)};
  }
  const Json* const choices = member(object, "choices");
  if (choices == nullptr || !choices->is_array()) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat("answer: has no \"choices\": ", text.substr(0, 200)),
                 .what = std::string(kWhat),
                 .wanted = "choices"};
  }
  const size_t size_before = record.text.size();
  for (const Json& choice : *choices) {
    append_choice(choice, record.text);
    const Json* const reason = member(choice, "finish_reason");
    if (reason != nullptr && *reason == "stop") record.stopped_itself = true;
  }
  if (record.text.size() > size_before) record.event_ns.push_back(at_ns);
  read_usage(object, record);
  return {};
}

}  // namespace

std::string error_of_body(std::string_view body) {
  constexpr size_t kMost = 300;
  if (const Result<Json> object = parse_json(body, kWhat, ErrorCode::kBadInput)) {
    if (const Json* const error = member(*object, "error")) return message_of(*error);
  }
  return std::string(body.substr(0, kMost));
}

Result<void> read_openai_stream(const TimedBody& body, LoadRecord& record) {
  SseReader reader(kMostEventBytes);
  Result<void> outcome;
  bool done = false;
  size_t begin = 0;
  for (const TimedBody::Part& part : body.parts) {
    const std::string_view bytes(body.bytes.data() + begin, part.end - begin);
    begin = part.end;
    RETURN_IF_ERROR(reader.feed(bytes, [&](std::string_view data) {
      if (!outcome || done) return;
      if (data == "[DONE]") {
        done = true;
      } else {
        outcome = read_object(data, part.at_ns, record);
      }
    }));
    if (!outcome) return outcome;
  }
  if (done) return {};
  return Error{.code = ErrorCode::kBadInput,
               .message = "the stream ended without [DONE]",
               .what = std::string(kWhat),
               .wanted = "data: [DONE]"};
}

Result<void> read_openai_answer(const TimedBody& body, LoadRecord& record) {
  return read_object(body.bytes, body.parts.empty() ? record.end_ns : body.parts.back().at_ns,
                     record);
}

}  // namespace quern
