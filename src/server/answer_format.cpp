#include "server/answer_format.h"

#include <array>

#include "base/cat.h"

namespace quern {

namespace {

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  const std::array<int32_t, 1> ids = {id};
  return tokenizer.decode(ids);
}

Json bytes_json(const std::string& text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

/// {"token","logprob","bytes"}
Json chat_token_json(const Tokenizer& tokenizer, int32_t id, float logprob) {
  const std::string text = token_text(tokenizer, id);
  return {{"token", text}, {"logprob", double{logprob}}, {"bytes", bytes_json(text)}};
}

/// Characters of UTF-8.
int64_t num_characters(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json each(const std::optional<double>& total, int64_t count) {
  return total && count > 0 ? Json(*total / static_cast<double>(count)) : Json();
}

}  // namespace

Json usage_json(const AnswerUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", 0}}}};
}

Json prompt_progress_json(const PromptProgress& progress) {
  return {{"total", progress.prompt_tokens},
          {"cache", progress.cached_tokens},
          {"processed", progress.processed_tokens},
          {"time_ms", static_cast<double>(progress.time_ns - progress.scheduled_ns) * 1e-6}};
}

Json server_timings_json(const RequestTiming& timing, const AnswerUsage& usage) {
  const int64_t generated = usage.completion_tokens;
  const int64_t computed = usage.prompt_tokens - usage.cached_tokens;
  const std::optional<double> prompt = timing.prompt_ms(), decode = timing.decode_ms();
  return {{"cache_n", usage.cached_tokens},
          {"prompt_n", computed},
          {"prompt_ms", or_null(prompt)},
          {"prompt_per_token_ms", each(prompt, computed)},
          {"prompt_per_second",
           or_null(timing.prompt_per_second(usage.prompt_tokens, usage.cached_tokens))},
          {"predicted_n", generated},
          {"predicted_ms", or_null(decode)},
          {"predicted_per_token_ms", or_null(timing.tpot_ms(generated))},
          {"predicted_per_second", or_null(timing.predicted_per_second(generated))},
          {"draft_n", 0},
          {"draft_n_accepted", 0}};
}

Json server_timings_json(const RequestResult& result, const AnswerUsage& usage) {
  Json timings = server_timings_json(result.timing, usage);
  // That another tenant has the same prompt is nobody's business.
  const MissReason miss =
      result.miss == MissReason::kOtherSalt ? MissReason::kDiverged : result.miss;
  timings["cache_miss"] = miss_reason_name(miss);
  timings["cache_diverged_at"] =
      miss == MissReason::kDiverged ? Json(result.miss_diverged_at) : Json();
  return timings;
}

Json chat_logprobs_json(std::span<const AnswerToken> tokens, const Tokenizer& tokenizer) {
  Json content = Json::array();
  for (const AnswerToken& token : tokens) {
    Json one = chat_token_json(tokenizer, token.token_id, token.logprob.value_or(0));
    Json top = Json::array();
    for (const TokenLogprob& other : token.top) {
      top.push_back(chat_token_json(tokenizer, other.token_id, other.logprob));
    }
    one["top_logprobs"] = std::move(top);
    content.push_back(std::move(one));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json completion_logprobs_json(std::span<const AnswerToken> tokens, const Tokenizer& tokenizer,
                              int64_t& offset) {
  Json texts = Json::array(), logprobs = Json::array(), tops = Json::array(),
       offsets = Json::array();
  for (const AnswerToken& token : tokens) {
    std::string text = token_text(tokenizer, token.token_id);
    offsets.push_back(offset);
    offset += num_characters(text);
    texts.push_back(std::move(text));
    logprobs.push_back(token.logprob ? Json(double{*token.logprob}) : Json());
    Json top;
    if (token.logprob) {
      top = Json::object();
      for (const TokenLogprob& other : token.top) {
        top[token_text(tokenizer, other.token_id)] = double{other.logprob};
      }
    }
    tops.push_back(std::move(top));
  }
  return {{"tokens", std::move(texts)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

Json prompt_logprobs_json(const LogprobList& list, const Tokenizer& tokenizer) {
  Json out = Json::array({nullptr});  // nothing predicts the first token
  for (const AnswerToken& token : answer_tokens(list)) {
    Json top = Json::array();
    for (const TokenLogprob& other : token.top) {
      top.push_back(Json::array({other.token_id, double{other.logprob}}));
    }
    out.push_back({{"token_id", token.token_id},
                   {"token", token_text(tokenizer, token.token_id)},
                   {"logprob", double{token.logprob.value_or(0)}},
                   {"top", std::move(top)}});
  }
  return out;
}

std::vector<AnswerToken> answer_tokens(const LogprobList& list) {
  std::vector<AnswerToken> tokens;
  for (size_t i = 0; i < list.tokens.size(); ++i) {
    const std::span<const TokenLogprob> top = list.top(i);
    tokens.push_back({.token_id = list.tokens[i].token_id,
                      .time_ns = 0,
                      .logprob = list.tokens[i].logprob,
                      .top = {top.begin(), top.end()}});
  }
  return tokens;
}

Json stop_reason_json(const StopReason& reason) {
  if (const auto* id = std::get_if<int32_t>(&reason)) return *id;
  if (const auto* text = std::get_if<std::string>(&reason)) return *text;
  return nullptr;
}

Json frame_json(const AnswerFrame& frame, bool is_chunk, Json choices) {
  const std::string_view object = frame.route == kCompletionsRoute ? "text_completion"
                                  : is_chunk                       ? "chat.completion.chunk"
                                                                   : "chat.completion";
  return {{"id", frame.id},
          {"object", object},
          {"created", frame.created},
          {"model", frame.model},
          {"choices", std::move(choices)}};
}

std::string event_text(const Json& data) { return cat("data: ", dump_json(data), "\n\n"); }

}  // namespace quern
