#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "engine/logprobs.h"
#include "engine/philox.h"

namespace quern {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Philox, GivesThePublishedNumbers) {
  using Four = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::vector<float> random_logits(size_t count, uint32_t seed, float scale = 2) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

int32_t draw(const std::vector<float>& logits, const SamplingParams& params, int64_t position = 0,
             std::vector<int32_t> prompt = {}, std::vector<int32_t> output = {},
             std::vector<int32_t> banned = {}) {
  Sampler sampler(static_cast<int64_t>(logits.size()));
  return sampler.sample(logits, {.params = params,
                                 .seed = 42,
                                 .position = position,
                                 .prompt = prompt,
                                 .output = output,
                                 .banned = banned});
}

/// The distribution that the documented order of samplers leaves, by plain sorting.
std::vector<double> expected(std::vector<float> logits, const SamplingParams& params) {
  const size_t count = logits.size();
  std::vector<double> weights(count);
  for (size_t i = 0; i < count; ++i) weights[i] = std::exp(logits[i] / params.temperature);
  const auto normalise = [&] {
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (double& weight : weights) weight /= total;
  };
  std::vector<size_t> order(count);
  const auto keep_first = [&](auto less, auto enough) {
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, less);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      const bool keep = !enough(i, sum);
      sum += weights[order[i]];
      if (!keep) weights[order[i]] = 0;
    }
    normalise();
  };
  const auto likelier = [&](size_t a, size_t b) { return logits[a] > logits[b]; };
  normalise();
  if (params.top_k > 0) {
    keep_first(likelier, [&](size_t i, double) { return i >= static_cast<size_t>(params.top_k); });
  }
  if (params.typical_p < 1) {
    double entropy = 0;
    for (const double p : weights) entropy -= p > 0 ? p * std::log(p) : 0;
    const auto distance = [&](size_t i) {
      return weights[i] > 0 ? std::fabs(-std::log(weights[i]) - entropy) : 1e300;
    };
    keep_first([&](size_t a, size_t b) { return distance(a) < distance(b); },
               [&](size_t, double sum) { return sum >= double{params.typical_p}; });
  }
  if (params.top_p < 1) {
    keep_first(likelier, [&](size_t, double sum) { return sum >= double{params.top_p}; });
  }
  if (params.min_p > 0) {
    const double largest = *std::ranges::max_element(weights);
    for (double& weight : weights) weight = weight < params.min_p * largest ? 0 : weight;
    normalise();
  }
  return weights;
}

/// Sanitizers make a draw twenty times dearer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kDraws = 50'000;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr int64_t kDraws = 50'000;
#else
constexpr int64_t kDraws = 1'000'000;
#endif
#else
constexpr int64_t kDraws = 1'000'000;
#endif

/// Draws a million times and compares the counts with what they should be; the seed is fixed, so
/// the verdict is too. A right sampler passes with probability above 0.9999.
void expect_distribution(const std::vector<float>& logits, const SamplingParams& params) {
  Sampler sampler(static_cast<int64_t>(logits.size()));
  std::vector<int64_t> counts(logits.size());
  for (int64_t i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(
        sampler.sample(logits, {.params = params, .seed = 7, .position = i}))];
  }
  const std::vector<double> wanted = expected(logits, params);
  double chi_square = 0;
  int degrees = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double count = wanted[i] * static_cast<double>(kDraws);
    if (wanted[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " was filtered out";
      continue;
    }
    ++degrees;
    const double off = static_cast<double>(counts[i]) - count;
    chi_square += off * off / count;
  }
  EXPECT_LT(chi_square, degrees + 4 * std::sqrt(2.0 * degrees) + 8) << degrees << " degrees";
}

TEST(Sampler, DrawsByProbability) { expect_distribution(random_logits(24, 1), {}); }

TEST(Sampler, TemperatureFlattensAndSharpens) {
  expect_distribution(random_logits(24, 2), {.temperature = 0.5f});
  expect_distribution(random_logits(24, 2), {.temperature = 3.0f});
}

TEST(Sampler, TopKKeepsTheKBest) {
  expect_distribution(random_logits(24, 3), {.top_k = 5});
  EXPECT_EQ(draw(random_logits(24, 3), {.top_k = 1}),
            draw(random_logits(24, 3), {.temperature = 0}));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  expect_distribution(random_logits(24, 4), {.top_p = 0.6f});
}

TEST(Sampler, MinPKeepsAShareOfTheBest) {
  expect_distribution(random_logits(24, 5), {.min_p = 0.1f});
}

TEST(Sampler, TypicalKeepsWhatIsCloseToTheEntropy) {
  expect_distribution(random_logits(24, 6), {.typical_p = 0.5f});
}

TEST(Sampler, FiltersWorkInTheDocumentedOrder) {
  expect_distribution(
      random_logits(40, 7),
      {.temperature = 1.3f, .top_k = 30, .top_p = 0.9f, .min_p = 0.02f, .typical_p = 0.8f});
}

TEST(Sampler, LargeVocabularyIsFilteredAsASmallOneIs) {
  // More candidates than the first sorted pieces hold.
  const std::vector<float> logits = random_logits(20'000, 8, 0.5f);
  const SamplingParams params{.top_p = 0.7f};
  const std::vector<double> wanted = expected(logits, params);
  Sampler sampler(static_cast<int64_t>(logits.size()));
  for (int64_t i = 0; i < 300; ++i) {
    const int32_t token = sampler.sample(logits, {.params = params, .seed = 3, .position = i});
    EXPECT_GT(wanted[static_cast<size_t>(token)], 0);
  }
}

TEST(Sampler, GreedyTakesTheLowerIdOfATie) {
  EXPECT_EQ(draw({1, 5, 3, 5}, {.temperature = 0}), 1);
  EXPECT_EQ(draw({1, 5, 3, 5}, {.top_k = 1}), 1);
}

TEST(Sampler, TinyTemperatureIsGreedy) {
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(draw({1, 5, 4.9f, 3}, {.temperature = 1e-6f}, i), 1);
  }
}

TEST(Sampler, RepetitionPenaltyCountsPromptAndAnswerOnce) {
  const SamplingParams params{.temperature = 0, .repetition_penalty = 2.0f};
  EXPECT_EQ(draw({4, 3, -1}, params, 0, {0}), 1);
  EXPECT_EQ(draw({4, 1.9f, -1}, params, 0, {0, 0}, {0}), 0);  // 4 / 2, however often it was there
  EXPECT_EQ(draw({-1, -1.5f}, params, 0, {}, {0}), 1);        // below zero it multiplies
}

TEST(Sampler, PresenceCountsOnceAndFrequencyEachTimeInTheAnswerOnly) {
  EXPECT_EQ(draw({4, 3.5f}, {.temperature = 0, .presence_penalty = 1}, 0, {0}), 0);
  EXPECT_EQ(draw({4, 3.5f}, {.temperature = 0, .presence_penalty = 1}, 0, {}, {0}), 1);
  EXPECT_EQ(draw({4, 2.5f}, {.temperature = 0, .presence_penalty = 1}, 0, {}, {0, 0, 0}), 0);
  EXPECT_EQ(draw({4, 2.5f}, {.temperature = 0, .frequency_penalty = 1}, 0, {}, {0}), 0);
  EXPECT_EQ(draw({4, 2.5f}, {.temperature = 0, .frequency_penalty = 1}, 0, {}, {0, 0}), 1);
}

TEST(Sampler, BiasMovesALogitAndABanIsFinal) {
  EXPECT_EQ(draw({4, 3, 2}, {.temperature = 0, .logit_bias = {{2, 5.0f}}}), 2);
  EXPECT_EQ(draw({4, 3, 2}, {.temperature = 0, .logit_bias = {{2, 100.0f}}}, 0, {}, {}, {2}), 0);
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_NE(draw({4, 3, 2}, {}, i, {}, {}, {0}), 0);
  }
}

TEST(Sampler, RowsThatAreNoNumbersGiveATokenAllTheSame) {
  const float nan = std::nanf("");
  EXPECT_EQ(draw({nan, 1, nan}, {.temperature = 0}), 1);
  EXPECT_EQ(draw({nan, 1, -kInf}, {}), 1);
  EXPECT_EQ(draw({nan, 1, kInf}, {.top_p = 0.5f}), 2);
  EXPECT_EQ(draw({nan, nan}, {}), 0);
  EXPECT_EQ(draw({-kInf, -kInf}, {.top_k = 1, .min_p = 0.5f, .typical_p = 0.5f}), 0);
  EXPECT_EQ(draw({kInf, 1}, {.repetition_penalty = 0.01f}, 0, {0}), 0);
}

TEST(Sampler, LeavesNothingBehindForTheNextDraw) {
  const std::vector<float> logits = random_logits(50, 9);
  Sampler sampler(50);
  const std::vector<int32_t> tokens = {1, 2, 2, 3};
  const SamplingParams plain{.top_k = 7};
  const int32_t before = sampler.sample(logits, {.params = plain, .seed = 5, .position = 9});
  const SamplingParams heavy{
      .repetition_penalty = 3, .presence_penalty = 2, .frequency_penalty = 2};
  sampler.sample(logits, {.params = heavy, .prompt = tokens, .output = tokens});
  EXPECT_EQ(sampler.sample(logits, {.params = plain, .seed = 5, .position = 9}), before);
}

TEST(Logprobs, AddUpToOneAndReadTheLogits) {
  const std::vector<float> logits = random_logits(1'000, 10);
  const LogSoftmax softmax(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{softmax.logprob(logit)});
  EXPECT_NEAR(sum, 1, 1e-6);
  // Shifted logits are the same distribution, far from zero too.
  std::vector<float> shifted = logits;
  for (float& logit : shifted) logit += 512;
  EXPECT_NEAR(LogSoftmax(shifted).logprob(shifted[3]), softmax.logprob(logits[3]), 1e-4);
}

TEST(Logprobs, TopIsBestFirstWithTiesToTheLowerId) {
  LogprobList list{.num_top = 4, .tokens = {}, .alternatives = {}};
  append_logprobs(list, std::vector<float>{1, 3, std::nanf(""), 2, 3}, 0);
  // What is not a number spoils the sum but not the order.
  ASSERT_EQ(list.top(0).size(), 4u);
  const std::vector<int32_t> wanted = {1, 4, 3, 0};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(list.top(0)[i].token_id, wanted[i]);
}

TEST(Logprobs, SelectBestEqualsASort) {
  for (uint32_t seed = 1; seed < 20; ++seed) {
    std::vector<float> logits = random_logits(200, seed);
    for (float& logit : logits) logit = std::round(logit);  // many ties
    std::vector<TokenLogit> best(20);
    select_best(logits, best);
    std::vector<int32_t> order(200);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int32_t a, int32_t b) {
      return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    for (size_t i = 0; i < 20; ++i) EXPECT_EQ(best[i].token_id, order[i]);
  }
}

TEST(Sampler, OnlyAllowedIdsComeAndNoBadWordIsFinished) {
  Sampler sampler(6);
  const std::vector<float> logits = {5, 4, 3, 2, 1, 0};
  SamplingParams params{.temperature = 0};
  params.allowed_token_ids = {4, 2};
  EXPECT_EQ(sampler.sample(logits, {.params = params}), 2);
  params.temperature = 1;
  for (int64_t position = 0; position < 50; ++position) {
    const int32_t token = sampler.sample(logits, {.params = params, .position = position});
    EXPECT_TRUE(token == 2 || token == 4) << token;
  }
  SamplingParams words{.temperature = 0};
  words.bad_words = {{1, 0}, {2}};
  const std::vector<int32_t> after_one = {3, 1}, after_other = {1, 3};
  EXPECT_EQ(sampler.sample(logits, {.params = words, .output = after_one}), 1);
  EXPECT_EQ(sampler.sample(logits, {.params = words, .output = after_other}), 0);
  EXPECT_EQ(sampler.sample(logits, {.params = words}), 0);
  EXPECT_FALSE(words.is_plain_greedy());
  // What is allowed comes before what is not to come yet.
  SamplingParams torn{.temperature = 0};
  torn.allowed_token_ids = {4, 5};
  torn.bad_words = {{5}};
  const std::vector<int32_t> end = {4};
  EXPECT_EQ(sampler.sample(logits, {.params = torn}), 4);
  EXPECT_EQ(sampler.sample(logits, {.params = torn, .banned = end}), 4);
  torn.temperature = 1;
  const int32_t either = sampler.sample(logits, {.params = torn, .banned = end});
  EXPECT_TRUE(either == 4 || either == 5) << either;
  EXPECT_FALSE(check_sampling({.allowed_token_ids = {6}}, 6));
  EXPECT_FALSE(check_sampling({.bad_words = {{}}}, 6));
}

}  // namespace
}  // namespace quern
