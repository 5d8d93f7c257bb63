#include "engine/simulation/workload.h"

#include <algorithm>

#include "engine/simulation/hash_executor.h"
#include "engine/stop_matcher.h"

namespace quern {

namespace {

class StopAfter final : public TokenWatcher {
 public:
  explicit StopAfter(int64_t count) : count_(count) {}
  std::optional<std::string> on_token(int32_t, int64_t num_generated) override {
    if (num_generated < count_) return std::nullopt;
    return "enough";
  }

 private:
  int64_t count_;
};

/// One letter a token.
char text_of(int32_t token_id) { return static_cast<char>('A' + token_id); }

class StopAtText final : public TokenWatcher {
 public:
  explicit StopAtText(const std::string& stop) : matcher_({stop}) {}
  std::optional<std::string> on_token(int32_t token_id, int64_t) override {
    const char letter = text_of(token_id);
    matcher_.push({&letter, 1});
    if (const auto stop = matcher_.stopped_by()) return std::string(*stop);
    return std::nullopt;
  }

 private:
  StopMatcher matcher_;
};

std::vector<int32_t> random_tokens(Draws& draws, int64_t count, int64_t vocab_size) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(draws.below(vocab_size));
  return tokens;
}

}  // namespace

SoloAnswer answer_alone(const Client& client, uint64_t seed, const EngineOptions& options) {
  const Request& request = client.request;
  SoloAnswer answer;
  std::string text;
  uint64_t prefix = HashExecutor::kEmptyPrefix;
  answer.prefixes.push_back(prefix);
  for (const int32_t token : request.prompt) {
    answer.prefixes.push_back(prefix = HashExecutor::extend(prefix, token));
  }
  const auto num_prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t most = std::min(request.max_tokens, options.max_model_len - num_prompt);
  Sampler sampler(options.vocab_size);
  std::vector<float> logits(static_cast<size_t>(options.vocab_size));
  std::vector<int32_t> ends = request.stop_token_ids;
  if (!request.ignore_eos) {
    ends.insert(ends.end(), options.eos_token_ids.begin(), options.eos_token_ids.end());
  }
  for (int64_t n = 0; n < most; ++n) {
    HashExecutor::fill_logits(prefix, logits);
    Sampler::Draw draw{.params = request.sampling,
                       .seed = seed,
                       .position = num_prompt + n,
                       .prompt = request.prompt,
                       .output = answer.token_ids};
    if (n < request.min_tokens) draw.banned = ends;
    const int32_t token = sampler.sample(logits, draw);
    answer.token_ids.push_back(token);
    answer.prefixes.push_back(prefix = HashExecutor::extend(prefix, token));
    const bool may_stop = n + 1 > request.min_tokens;
    const bool is_stop_id =
        std::ranges::find(request.stop_token_ids, token) != request.stop_token_ids.end();
    if (may_stop && (is_stop_id || std::ranges::find(ends, token) != ends.end())) {
      answer.finish_reason = FinishReason::kStop;
      if (is_stop_id) answer.stop_reason = token;
      break;
    }
    if (client.stop_after > 0 && n + 1 >= client.stop_after) {
      answer.finish_reason = FinishReason::kStop;
      answer.stop_reason = std::string("enough");
      break;
    }
    text += text_of(token);
    if (!client.stop_text.empty() && text.ends_with(client.stop_text)) {
      answer.finish_reason = FinishReason::kStop;
      answer.stop_reason = client.stop_text;
      break;
    }
  }
  return answer;
}

namespace {

/// Some of the tokens that the answer would have, as a stop string: it spans several steps.
void draw_stop_text(Draws& draws, Client& client, const EngineOptions& options) {
  const SoloAnswer answer = answer_alone(client, client.request.sampling.seed.value_or(0), options);
  const auto length = static_cast<int64_t>(answer.token_ids.size());
  const int64_t first = draws.chance(40) ? 0 : draws.below(length + 1);
  const int64_t end = std::min(length, first + draws.between(1, 3));
  for (int64_t i = first; i < end; ++i) {
    client.stop_text += text_of(answer.token_ids[static_cast<size_t>(i)]);
  }
  if (client.stop_text.empty()) return;
  client.request.watcher = std::make_shared<StopAtText>(client.stop_text);
}

void draw_sampling(Draws& draws, Request& request, int64_t vocab_size) {
  SamplingParams& sampling = request.sampling;
  sampling.temperature = 0;
  if (draws.chance(35)) {
    sampling.temperature = 0.7f;
    sampling.top_k = draws.chance(50) ? 5 : 0;
    sampling.top_p = draws.chance(50) ? 0.8f : 1.0f;
  }
  if (draws.chance(15)) sampling.repetition_penalty = 1.3f;
  if (draws.chance(10)) sampling.frequency_penalty = 0.5f;
  if (draws.chance(70)) sampling.seed = static_cast<uint64_t>(draws.below(1'000));
  if (draws.chance(15)) request.logprobs = static_cast<int32_t>(draws.below(4));
  if (draws.chance(10)) request.logits_hash = true;
  if (draws.chance(20)) {
    request.stop_token_ids.push_back(static_cast<int32_t>(draws.below(vocab_size)));
  }
  request.ignore_eos = draws.chance(30);
}

void spoil(Draws& draws, Client& client, const EngineOptions& options) {
  client.is_valid = false;
  Request& request = client.request;
  switch (draws.below(6)) {
    case 0:
      request.prompt.clear();
      break;
    case 1:
      request.prompt.back() = static_cast<int32_t>(options.vocab_size);
      break;
    case 2:
      request.prompt.resize(static_cast<size_t>(options.max_model_len + 1), 0);
      break;
    case 3:
      request.tenant = static_cast<uint32_t>(options.max_tenants);
      break;
    case 4:
      request.priority = kMostPriority + 1;
      break;
    default:
      request.min_tokens = request.max_tokens + 1;
      break;
  }
}

}  // namespace

EngineOptions draw_options(Draws& draws) {
  EngineOptions options;
  options.vocab_size = draws.between(8, 40);
  options.max_model_len = draws.between(30, 200);
  options.max_num_seqs = draws.between(1, 6);
  constexpr int64_t kBudgets[] = {1, 5, 16, 33, 64, 200};
  options.max_num_batched_tokens = kBudgets[draws.below(6)];
  options.max_wanted_rows = options.max_num_seqs + draws.below(9);
  // Whole context, windows, both; a window is at least two, since the hash of a prefix is read
  // from the position before.
  std::vector<int64_t> windows;
  if (!draws.chance(15)) windows.push_back(0);
  if (windows.empty() || draws.chance(50)) windows.push_back(draws.between(2, 100));
  if (draws.chance(15)) windows.push_back(draws.between(2, 40));
  for (const int64_t window : windows) {
    const int64_t least = worst_case_blocks(window, options.max_model_len, 1);
    const int64_t most_more = draws.chance(50) ? 3 : 2 * least + 4;
    options.kv_groups.push_back({.num_blocks = least + draws.below(most_more), .window = window});
  }
  options.prefix_caching = draws.chance(88);
  options.no_kv_cache = draws.chance(5);
  // Each token costs its whole prefix there; a budget of one would take all day.
  if (options.no_kv_cache) options.max_num_batched_tokens += 64;
  options.static_scheduling = draws.chance(12);
  options.max_step_stretch = draws.chance(40) ? 1 + 0.1 * static_cast<double>(draws.below(10)) : 0;
  options.eos_token_ids = {static_cast<int32_t>(draws.below(options.vocab_size))};
  options.max_tenants = draws.between(1, 3);
  options.max_live_requests = draws.chance(10) ? 4 : INT64_MAX;
  options.max_live_tokens = draws.chance(10) ? 2 * options.max_model_len : INT64_MAX;
  options.max_salt_share = draws.chance(25) ? 0.1 * static_cast<double>(draws.below(8)) : 1;
  options.seed = 1;
  options.hash_key = static_cast<uint64_t>(draws.below(INT64_MAX));
  return options;
}

std::vector<Client> draw_clients(Draws& draws, const EngineOptions& options) {
  // Prompts begin with one of a few texts, cut mostly near the end of a block.
  std::vector<std::vector<int32_t>> texts;
  for (int64_t i = draws.between(1, 3); i > 0; --i) {
    texts.push_back(random_tokens(draws, options.max_model_len, options.vocab_size));
  }
  if (texts.size() > 1 && options.max_model_len > kKvBlockTokens) {
    // The second blocks of two texts are equal, the first ones differ.
    std::copy_n(texts[0].begin() + kKvBlockTokens,
                std::min<int64_t>(kKvBlockTokens, options.max_model_len - kKvBlockTokens),
                texts[1].begin() + kKvBlockTokens);
  }
  // Short prompts with long answers are what runs out of blocks on the way.
  const bool long_answers = draws.chance(35);
  const bool with_priorities = draws.chance(30);
  constexpr std::string_view kSalts[] = {"", "", "", "a", "tenant b"};

  std::vector<Client> clients(static_cast<size_t>(draws.between(2, 10)));
  int64_t round = 0;
  for (Client& client : clients) {
    Request& request = client.request;
    const std::vector<int32_t>& text =
        texts[static_cast<size_t>(draws.below(static_cast<int64_t>(texts.size())))];
    int64_t shared = draws.below(options.max_model_len + 1);
    if (draws.chance(60)) {
      shared = shared / kKvBlockTokens * kKvBlockTokens + draws.between(-1, 1);
    }
    shared = std::clamp<int64_t>(shared, 0, long_answers ? 20 : options.max_model_len);
    request.prompt.assign(text.begin(), text.begin() + shared);
    const int64_t own = std::min(options.max_model_len - shared, draws.below(12));
    const std::vector<int32_t> rest = random_tokens(draws, own, options.vocab_size);
    request.prompt.insert(request.prompt.end(), rest.begin(), rest.end());
    if (request.prompt.empty()) request.prompt.push_back(0);

    request.max_tokens = draws.between(1, long_answers ? 150 : 40);
    if (draws.chance(10)) request.min_tokens = draws.below(request.max_tokens + 1);
    draw_sampling(draws, request, options.vocab_size);
    if (long_answers) request.ignore_eos = true;
    if (draws.chance(12)) {
      request.prompt_logprobs = static_cast<int32_t>(draws.below(3));
      if (draws.chance(50)) request.max_tokens = request.min_tokens = 0;
    }
    request.cache_salt = kSalts[draws.below(5)];
    request.tenant = static_cast<uint32_t>(draws.below(options.max_tenants));
    if (with_priorities) request.priority = static_cast<int32_t>(draws.between(-1, 1));
    if (draws.chance(15)) {
      client.stop_after = draws.between(1, 20);
      request.watcher = std::make_shared<StopAfter>(client.stop_after);
    } else if (draws.chance(10)) {
      draw_stop_text(draws, client, options);
    }
    if (draws.chance(15)) request.not_before_ns = draws.below(200) * 1'000'000;

    if (draws.chance(50)) round += draws.below(25);  // else in one burst with the one before
    client.submit_round = round;
    client.submits_in_flight = draws.chance(25);
    while (draws.chance(18)) client.cancel_after.push_back(draws.below(40));
    client.cancels_in_flight = draws.chance(50);
    if (draws.chance(5)) spoil(draws, client, options);
  }
  return clients;
}

int64_t own_steps(const Client& client, const EngineOptions& options) {
  const auto num_prompt = static_cast<int64_t>(client.request.prompt.size());
  const auto num_new = static_cast<int64_t>(client.answer.token_ids.size());
  // Rows of the prompt come one a step at worst, and a window short of blocks cuts chunks.
  const int64_t chunk =
      client.request.prompt_logprobs
          ? 1
          : std::min<int64_t>(options.max_num_batched_tokens,
                              options.max_step_stretch > 0 ? StepPacer::kFloor : 16);
  if (!options.no_kv_cache) return num_prompt / chunk + 1 + num_new;
  int64_t steps = 0;
  for (int64_t n = 0; n <= num_new; ++n) steps += (num_prompt + n) / chunk + 1;
  return steps;
}

}  // namespace quern
