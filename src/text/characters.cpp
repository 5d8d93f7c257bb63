#include "text/characters.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>

#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace quern {

namespace {

bool in_ranges(std::span<const CodePointRange> ranges, char32_t character) {
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), character,
      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return after != ranges.begin() && character <= std::prev(after)->last;
}

constexpr bool stands_for_itself(char32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

struct ByteAlphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, 0x144> byte{};  // U+0143 is the last of the alphabet
};

constexpr ByteAlphabet make_byte_alphabet() {
  ByteAlphabet alphabet;
  for (int16_t& byte : alphabet.byte) byte = -1;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const char32_t character = stands_for_itself(byte) ? byte : next++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr ByteAlphabet kByteAlphabet = make_byte_alphabet();

}  // namespace

bool is_whitespace(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || c == 0x20;
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t c) { return in_ranges(kNumeric, c); }
bool is_punctuation(char32_t c) { return in_ranges(kPunctuation, c); }
bool is_combining_mark(char32_t c) { return in_ranges(kCombiningMark, c); }
bool is_word_character(char32_t c) { return in_ranges(kWord, c); }

char32_t byte_level_character(unsigned char byte) { return kByteAlphabet.character[byte]; }

int byte_level_byte(char32_t character) {
  return character < kByteAlphabet.byte.size() ? kByteAlphabet.byte[character] : -1;
}

void append_byte_level(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) {
    append_utf8(out, kByteAlphabet.character[static_cast<unsigned char>(byte)]);
  }
}

}  // namespace quern
