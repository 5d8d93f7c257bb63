#include "engine/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace quern {
namespace {

struct Outcome {
  std::string text;
  std::string stop;
  bool operator==(const Outcome&) const = default;
};

/// What a matcher makes of a text cut into pieces that long.
Outcome cut(const std::vector<std::string>& stops, std::string_view text, size_t piece) {
  StopMatcher matcher(stops);
  Outcome outcome;
  for (size_t at = 0; at < text.size(); at += piece) {
    outcome.text += matcher.push(text.substr(at, piece));
  }
  if (const auto stop = matcher.stopped_by()) {
    outcome.stop = *stop;
  } else {
    outcome.text += matcher.finish();
  }
  return outcome;
}

/// The same by looking at every end of the whole text.
Outcome naive(const std::vector<std::string>& stops, std::string_view text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string longest;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop) && stop.size() > longest.size()) longest = stop;
    }
    if (!longest.empty()) return {std::string(text.substr(0, end - longest.size())), longest};
  }
  return {std::string(text), ""};
}

TEST(StopMatcher, FindsAStopStringThatSpansPieces) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.push("the E"), "the ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("D of it"), "");
  EXPECT_EQ(matcher.stopped_by(), "END");
  EXPECT_EQ(matcher.push("more"), "");
}

TEST(StopMatcher, GivesOnWhatTurnsOutNotToBeAStop) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.push("EN"), "");
  EXPECT_EQ(matcher.push("EMY"), "ENEMY");
  EXPECT_EQ(matcher.push("E"), "");
  EXPECT_EQ(matcher.finish(), "E");
  EXPECT_EQ(matcher.stopped_by(), std::nullopt);
}

TEST(StopMatcher, WithoutStopsEverythingIsCertainAtOnce) {
  StopMatcher matcher({""});
  EXPECT_EQ(matcher.push("abc"), "abc");
}

TEST(StopMatcher, WhatEndsFirstStopsAndTheLongerOfTwo) {
  EXPECT_EQ(cut({"abcd", "bc"}, "xabcdx", 1), (Outcome{"xa", "bc"}));
  EXPECT_EQ(cut({"bc", "abc"}, "xabcdx", 3), (Outcome{"x", "abc"}));
}

TEST(StopMatcher, APassedPieceNeitherStopsNorBeginsAStop) {
  StopMatcher matcher({"ab"});
  EXPECT_EQ(matcher.pass("ab"), "ab");
  EXPECT_EQ(matcher.pass("a"), "a");
  EXPECT_EQ(matcher.push("b"), "b");
  EXPECT_EQ(matcher.push("a"), "");
  EXPECT_EQ(matcher.push("b"), "");
  EXPECT_EQ(matcher.stopped_by(), "ab");
}

TEST(StopMatcher, OutcomeDoesNotDependOnTheCut) {
  std::mt19937 random(1);
  const auto word = [&](size_t length) {
    std::string text;
    while (text.size() < length) text += "ab"[random() % 2];
    return text;
  };
  for (int i = 0; i < 3'000; ++i) {
    std::vector<std::string> stops;
    for (size_t n = 1 + random() % 3; n > 0; --n) stops.push_back(word(2 + random() % 6));
    const std::string text = word(random() % 40);
    const Outcome wanted = naive(stops, text);
    for (const size_t piece : {1, 2, 3, 7, 40}) ASSERT_EQ(cut(stops, text, piece), wanted) << text;
  }
}

}  // namespace
}  // namespace quern
