#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/cat.h"
#include "base/ensure.h"
#include "engine/philox.h"

namespace quern {

namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr float kHighest = std::numeric_limits<float>::max();
constexpr size_t kMaxBiases = 1024;

Error out_of_bounds(std::string_view field, double found, std::string_view wanted) {
  return Error{ErrorCode::kBadInput,
               cat(field, " is ", found, ", it must be ", wanted, "; change it or leave it out"),
               std::string(field),
               cat(found),
               std::string(wanted),
               "change the value or leave the field out"};
}

}  // namespace

Result<void> check_sampling(const SamplingParams& params, int64_t vocab_size) {
  // Comparisons are written so that what is not a number fails them.
  if (!(params.temperature >= 0 && params.temperature <= 100)) {
    return out_of_bounds("temperature", params.temperature, "from 0 to 100");
  }
  if (params.top_k < -1) {
    return out_of_bounds("top_k", static_cast<double>(params.top_k), "-1, 0 (both: off) or more");
  }
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return out_of_bounds("top_p", params.top_p, "above 0 and at most 1");
  }
  if (!(params.min_p >= 0 && params.min_p <= 1)) {
    return out_of_bounds("min_p", params.min_p, "from 0 to 1");
  }
  if (!(params.typical_p > 0 && params.typical_p <= 1)) {
    return out_of_bounds("typical_p", params.typical_p, "above 0 and at most 1");
  }
  if (!(params.repetition_penalty > 0 && params.repetition_penalty <= 100)) {
    return out_of_bounds("repetition_penalty", params.repetition_penalty,
                         "above 0 and at most 100");
  }
  if (!(std::fabs(params.presence_penalty) <= 2)) {
    return out_of_bounds("presence_penalty", params.presence_penalty, "from -2 to 2");
  }
  if (!(std::fabs(params.frequency_penalty) <= 2)) {
    return out_of_bounds("frequency_penalty", params.frequency_penalty, "from -2 to 2");
  }
  if (params.logit_bias.size() > kMaxBiases) {
    return out_of_bounds("logit_bias", static_cast<double>(params.logit_bias.size()),
                         "at most 1024 entries");
  }
  for (const auto& [token_id, bias] : params.logit_bias) {
    if (token_id < 0 || token_id >= vocab_size) {
      return out_of_bounds("logit_bias", token_id, cat("of token ids from 0 to ", vocab_size - 1));
    }
    if (!(std::fabs(bias) <= 100)) {
      return out_of_bounds("logit_bias", bias, "from -100 to 100");
    }
  }
  for (const int32_t token_id : params.allowed_token_ids) {
    if (token_id >= 0 && token_id < vocab_size) continue;
    return out_of_bounds("allowed_token_ids", token_id,
                         cat("of token ids from 0 to ", vocab_size - 1));
  }
  for (const std::vector<int32_t>& word : params.bad_words) {
    if (word.empty()) return out_of_bounds("bad_words", 0, "of words with tokens");
    for (const int32_t token_id : word) {
      if (token_id >= 0 && token_id < vocab_size) continue;
      return out_of_bounds("bad_words", token_id, cat("of token ids from 0 to ", vocab_size - 1));
    }
  }
  return {};
}

Sampler::Sampler(int64_t vocab_size)
    : adjusted_(static_cast<size_t>(vocab_size)),
      counts_(adjusted_.size()),
      seen_(adjusted_.size()) {
  candidates_.reserve(adjusted_.size());
  ranked_.reserve(adjusted_.size());
}

int64_t Sampler::bytes(int64_t vocab_size) {
  return vocab_size * static_cast<int64_t>(sizeof(float) + sizeof(int32_t) + sizeof(uint8_t) +
                                           sizeof(Candidate) + sizeof(Ranked));
}

int32_t Sampler::sample(std::span<const float> logits, const Draw& draw) {
  ENSURE(logits.size() == adjusted_.size());
  adjust(logits, draw);
  const SamplingParams& params = draw.params;
  if (params.temperature == 0) return most_likely();

  keep_top_k(params.top_k);
  if (candidates_.empty()) return most_likely();  // every id is banned or not a number
  weigh(params.temperature);
  if (params.typical_p < 1) keep_typical(params.typical_p);
  if (params.top_p < 1) keep_top_p(params.top_p);
  if (params.min_p > 0) keep_min_p(params.min_p);

  const double target =
      random_unit(draw.seed, static_cast<uint64_t>(draw.position)) * total_weight();
  double sum = 0;
  for (const Candidate& candidate : candidates_) {
    sum += candidate.weight;
    if (sum > target) return candidate.token_id;
  }
  return candidates_.back().token_id;
}

void Sampler::adjust(std::span<const float> logits, const Draw& draw) {
  for (size_t id = 0; id < logits.size(); ++id) {
    const float logit = logits[id];
    adjusted_[id] = logit != logit ? kLowest : std::min(logit, kHighest);
  }
  penalise(draw);
  for (const auto& [token_id, bias] : draw.params.logit_bias) {
    adjusted_[static_cast<size_t>(token_id)] += bias;
  }
  bar(draw);
}

/// Takes away what cannot come now.
void Sampler::bar(const Draw& draw) {
  const std::vector<int32_t>& allowed = draw.params.allowed_token_ids;
  if (!allowed.empty()) {
    for (const int32_t token_id : allowed) seen_[static_cast<size_t>(token_id)] = 1;
    for (size_t id = 0; id < adjusted_.size(); ++id) {
      if (seen_[id] == 0) adjusted_[id] = kLowest;
    }
    for (const int32_t token_id : allowed) seen_[static_cast<size_t>(token_id)] = 0;
  }
  candidates_.clear();
  for (const int32_t token_id : allowed) {
    candidates_.push_back(
        {.logit = adjusted_[static_cast<size_t>(token_id)], .token_id = token_id});
  }
  if (!bar_words_and_ends(draw)) return;
  // Nothing is left of what is allowed: rather a bad word or an early end than anything else.
  for (const Candidate& one : candidates_) adjusted_[static_cast<size_t>(one.token_id)] = one.logit;
}

/// Whether nothing is left.
bool Sampler::bar_words_and_ends(const Draw& draw) {
  for (const std::vector<int32_t>& word : draw.params.bad_words) {
    const size_t before = word.size() - 1;
    if (draw.output.size() < before) continue;
    const std::span<const int32_t> last = draw.output.last(before);
    if (std::equal(last.begin(), last.end(), word.begin())) {
      adjusted_[static_cast<size_t>(word.back())] = kLowest;
    }
  }
  for (const int32_t token_id : draw.banned) adjusted_[static_cast<size_t>(token_id)] = kLowest;
  for (const int32_t token_id : draw.banned_too) {
    adjusted_[static_cast<size_t>(token_id)] = kLowest;
  }
  return std::ranges::all_of(draw.params.allowed_token_ids, [&](int32_t token_id) {
    return adjusted_[static_cast<size_t>(token_id)] == kLowest;
  });
}

void Sampler::penalise(const Draw& draw) {
  const SamplingParams& params = draw.params;
  if (params.repetition_penalty != 1) {
    for (const std::span<const int32_t> tokens : {draw.prompt, draw.output}) {
      for (const int32_t token_id : tokens) {
        const auto id = static_cast<size_t>(token_id);
        if (seen_[id] != 0) continue;
        seen_[id] = 1;
        float& logit = adjusted_[id];
        logit = logit < 0 ? logit * params.repetition_penalty
                          : std::min(logit / params.repetition_penalty, kHighest);
      }
    }
    for (const int32_t token_id : draw.prompt) seen_[static_cast<size_t>(token_id)] = 0;
    for (const int32_t token_id : draw.output) seen_[static_cast<size_t>(token_id)] = 0;
  }
  if (params.presence_penalty != 0 || params.frequency_penalty != 0) {
    for (const int32_t token_id : draw.output) ++counts_[static_cast<size_t>(token_id)];
    for (const int32_t token_id : draw.output) {
      int32_t& count = counts_[static_cast<size_t>(token_id)];
      if (count == 0) continue;
      adjusted_[static_cast<size_t>(token_id)] -=
          params.presence_penalty + params.frequency_penalty * static_cast<float>(count);
      count = 0;
    }
  }
}

int32_t Sampler::most_likely() const {
  size_t best = 0;
  for (size_t id = 1; id < adjusted_.size(); ++id) {
    if (adjusted_[id] > adjusted_[best]) best = id;
  }
  return static_cast<int32_t>(best);
}

/// Fills the candidates: all ids that can come, or the `top_k` best of them.
void Sampler::keep_top_k(int64_t top_k) {
  const auto limit = static_cast<size_t>(top_k);
  candidates_.clear();
  if (top_k <= 0 || limit >= adjusted_.size()) {
    for (size_t id = 0; id < adjusted_.size(); ++id) {
      if (adjusted_[id] == kLowest) continue;
      candidates_.push_back({.logit = adjusted_[id], .token_id = static_cast<int32_t>(id)});
    }
    return;
  }
  // A heap with the worst of the best on top: nearly every id fails the first comparison.
  const auto better = [this](int32_t a, int32_t b) {
    const float left = adjusted_[static_cast<size_t>(a)];
    const float right = adjusted_[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  };
  const auto by_logit = [&](const Candidate& a, const Candidate& b) {
    return better(a.token_id, b.token_id);
  };
  for (size_t id = 0; id < adjusted_.size(); ++id) {
    if (adjusted_[id] == kLowest) continue;
    const Candidate candidate{.logit = adjusted_[id], .token_id = static_cast<int32_t>(id)};
    if (candidates_.size() == limit) {
      if (!by_logit(candidate, candidates_.front())) continue;
      std::ranges::pop_heap(candidates_, by_logit);
      candidates_.pop_back();
    }
    candidates_.push_back(candidate);
    std::ranges::push_heap(candidates_, by_logit);
  }
  std::ranges::sort(candidates_, {}, &Candidate::token_id);
}

void Sampler::weigh(float temperature) {
  float largest = kLowest;
  for (const Candidate& candidate : candidates_) largest = std::max(largest, candidate.logit);
  for (Candidate& candidate : candidates_) {
    candidate.weight = std::exp((double{candidate.logit} - double{largest}) / double{temperature});
  }
}

double Sampler::total_weight() const {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  return total;
}

template <typename Keep>
void Sampler::keep_if(Keep&& keep) {
  std::erase_if(candidates_, [&](const Candidate& candidate) { return !keep(candidate); });
}

/// Keeps the fewest candidates, smallest key first, that have `mass` of the probability together.
template <typename Key>
void Sampler::keep_by_mass(double mass, Key&& key) {
  ranked_.clear();
  for (size_t i = 0; i < candidates_.size(); ++i) {
    ranked_.push_back({key(candidates_[i]), static_cast<int32_t>(i)});
  }
  // Sorted in growing pieces, because mostly a few dozen of a hundred thousand are enough.
  const double wanted = mass * total_weight();
  double sum = 0;
  size_t kept = 0;
  for (size_t sorted = 0; kept < ranked_.size() && sum < wanted;) {
    const size_t end = std::min(ranked_.size(), sorted + std::max<size_t>(32, 3 * sorted));
    const auto begin = ranked_.begin() + static_cast<std::ptrdiff_t>(sorted);
    const auto middle = ranked_.begin() + static_cast<std::ptrdiff_t>(end);
    if (middle != ranked_.end()) std::nth_element(begin, middle - 1, ranked_.end());
    std::sort(begin, middle);
    sorted = end;
    for (; kept < end && sum < wanted; ++kept) {
      sum += candidates_[static_cast<size_t>(ranked_[kept].candidate)].weight;
    }
  }
  // The weight of what goes is set to a mark that no candidate has, then it goes.
  for (size_t i = kept; i < ranked_.size(); ++i) {
    candidates_[static_cast<size_t>(ranked_[i].candidate)].weight = -1;
  }
  keep_if([](const Candidate& candidate) { return candidate.weight >= 0; });
}

void Sampler::keep_typical(double mass) {
  const double total = total_weight();
  double entropy = 0;
  for (const Candidate& candidate : candidates_) {
    const double share = candidate.weight / total;
    if (share > 0) entropy -= share * std::log(share);
  }
  keep_by_mass(mass, [&](const Candidate& candidate) {
    const double share = candidate.weight / total;
    if (!(share > 0)) return std::numeric_limits<double>::infinity();
    return std::fabs(-std::log(share) - entropy);
  });
}

void Sampler::keep_top_p(double mass) {
  keep_by_mass(mass, [](const Candidate& candidate) { return -double{candidate.logit}; });
}

void Sampler::keep_min_p(double share) {
  double largest = 0;
  for (const Candidate& candidate : candidates_) largest = std::max(largest, candidate.weight);
  keep_if([&](const Candidate& candidate) { return candidate.weight >= share * largest; });
}

}  // namespace quern
