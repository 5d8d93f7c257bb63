// Text to ids and back, and what a chat template makes of messages: in the shapes of vLLM and of
// llama.cpp.

#include <limits>

#include "base/cat.h"
#include "engine/field_shape.h"
#include "server/api_error.h"
#include "server/api_request.h"
#include "server/endpoints.h"

namespace quern {

namespace {

/// Reads the body and answers it on a task thread.
template <typename Work>
void in_a_task(Service& service, Call call, Work work) {
  auto shared = std::make_shared<Call>(std::move(call));
  ++service.num_text_tasks;
  service.tasks.push([&service, shared = std::move(shared), work]() mutable {
    const auto answer = [&]() -> Result<Json> {
      ASSIGN_OR_RETURN(const Json object, parse_json(shared->body, "body", ErrorCode::kBadInput));
      if (!object.is_object()) return bad_field("(body)", object.type_name(), "an object");
      if (const auto name = object.find("model");
          name != object.end() && name->is_string() && *name != service.served->id) {
        return no_such_model(name->get<std::string>(), service.served->id);
      }
      return work(*service.served, object);
    }();
    auto response = std::make_shared<HttpResponse>(answer ? json_response(200, *answer)
                                                          : api_error(answer.error()));
    // The pointer moves along: the last owner of a reply is on the loop's thread always.
    service.loop.post([&service, shared = std::move(shared), response] {
      --service.num_text_tasks;
      service.respond(*shared, *response);
    });
  });
}

/// One field of these small bodies.
struct TextField {
  std::string_view name;
  FieldShape shape;
};

Result<void> check_fields(const Json& object, std::span<const TextField> fields) {
  for (const auto& [name, value] : object.items()) {
    const auto field = std::ranges::find(fields, std::string_view(name), &TextField::name);
    if (field == fields.end()) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("field ", shown(Json(name)), " is unknown here"),
                   .what = name};
    }
    if (!value.is_null() && !field->shape.holds(value)) {
      return bad_field(name, shown(value), field->shape.wanted());
    }
  }
  return {};
}

bool flag_of(const Json& object, const char* name, bool otherwise) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? otherwise : found->get<bool>();
}

const Json* find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
constexpr FieldShape kMessages =
    shape::special("an array of messages", R"({"type":"array","items":{"type":"object"}})");

constexpr FieldShape kTools =
    shape::special("an array of tools", R"({"type":"array","items":{"type":"object"}})");
constexpr FieldShape kVariables = shape::special("an object", R"({"type":"object"})");

constexpr TextField kTokenizeFields[] = {
    {"model", shape::text(1, 4096)},
    {"prompt", shape::text(0, kMostTokens)},
    {"content", shape::text(0, kMostTokens)},
    {"messages", kMessages},
    {"add_special_tokens", shape::boolean()},
    {"add_special", shape::boolean()},
    {"parse_special", shape::boolean()},
    {"add_generation_prompt", shape::boolean()},
    {"continue_final_message", shape::boolean()},
    {"chat_template_kwargs", kVariables},
    {"tools", kTools},
    {"return_token_strs", shape::boolean()},
    {"with_pieces", shape::boolean()},
};
constexpr TextField kDetokenizeFields[] = {
    {"model", shape::text(1, 4096)},
    {"tokens", shape::token_ids(0, kMostTokens)},
};
constexpr TextField kTemplateFields[] = {
    {"model", shape::text(1, 4096)},
    {"messages", kMessages},
    {"add_generation_prompt", shape::boolean()},
    {"continue_final_message", shape::boolean()},
    {"chat_template_kwargs", kVariables},
    {"tools", kTools},
};

/// The part of such a body that the chat route has too, checked as that one checks it.
Result<ApiRequest> read_chat(const ServedModel& served, const Json& object) {
  Json chat = Json::object();
  for (const char* name :
       {"messages", "chat_template_kwargs", "add_generation_prompt", "continue_final_message"}) {
    if (object.contains(name)) chat[name] = object[name];
  }
  ASSIGN_OR_RETURN(ApiRequest request,
                   read_api_request(chat, kChatRoute, default_body(served.model)));
  // A template shows tools whether or not an answer can call them.
  if (const Json* const tools = find(object, "tools")) {
    const auto is_object = [](const Json& tool) { return tool.is_object(); };
    if (!tools->is_array() || !std::ranges::all_of(*tools, is_object)) {
      return bad_field("tools", shown(*tools), kTools.wanted());
    }
    if (!tools->empty()) request.chat.tools = *tools;
  }
  return request;
}

}  // namespace

void tokenize(Service& service, Call call) {
  in_a_task(
      service, std::move(call), [](const ServedModel& served, const Json& object) -> Result<Json> {
        RETURN_IF_ERROR(check_fields(object, kTokenizeFields));
        const Json* const messages = find(object, "messages");
        const Json* const prompt = find(object, "prompt");
        const Json* const content = find(object, "content");
        const int given =
            int{messages != nullptr} + int{prompt != nullptr} + int{content != nullptr};
        if (given != 1) {
          return bad_field("prompt", cat(given, " of prompt, content and messages"), "one of them");
        }
        for (const char* of_chat :
             {"tools", "chat_template_kwargs", "add_generation_prompt", "continue_final_message"}) {
          if (messages == nullptr && find(object, of_chat) != nullptr) {
            return bad_field(of_chat, "no messages", "it beside messages");
          }
        }
        std::vector<int32_t> ids;
        if (messages != nullptr) {
          ASSIGN_OR_RETURN(const ApiRequest chat, read_chat(served, object));
          ASSIGN_OR_RETURN(ids, served.prompter.encode_messages(*chat.body.messages, chat.chat));
        } else {
          // llama.cpp adds special tokens to `content` only where it is told to, vLLM to `prompt`
          // always.
          const bool special = content != nullptr ? flag_of(object, "add_special", false)
                                                  : flag_of(object, "add_special_tokens", true);
          const Json& text = content != nullptr ? *content : *prompt;
          ASSIGN_OR_RETURN(ids, served.prompter.encode(
                                    text.get_ref<const std::string&>(),
                                    {.add_special_tokens = special,
                                     .parse_special = flag_of(object, "parse_special", true)}));
        }
        const Tokenizer& tokenizer = *served.prompter.tokenizer();
        const auto text_of = [&](int32_t id) {
          return std::string(tokenizer.token_text(id).value_or(std::string_view()));
        };
        Json answer = {{"count", ids.size()},
                       {"max_model_len", served.llm.plan().shape.max_model_len},
                       {"tokens", ids}};
        if (flag_of(object, "with_pieces", false)) {
          Json pieces = Json::array();
          for (const int32_t id : ids) pieces.push_back({{"id", id}, {"piece", text_of(id)}});
          answer["tokens"] = std::move(pieces);
        }
        if (flag_of(object, "return_token_strs", false)) {
          Json texts = Json::array();
          for (const int32_t id : ids) texts.push_back(text_of(id));
          answer["token_strs"] = std::move(texts);
        }
        return answer;
      });
}

void detokenize(Service& service, Call call) {
  in_a_task(
      service, std::move(call), [](const ServedModel& served, const Json& object) -> Result<Json> {
        RETURN_IF_ERROR(check_fields(object, kDetokenizeFields));
        const Json* const tokens = find(object, "tokens");
        if (tokens == nullptr) return bad_field("tokens", "nothing", "an array of token ids");
        const int64_t vocab_size = served.llm.plan().program.vocab_size;
        for (const Json& id : *tokens) {
          if (id.get<int64_t>() >= vocab_size) {
            return bad_field("tokens", shown(id), cat("token ids from 0 to ", vocab_size - 1));
          }
        }
        RETURN_IF_ERROR(served.model.files.tokenizer());
        const std::string text =
            served.prompter.tokenizer()->decode(tokens->get<std::vector<int32_t>>());
        return Json{{"prompt", text}, {"content", text}};
      });
}

void apply_template(Service& service, Call call) {
  in_a_task(service, std::move(call),
            [](const ServedModel& served, const Json& object) -> Result<Json> {
              RETURN_IF_ERROR(check_fields(object, kTemplateFields));
              ASSIGN_OR_RETURN(const ApiRequest chat, read_chat(served, object));
              ASSIGN_OR_RETURN(std::string text,
                               served.prompter.render_messages(*chat.body.messages, chat.chat));
              return Json{{"prompt", std::move(text)}};
            });
}

}  // namespace quern
