#include "text/normalizer.h"

#include "text/characters.h"
#include "text/utf8.h"

namespace quern {

namespace {

struct Limits {
  size_t max_bytes;
  PatternFuel& fuel;
};

/// Keeps the characters for which keep(character) gives a replacement: itself, another, or -1 for
/// none.
template <typename Map>
void map_characters(NormalizedText& text, Map&& map) {
  std::string out;
  out.reserve(text.text.size());
  for (size_t at = 0; at < text.text.size();) {
    const Utf8Step step = read_utf8(text.text, at);
    const int64_t mapped = map(step.character);
    if (mapped >= 0) {
      append_utf8(out, static_cast<char32_t>(mapped));
    } else if (at == 0) {
      text.at_input_start = false;
    }
    at += step.size;
  }
  text.text = std::move(out);
}

Result<void> apply(const UnicodeNormalizer& step, const Limits&, NormalizedText& text) {
  text.text = normalize(text.text, step.form);
  return {};
}

Result<void> apply(const LowercaseNormalizer&, const Limits&, NormalizedText& text) {
  text.text = lowercase(text.text);
  return {};
}

Result<void> apply(const ReplaceNormalizer& step, const Limits& limits, NormalizedText& text) {
  if (text.text.empty()) return {};
  std::vector<TextSpan> matches;
  RETURN_IF_ERROR(step.pattern.find_all(text.text, limits.fuel, matches));
  if (matches.empty()) return {};
  std::string out;
  size_t from = 0;
  for (const TextSpan& match : matches) {
    out.append(text.text, from, match.begin - from);
    out.append(step.content);
    if (out.size() > limits.max_bytes) return normalized_too_large(limits.max_bytes);
    from = match.end;
  }
  out.append(text.text, from);
  // What replaces several characters counts as the last of them, so only a single first
  // character keeps its place at the start.
  const TextSpan& first = matches.front();
  if (first.begin == 0 && first.end > 0) {
    const bool single = read_utf8(text.text, 0).size == first.end;
    text.at_input_start = text.at_input_start && single && !step.content.empty();
  }
  text.text = std::move(out);
  return {};
}

Result<void> apply(const PrependNormalizer& step, const Limits& limits, NormalizedText& text) {
  if (text.text.empty()) return {};
  if (text.text.size() + step.text.size() > limits.max_bytes) {
    return normalized_too_large(limits.max_bytes);
  }
  text.text.insert(0, step.text);
  return {};
}

Result<void> apply(const StripNormalizer& step, const Limits&, NormalizedText& text) {
  size_t begin = 0, end = text.text.size();
  while (step.left && begin < end) {
    const Utf8Step read = read_utf8(text.text, begin);
    if (!is_whitespace(read.character)) break;
    begin += read.size;
  }
  while (step.right && end > begin) {
    size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(text.text[last]) & 0xC0) == 0x80) --last;
    if (!is_whitespace(read_utf8(text.text, last).character)) break;
    end = last;
  }
  if (begin > 0) text.at_input_start = false;
  text.text = text.text.substr(begin, end - begin);
  return {};
}

Result<void> apply(const StripAccentsNormalizer&, const Limits&, NormalizedText& text) {
  map_characters(text, [](char32_t c) { return is_combining_mark(c) ? -1 : int64_t{c}; });
  return {};
}

Result<void> apply(const ByteLevelNormalizer&, const Limits&, NormalizedText& text) {
  std::string out;
  append_byte_level(out, text.text);
  text.text = std::move(out);
  return {};
}

Result<void> apply(const NmtNormalizer&, const Limits&, NormalizedText& text) {
  map_characters(text, [](char32_t c) -> int64_t {
    if ((c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
        c == 0x8F || c == 0x9F) {
      return -1;
    }
    if (c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
        (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
        c == 0xFFFD) {
      return ' ';
    }
    return c;
  });
  return {};
}

Result<void> apply(const std::shared_ptr<const SentencePieceNormalizer>& step, const Limits& limits,
                   NormalizedText& text) {
  std::string out;
  if (!step->append_normalized(text.text, text.at_input_start, limits.max_bytes, out))
    return normalized_too_large(limits.max_bytes);
  text.text = std::move(out);
  return {};
}

}  // namespace

Error normalized_too_large(size_t max_bytes) {
  return Error{.code = ErrorCode::kBadInput,
               .message = cat("the tokenizer's normalizers make this text larger than ", max_bytes,
                              " bytes; shorten the text"),
               .what = "text",
               .try_next = "shorten the text"};
}

Result<void> apply_normalizers(const std::vector<Normalizer>& normalizers, size_t max_bytes,
                               PatternFuel& fuel, NormalizedText& text) {
  const Limits limits{max_bytes, fuel};
  for (const Normalizer& normalizer : normalizers) {
    RETURN_IF_ERROR(
        std::visit([&](const auto& step) { return apply(step, limits, text); }, normalizer));
    if (text.text.size() > max_bytes) return normalized_too_large(max_bytes);
  }
  return {};
}

}  // namespace quern
