#include "server/answer.h"

#include <algorithm>
#include <ctime>

#include "base/cat.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "server/api_error.h"

namespace quern {

namespace {

/// A slow reader gets fewer, larger chunks: what comes while so much waits to be taken is held.
constexpr uint64_t kMostUnsentBytes = 64 << 10;
/// A reader for whom this much is held is dropped.
constexpr size_t kMostHeldBytes = 256 << 10;
constexpr int64_t kCompletionTokens = 16;
constexpr int kClientClosedRequest = 499;  // as nginx logs it; nobody gets it

double to_ms(int64_t ns) { return static_cast<double>(ns) * 1e-6; }

int64_t now_ns() { return steady_clock().now_ns(); }

/// Submission to end as the engine spent it.
std::vector<std::pair<std::string_view, double>> engine_parts(const RequestTiming& timing) {
  return {{"queue_ms", to_ms(timing.queue_ns)},
          {"cache_lookup_ms", to_ms(timing.cache_lookup_ns)},
          {"prefill_own_ms", to_ms(timing.prefill_own_ns)},
          {"others_ms", to_ms(timing.others_ns)},
          {"decode_ms", to_ms(timing.decode_ns)},
          {"sampling_ms", to_ms(timing.sampling_ns)}};
}

std::string_view finish_reason_text(FinishReason reason) {
  return reason == FinishReason::kCancelled ? "abort" : finish_reason_name(reason);
}

}  // namespace

void Answer::start(Service& service, Call call, ApiRoute route) {
  const uint64_t number = service.next_answer++;
  const auto answer = std::make_shared<Answer>(service, std::move(call), route, number);
  service.answers.emplace(number, answer);
  answer->call_.reply->on_gone([answer = std::weak_ptr(answer)] {
    if (const auto live = answer.lock()) live->client_left();
  });
  // The pointer moves along: the last owner of a reply is on the loop's thread always.
  service.tasks.push([answer = answer]() mutable {
    auto prepared = std::make_shared<Result<void>>(answer->prepare());
    EventLoop& loop = answer->service_.loop;
    loop.post([answer = std::move(answer), prepared] { answer->go_on(*prepared); });
  });
}

Answer::Answer(Service& service, Call call, ApiRoute route, uint64_t number)
    : service_(service),
      call_(std::move(call)),
      number_(number),
      frame_{.route = route,
             .id = cat(route == kChatRoute ? "chatcmpl-" : "cmpl-", call_.id),
             .created = static_cast<int64_t>(std::time(nullptr)),
             .model = service.served->id} {}

// -- Preparing, on a task thread ------------------------------------------------------------------

Result<void> Answer::prepare() {
  task_begun_ns_ = now_ns();
  ASSIGN_OR_RETURN(const Json object, parse_json(call_.body, "body", ErrorCode::kBadInput));
  const ServedModel& served = *service_.served;
  ASSIGN_OR_RETURN(request_, read_api_request(object, frame_.route, default_body(served.model)));
  call_.body = {};
  if (request_.model && *request_.model != served.id) {
    return no_such_model(*request_.model, served.id);
  }
  if (request_.request_id) {
    frame_.id = cat(frame_.route == kChatRoute ? "chatcmpl-" : "cmpl-", *request_.request_id);
  }
  if (served.prompter.tokenizer() == nullptr) {
    RETURN_IF_ERROR(served.model.files.tokenizer());  // says which file is missing
  }
  read_ns_ = now_ns() - task_begun_ns_;

  Request& wish = request_.body.request;
  wish.wants_progress = request_.return_progress || request_.timings_per_token;
  const int64_t default_tokens =
      frame_.route == kChatRoute ? served.llm.plan().shape.max_model_len : kCompletionTokens;
  wish.max_tokens = request_.max_tokens.value_or(default_tokens);
  wish.tenant = call_.tenant;
  wants_logprobs_ = wish.logprobs.has_value();
  shows_prompt_logprobs_ = wish.prompt_logprobs.has_value();
  if (request_.echo && wants_logprobs_) {
    wish.prompt_logprobs = std::max(wish.prompt_logprobs.value_or(0), *wish.logprobs);
  }
  // Tenants share no prefixes; whoever wants none shared shares with nobody.
  wish.cache_salt = cat(call_.tenant, ":", wish.cache_salt,
                        request_.cache_prompt ? std::string() : cat(":", call_.id));
  if (frame_.route == kChatRoute) {
    RETURN_IF_ERROR(prepare_choices(request_.body, nullptr));
  } else {
    for (const Json& prompt : request_.prompts) {
      RETURN_IF_ERROR(prepare_choices(request_.body, &prompt));
    }
  }
  const int64_t most = service_.served->llm.engine().options().max_live_requests;
  if (static_cast<int64_t>(choices_.size()) > most) {
    return bad_field("n", cat(choices_.size(), " answers"), cat("at most ", most, " at once here"));
  }
  return {};
}

Result<void> Answer::prepare_choices(RequestBody body, const Json* prompt) {
  const Prompter& prompter = service_.served->prompter;
  std::vector<int32_t> ids;
  if (body.messages) {
    PromptTimes times;
    ASSIGN_OR_RETURN(ids, prompter.encode_messages(*body.messages, request_.chat, &times));
    template_ns_ += times.template_ns;
    tokenise_ns_ += times.tokenise_ns;
    body.messages.reset();
  } else if (prompt->is_string()) {
    const int64_t begun_ns = now_ns();
    ASSIGN_OR_RETURN(ids, prompter.encode(prompt->get_ref<const std::string&>(),
                                          {.add_special_tokens = body.add_special_tokens,
                                           .parse_special = body.parse_special}));
    tokenise_ns_ += now_ns() - begun_ns;
  } else {
    ids = prompt->get<std::vector<int32_t>>();
  }
  if (const auto keep = request_.truncate_prompt_tokens) {
    if (static_cast<int64_t>(ids.size()) > *keep) ids.erase(ids.begin(), ids.end() - *keep);
  }
  if (Result<void> fits = check_prompt_length(static_cast<int64_t>(ids.size()),
                                              service_.served->llm.plan().shape.max_model_len);
      !fits) {
    Error error = std::move(fits).error();
    if (frame_.route == kChatRoute) error.what = "messages";
    return error;
  }
  if (gone_) return {};
  std::string prompt_text;
  if (request_.echo) {
    prompt_text = prompt->is_string() && !request_.truncate_prompt_tokens
                      ? prompt->get<std::string>()
                      : prompter.tokenizer()->decode(
                            ids, body.skip_special_tokens ? SkipSpecial::kYes : SkipSpecial::kNo);
  }
  RETURN_IF_ERROR(prompter.encode_bad_words(body));
  for (int64_t i = 0; i < request_.n; ++i) {
    const uint64_t tag = number_ << kChoiceBits | choices_.size();
    RequestBody one = body;
    one.prompt_token_ids = ids;
    // Choices of one seed differ as requests with seeds that count up.
    if (one.request.sampling.seed) *one.request.sampling.seed += static_cast<uint64_t>(i);
    Choice choice;
    ASSIGN_OR_RETURN(
        choice.prepared,
        prompter.prepare(std::move(one), [&outbox = service_.outbox, tag](std::string_view text) {
          outbox.on_text(tag, text);
        }));
    choice.prepared.request.tag = tag;
    choice.prompt_text = prompt_text;
    choice.usage.prompt_tokens = static_cast<int64_t>(ids.size());
    choice.first_prompt_id = ids.empty() ? 0 : ids.front();
    choices_.push_back(std::move(choice));
  }
  return {};
}

// -- On the loop's thread -------------------------------------------------------------------------

void Answer::go_on(const Result<void>& prepared) {
  preparing_ = false;
  if (gone_) return finish_accounting(kClientClosedRequest);
  if (failed_early_) return fail(*failed_early_);
  if (!prepared) return fail(prepared.error());
  submit();
}

void Answer::submit() {
  submitted_ns_ = now_ns();
  Engine& engine = service_.served->llm.engine();
  for (Choice& choice : choices_) {
    const uint64_t tag = choice.prepared.request.tag;
    service_.outbox.expect(tag, choice.prepared.text);
    const Result<RequestId> id = engine.submit(std::move(choice.prepared.request));
    if (!id) {
      service_.outbox.forget(tag);
      return fail(id.error());
    }
    choice.id = *id;
    choice.submitted = true;
  }
  last_write_ns_ = submitted_ns_;
  if (!request_.stream) return;
  streaming_ = true;
  call_.reply->begin(200, {{"content-type", "text/event-stream; charset=utf-8"},
                           {"cache-control", "no-cache"},
                           {"x-accel-buffering", "no"},
                           {"x-request-id", call_.id}});
}

void Answer::on_event(AnswerEvent event) {
  if (over_) return;
  const size_t index = event.tag & ((uint64_t{1} << kChoiceBits) - 1);
  Choice& choice = choices_[index];
  choice.text += event.text;
  if (event.progress) {
    choice.timing.scheduled_ns = event.progress->scheduled_ns;
    choice.usage.cached_tokens = event.progress->cached_tokens;
    if (request_.return_progress) write_progress(choice, index, *event.progress);
    return;
  }
  if (event.token) {
    const int64_t now = event.token->time_ns;
    const bool is_first = ++choice.usage.completion_tokens == 1;
    if (is_first) choice.timing.first_token_ns = now;
    service_.metrics.on_token(now - (is_first ? call_.received_ns : choice.timing.last_token_ns),
                              choice.usage.completion_tokens);
    choice.timing.last_token_ns = now;
    // A whole answer has these from the engine's result.
    if (streaming_ && (event.token->logprob || request_.return_token_ids)) {
      choice.tokens.push_back(*std::move(event.token));
    }
    if (streaming_ && !choice.text.empty()) write_pending(choice, index);
    return;
  }
  choice.result = std::move(event.result);
  choice.usage.cached_tokens = choice.result->cached_tokens;
  if (const auto* stop = std::get_if<std::string>(&choice.result->stop_reason);
      stop != nullptr && request_.include_stop_str_in_output) {
    choice.text += *stop;
  }
  if (choice.result->finish_reason == FinishReason::kCancelled) {
    return fail({.code = ErrorCode::kOverloaded,
                 .message = "the server is stopping; the answer was cut short",
                 .what = "draining"});
  }
  if (streaming_) write_end(choice, index);
  if (++num_ended_ < choices_.size()) return;
  if (!streaming_) return finish_whole();
  if (request_.include_usage) {
    Json last = frame_json(frame_, true, Json::array());
    last["usage"] = usage_json(usage());
    call_.reply->write(event_text(last));
  }
  call_.reply->write("data: [DONE]\n\n");
  call_.reply->finish();
  finish_accounting(200);
}

void Answer::write_pending(Choice& choice, size_t index) {
  const uint64_t unsent = call_.reply->unsent_bytes();
  if (unsent > kMostUnsentBytes && choice.result == nullptr) {
    if (held_bytes() < kMostHeldBytes) return;
    return fail(
        {.code = ErrorCode::kSystem, .message = "the answer is read too slowly; it was given up"});
  }
  std::string text = std::exchange(choice.text, {});
  const std::vector<AnswerToken> tokens = std::exchange(choice.tokens, {});
  Json one = {{"index", index}};
  if (frame_.route == kChatRoute) {
    Json delta = Json::object();
    if (!choice.role_sent) delta["role"] = "assistant";
    delta["content"] = std::move(text);
    one["delta"] = std::move(delta);
  } else {
    if (!choice.role_sent && request_.echo) text.insert(0, choice.prompt_text);
    one["text"] = std::move(text);
  }
  choice.role_sent = true;
  one["logprobs"] = choice_logprobs(choice, tokens);
  one["finish_reason"] = nullptr;
  if (request_.return_token_ids) {
    Json ids = Json::array();
    for (const AnswerToken& token : tokens) ids.push_back(token.token_id);
    one["token_ids"] = std::move(ids);
  }
  Json more = Json::object();
  if (request_.timings_per_token)
    more["timings"] = server_timings_json(choice.timing, choice.usage);
  write_chunk(Json::array({std::move(one)}), more);
}

/// Says the role where that has not been said, and nothing else of the answer.
void Answer::write_progress(Choice& choice, size_t index, const PromptProgress& progress) {
  Json one = {{"index", index}};
  if (frame_.route == kCompletionsRoute) {
    one["text"] = "";
  } else if (choice.role_sent) {
    one["delta"] = Json::object();
  } else {
    one["delta"] = {{"role", "assistant"}, {"content", ""}};
    choice.role_sent = true;
  }
  one["logprobs"] = nullptr;
  one["finish_reason"] = nullptr;
  write_chunk(Json::array({std::move(one)}), {{"prompt_progress", prompt_progress_json(progress)}});
}

void Answer::write_end(Choice& choice, size_t index) {
  if (!choice.text.empty() || !choice.tokens.empty() || !choice.role_sent) {
    write_pending(choice, index);
    if (over_) return;
  }
  Json one = {{"index", index}};
  if (frame_.route == kChatRoute) {
    one["delta"] = Json::object();
  } else {
    one["text"] = "";
  }
  one["logprobs"] = nullptr;
  one["finish_reason"] = finish_reason_text(choice.result->finish_reason);
  one["stop_reason"] = stop_reason_json(choice.result->stop_reason);
  write_chunk(Json::array({std::move(one)}),
              {{"timings", server_timings_json(*choice.result, choice.usage)}});
}

void Answer::write_chunk(Json choices, const Json& more) {
  Json chunk = frame_json(frame_, true, std::move(choices));
  if (request_.continuous_usage) {
    chunk["usage"] = usage_json(usage());
  } else if (request_.include_usage) {
    chunk["usage"] = nullptr;
  }
  chunk.update(more);
  call_.reply->write(event_text(chunk));
  last_write_ns_ = now_ns();
}

void Answer::finish_whole() {
  // Log-probabilities of a long answer are megabytes of JSON: too much for the loop.
  if (!wants_logprobs_ && !shows_prompt_logprobs_) return send(whole());
  service_.tasks.push([answer = shared_from_this()]() mutable {
    auto response = std::make_shared<HttpResponse>(answer->whole());
    EventLoop& loop = answer->service_.loop;
    loop.post([answer = std::move(answer), response] {
      if (!answer->over_) answer->send(std::move(*response));
    });
  });
}

HttpResponse Answer::whole() {
  Json list = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    const RequestResult& result = *choice.result;
    const bool echoes_logprobs = request_.echo && result.prompt_logprobs.tokens.size() > 0;
    Json one = {{"index", i}};
    if (frame_.route == kChatRoute) {
      one["message"] = {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}};
    } else {
      one["text"] = request_.echo ? choice.prompt_text + choice.text : choice.text;
    }
    std::vector<AnswerToken> tokens;
    if (echoes_logprobs) {
      tokens = answer_tokens(result.prompt_logprobs);
      // Nothing predicts the first token.
      tokens.insert(tokens.begin(), AnswerToken{.token_id = choice.first_prompt_id});
    }
    const std::vector<AnswerToken> answered = answer_tokens(result.logprobs);
    tokens.insert(tokens.end(), answered.begin(), answered.end());
    choice.offset = 0;
    one["logprobs"] = choice_logprobs(choice, tokens);
    one["finish_reason"] = finish_reason_text(result.finish_reason);
    one["stop_reason"] = stop_reason_json(result.stop_reason);
    if (request_.return_token_ids) one["token_ids"] = result.token_ids;
    if (shows_prompt_logprobs_) {
      one["prompt_logprobs"] =
          prompt_logprobs_json(result.prompt_logprobs, *service_.served->prompter.tokenizer());
    }
    list.push_back(std::move(one));
  }
  Json body = frame_json(frame_, false, std::move(list));
  body["usage"] = usage_json(usage());
  const Choice& first = choices_.front();
  body["timings"] = server_timings_json(*first.result, first.usage);
  HttpResponse response = json_response(200, body);
  response.headers.emplace_back("x-request-id", call_.id);
  return response;
}

void Answer::send(HttpResponse response) {
  call_.reply->send(std::move(response));
  finish_accounting(200);
}

Json Answer::choice_logprobs(Choice& choice, std::span<const AnswerToken> tokens) {
  if (!wants_logprobs_) return nullptr;
  const Tokenizer& tokenizer = *service_.served->prompter.tokenizer();
  return frame_.route == kChatRoute ? chat_logprobs_json(tokens, tokenizer)
                                    : completion_logprobs_json(tokens, tokenizer, choice.offset);
}

size_t Answer::held_bytes() const {
  size_t bytes = 0;
  for (const Choice& choice : choices_) {
    bytes += choice.text.size();
    for (const AnswerToken& token : choice.tokens) {
      bytes += sizeof(AnswerToken) + token.top.size() * sizeof(TokenLogprob);
    }
  }
  return bytes;
}

AnswerUsage Answer::usage() const {
  AnswerUsage usage;
  for (const Choice& choice : choices_) usage.completion_tokens += choice.usage.completion_tokens;
  // Choices of one prompt pay for it once; what the first of them found was there before.
  for (size_t i = 0; i < choices_.size(); i += static_cast<size_t>(request_.n)) {
    usage.prompt_tokens += choices_[i].usage.prompt_tokens;
    usage.cached_tokens += choices_[i].usage.cached_tokens;
  }
  return usage;
}

void Answer::keep_alive(int64_t now) {
  if (!streaming_ || now - last_write_ns_ < service_.options.heartbeat_ms * 1'000'000) return;
  call_.reply->write(": waiting\n\n");
  last_write_ns_ = now;
}

void Answer::fail(const Error& error) {
  if (over_) return;
  if (preparing_) {
    failed_early_ = error;
    return;
  }
  cancel_all();
  const bool too_late = streaming_;
  const HttpResponse response = api_error(error);
  if (too_late) {
    call_.reply->write(cat("data: ", response.body, "\n\n"));
    call_.reply->cut();
    finish_accounting(response.status);
  } else {
    over_ = true;
    service_.respond(call_, response);
    service_.answers.erase(number_);
  }
}

void Answer::client_left() {
  if (over_) return;
  gone_ = true;
  if (preparing_) return;  // it counts until its task has come back
  cancel_all();
  finish_accounting(kClientClosedRequest);
}

void Answer::cancel_all() {
  for (const Choice& choice : choices_) {
    if (choice.submitted && choice.result == nullptr) {
      service_.served->llm.engine().cancel(choice.id);
    }
  }
}

void Answer::finish_accounting(int status) {
  over_ = true;
  const int64_t end_ns = now_ns();
  const AnswerUsage used = usage();
  RequestAccount account{.id = call_.id, .tenant = call_.tenant};
  account.total_ms = to_ms(end_ns - call_.head.begun_ns);
  account.parts = {{"receive_ms", to_ms(call_.received_ns - call_.head.begun_ns)}};
  if (submitted_ns_ > 0) {
    // What is left of the way to the engine is waiting for a thread, and the way back.
    const int64_t wait_ns =
        submitted_ns_ - call_.received_ns - read_ns_ - template_ns_ - tokenise_ns_;
    account.parts.insert(account.parts.end(), {{"wait_ms", to_ms(wait_ns)},
                                               {"parse_ms", to_ms(read_ns_)},
                                               {"template_ms", to_ms(template_ns_)},
                                               {"tokenise_ms", to_ms(tokenise_ns_)}});
  }
  // Of several choices the one that ended last says where the time went.
  const RequestResult* last = nullptr;
  for (const Choice& choice : choices_) {
    if (choice.result == nullptr) continue;
    service_.trace_request(*choice.result);
    service_.metrics.on_answer(*choice.result, call_.received_ns, request_.body.request.max_tokens);
    if (last == nullptr || choice.result->timing.finished_ns > last->timing.finished_ns) {
      last = choice.result.get();
    }
  }
  Json details = {{"prompt_tokens", used.prompt_tokens},
                  {"completion_tokens", used.completion_tokens},
                  {"cached_tokens", used.cached_tokens},
                  {"stream", request_.stream}};
  if (last != nullptr) {
    for (const auto& [name, ms] : engine_parts(last->timing)) account.parts.emplace_back(name, ms);
    account.parts.emplace_back("write_ms", to_ms(end_ns - last->timing.finished_ns));
    details["finish_reason"] = finish_reason_text(last->finish_reason);
    details["prefix_miss"] = miss_reason_name(last->miss);
  }
  service_.log_access(call_, status, details);
  service_.keep_account(std::move(account));
  service_.answers.erase(number_);  // may be the last that holds this
}

}  // namespace quern
