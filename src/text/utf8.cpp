#include "text/utf8.h"

namespace quern {

namespace {

constexpr Utf8Step invalid(uint32_t size) { return {Utf8Step::Kind::kInvalid, size, 0}; }

}  // namespace

// The second byte of a sequence has a narrower range after E0, ED, F0 and F4 (Unicode 15, table
// 3-7); that is what keeps out overlong forms, surrogates and values above U+10FFFF.
Utf8Step read_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {Utf8Step::Kind::kValid, 1, lead};
  uint32_t size = 0;
  char32_t value = 0;
  uint8_t low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
    value = lead & 0x1Fu;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    value = lead & 0x0Fu;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    value = lead & 0x07u;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return invalid(1);
  }
  for (uint32_t i = 1; i < size; ++i) {
    if (at + i == text.size()) return {Utf8Step::Kind::kIncomplete, i, 0};
    if (byte(i) < low || byte(i) > high) return invalid(i);
    value = (value << 6) | (byte(i) & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8Step::Kind::kValid, size, value};
}

void append_utf8(std::string& out, char32_t character) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (character < 0x80) {
    put(character);
  } else if (character < 0x800) {
    put(0xC0 | (character >> 6));
    put(0x80 | (character & 0x3F));
  } else if (character < 0x10000) {
    put(0xE0 | (character >> 12));
    put(0x80 | ((character >> 6) & 0x3F));
    put(0x80 | (character & 0x3F));
  } else {
    put(0xF0 | (character >> 18));
    put(0x80 | ((character >> 12) & 0x3F));
    put(0x80 | ((character >> 6) & 0x3F));
    put(0x80 | (character & 0x3F));
  }
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Step step = read_utf8(text, at);
    if (step.kind != Utf8Step::Kind::kValid) return false;
    at += step.size;
  }
  return true;
}

size_t append_certain_utf8(std::string& out, std::string_view bytes) {
  size_t copied = 0;  // bytes[copied, at) is valid and not yet in `out`
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Step step = read_utf8(bytes, at);
    if (step.kind == Utf8Step::Kind::kValid) {
      at += step.size;
      continue;
    }
    out.append(bytes.substr(copied, at - copied));
    copied = at;
    if (step.kind == Utf8Step::Kind::kIncomplete) return at;
    out.append(kReplacementCharacter);
    at += step.size;
    copied = at;
  }
  out.append(bytes.substr(copied));
  return bytes.size();
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  if (append_certain_utf8(out, bytes) < bytes.size()) out.append(kReplacementCharacter);
  return out;
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return count;
}

}  // namespace quern
