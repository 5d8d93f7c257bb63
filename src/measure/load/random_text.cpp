#include "measure/load/random_text.h"

#include <array>
#include <string_view>

#include "engine/philox.h"

namespace quern {

namespace {

constexpr std::array<std::string_view, 256> kWords = {
    "able",    "about",  "above",   "across",  "act",    "add",    "after",  "again",  "age",
    "ago",     "air",    "all",     "alone",   "along",  "also",   "always", "among",  "and",
    "animal",  "answer", "any",     "apple",   "are",    "area",   "arm",    "army",   "around",
    "art",     "ask",    "away",    "baby",    "back",   "bad",    "ball",   "bank",   "base",
    "bear",    "beat",   "bed",     "been",    "before", "began",  "behind", "bell",   "below",
    "best",    "big",    "bird",    "black",   "blow",   "blue",   "board",  "boat",   "body",
    "book",    "born",   "both",    "box",     "boy",    "branch", "bread",  "break",  "bridge",
    "bright",  "bring",  "brother", "brown",   "build",  "burn",   "bus",    "busy",   "buy",
    "by",      "call",   "came",    "can",     "car",    "care",   "carry",  "case",   "cat",
    "catch",   "cause",  "cell",    "center",  "chair",  "chance", "change", "check",  "child",
    "circle",  "city",   "class",   "clean",   "clear",  "clock",  "close",  "cloud",  "coast",
    "coat",    "cold",   "color",   "come",    "common", "cook",   "cool",   "copy",   "corn",
    "corner",  "cost",   "count",   "country", "course", "cover",  "cow",    "create", "cross",
    "crowd",   "cry",    "cut",     "dance",   "dark",   "day",    "deal",   "dear",   "deep",
    "dog",     "door",   "down",    "draw",    "dream",  "dress",  "drink",  "drive",  "drop",
    "dry",     "each",   "ear",     "early",   "earth",  "east",   "easy",   "eat",    "edge",
    "egg",     "eight",  "else",    "end",     "engine", "enter",  "equal",  "even",   "ever",
    "eye",     "face",   "fact",    "fair",    "fall",   "family", "farm",   "fast",   "father",
    "fear",    "feed",   "feel",    "feet",    "few",    "field",  "fill",   "find",   "fine",
    "finger",  "finish", "fire",    "first",   "fish",   "five",   "flat",   "floor",  "flow",
    "flower",  "fly",    "follow",  "food",    "foot",   "for",    "force",  "forest", "form",
    "forward", "four",   "free",    "fresh",   "friend", "from",   "front",  "fruit",  "full",
    "game",    "garden", "gas",     "gave",    "get",    "girl",   "give",   "glad",   "glass",
    "go",      "gold",   "gone",    "good",    "got",    "grand",  "grass",  "gray",   "great",
    "green",   "grew",   "ground",  "group",   "grow",   "guess",  "guide",  "had",    "hair",
    "half",    "hand",   "happy",   "hard",    "hat",    "heart",  "heat",   "heavy",  "help",
    "here",    "high",   "hill",    "hit",     "hold",   "hole",   "home",   "hope",   "horse",
    "hot",     "hour",   "house",   "huge",    "ice",    "idea",   "island", "join",   "joy",
    "jump",    "keep",   "kind",    "king"};
void append_word(std::string& text, uint8_t which) {
  if (!text.empty()) text += ' ';
  text += kWords[which];
}

}  // namespace

std::string random_words(uint64_t seed, uint64_t stream, int64_t count) {
  constexpr int64_t kWordsPerDraw = 8;
  const uint64_t own_seed = random_bits(seed, stream, 1);
  std::string text;
  uint64_t bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i % kWordsPerDraw == 0) bits = random_bits(own_seed, static_cast<uint64_t>(i));
    append_word(text, static_cast<uint8_t>(bits));
    bits >>= 8;
  }
  return text;
}

std::string unique_words(uint64_t seed, int64_t index) {
  // Odd, so that the product takes every value once.
  constexpr uint32_t kScatter = 0x9E3779B1;
  uint32_t bits =
      static_cast<uint32_t>(index) * kScatter + static_cast<uint32_t>(random_bits(seed, 0, 2));
  std::string text;
  for (int64_t i = 0; i < kNumUniqueWords; ++i) {
    append_word(text, static_cast<uint8_t>(bits));
    bits >>= 8;
  }
  return text;
}

}  // namespace quern
