#include "cli/answer_json.h"

#include <unistd.h>

#include <array>
#include <cstdio>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/numbers.h"

namespace quern {

namespace {

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json stop_reason_json(const StopReason& reason) {
  if (const auto* id = std::get_if<int32_t>(&reason)) return *id;
  if (const auto* text = std::get_if<std::string>(&reason)) return *text;
  return nullptr;
}

Json logprobs_json(const LogprobList& list, const Tokenizer* tokenizer) {
  Json out = Json::array();
  for (size_t i = 0; i < list.tokens.size(); ++i) {
    const TokenLogprob& chosen = list.tokens[i];
    Json top = Json::array();
    for (const TokenLogprob& other : list.top(i)) {
      top.push_back(Json::array({other.token_id, double{other.logprob}}));
    }
    Json token;
    if (tokenizer != nullptr) {
      const std::array<int32_t, 1> id = {chosen.token_id};
      token = tokenizer->decode(id);
    }
    out.push_back({{"token_id", chosen.token_id},
                   {"token", std::move(token)},
                   {"logprob", double{chosen.logprob}},
                   {"top", std::move(top)}});
  }
  return out;
}

std::string hex16(uint64_t value) {
  std::array<char, 17> digits;
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(value));
  return digits.data();
}

}  // namespace

int64_t process_start_ns() {
  const Result<std::string> stat = read_file("/proc/self/stat", 1 << 16);
  const int64_t now_ns = steady_clock().now_ns();
  if (!stat) return now_ns;
  // The name in parentheses may hold anything; field 22 counts from the start of the line.
  std::string_view rest = *stat;
  rest.remove_prefix(std::min(rest.rfind(')') + 2, rest.size()));
  for (int field = 3; field < 22; ++field) {
    rest.remove_prefix(std::min(rest.find(' ') + 1, rest.size()));
  }
  const auto ticks = parse_integer<int64_t>(rest.substr(0, rest.find(' ')));
  timespec up;
  if (!ticks || ::clock_gettime(CLOCK_BOOTTIME, &up) != 0) return now_ns;
  const int64_t tick_ns = 1'000'000'000 / ::sysconf(_SC_CLK_TCK);
  return now_ns - (up.tv_sec * 1'000'000'000 + up.tv_nsec - *ticks * tick_ns);
}

Json timings_json(const RequestResult& result, int64_t load_ns) {
  const RequestTiming& timing = result.timing;
  const auto generated = static_cast<int64_t>(result.token_ids.size());
  Json exec_to_first;
  if (timing.first_token_ns >= 0) {
    static const int64_t start_ns = process_start_ns();
    exec_to_first = static_cast<double>(timing.first_token_ns - start_ns) / 1e6;
  }
  return {{"load_ms", static_cast<double>(load_ns) / 1e6},
          {"queue_ms", or_null(timing.queue_ms())},
          {"ttft_ms", or_null(timing.ttft_ms())},
          {"tpot_ms", or_null(timing.tpot_ms(generated))},
          {"total_ms", or_null(timing.total_ms())},
          {"prompt_per_second",
           or_null(timing.prompt_per_second(result.prompt_tokens, result.cached_tokens))},
          {"predicted_per_second", or_null(timing.predicted_per_second(generated))},
          {"exec_to_first_token_ms", std::move(exec_to_first)}};
}

Json answer_json(const RequestResult& result, const Request& request, int64_t index, const Json& id,
                 const std::string& text, const Tokenizer* tokenizer, int64_t load_ns) {
  Json hashes;
  if (request.logits_hash) {
    hashes = Json::array();
    for (const uint64_t hash : result.logits_hashes) hashes.push_back(hex16(hash));
  }
  Json prompt_logprobs;
  if (request.prompt_logprobs) {
    prompt_logprobs = logprobs_json(result.prompt_logprobs, tokenizer);
    prompt_logprobs.insert(prompt_logprobs.begin(), nullptr);  // nothing predicts the first token
  }
  return {{"index", index},
          {"id", id},
          {"prompt_tokens", result.prompt_tokens},
          {"cached_tokens", result.cached_tokens},
          {"completion_tokens", result.token_ids.size()},
          {"token_ids", result.token_ids},
          {"text", text},
          {"finish_reason", finish_reason_name(result.finish_reason)},
          {"stop_reason", stop_reason_json(result.stop_reason)},
          {"logprobs", request.logprobs ? logprobs_json(result.logprobs, tokenizer) : Json()},
          {"prompt_logprobs", std::move(prompt_logprobs)},
          {"logits_hash", std::move(hashes)},
          {"timings", timings_json(result, load_ns)}};
}

Json memory_json(const RunPlan& plan) {
  return {{"planned_bytes", plan.need.total()}, {"weights_bytes", plan.need.weights},
          {"kv_bytes", plan.need.kv},           {"work_bytes", plan.need.work},
          {"other_bytes", plan.need.other},     {"peak_rss_bytes", peak_resident_bytes()}};
}

}  // namespace quern
