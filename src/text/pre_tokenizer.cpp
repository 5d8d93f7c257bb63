#include "text/pre_tokenizer.h"

#include <utility>

#include "text/characters.h"
#include "text/utf8.h"

namespace quern {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

/// A stretch of a text that does or does not match; together they cover the text.
struct Part {
  size_t begin, end;
  bool matches;
};

/// Working memory of one pass over all pieces.
struct SplitScratch {
  PatternFuel& fuel;
  std::vector<TextSpan> matches = {};
  std::vector<Part> parts = {};
  std::vector<TextSpan> spans = {};  // what the text is cut into; may have gaps
  std::string rewritten = {};
};

void cover(std::string_view text, bool invert, SplitScratch& scratch) {
  size_t from = 0;
  for (const TextSpan& match : scratch.matches) {
    if (from != match.begin) scratch.parts.push_back({from, match.begin, invert});
    scratch.parts.push_back({match.begin, match.end, !invert});
    from = match.end;
  }
  if (from != text.size()) scratch.parts.push_back({from, text.size(), invert});
}

/// Each character for which `is_match` holds is a match of its own.
template <typename IsMatch>
void match_characters(std::string_view text, IsMatch&& is_match, SplitScratch& scratch) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    if (is_match(step.character)) scratch.matches.push_back({at, at + step.size});
    at += step.size;
  }
}

void cut(SplitBehavior behavior, SplitScratch& scratch) {
  auto& parts = scratch.parts;
  auto& spans = scratch.spans;
  bool after_match = false;
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Part& part : parts) spans.push_back({part.begin, part.end});
      return;
    case SplitBehavior::kRemoved:
      for (const Part& part : parts) {
        if (!part.matches) spans.push_back({part.begin, part.end});
      }
      return;
    case SplitBehavior::kContiguous:
      for (const Part& part : parts) {
        if (part.matches == after_match && !spans.empty()) {
          spans.back().end = part.end;
        } else {
          spans.push_back({part.begin, part.end});
        }
        after_match = part.matches;
      }
      return;
    case SplitBehavior::kMergedWithPrevious:
      for (const Part& part : parts) {
        if (part.matches && !after_match && !spans.empty()) {
          spans.back().end = part.end;
        } else {
          spans.push_back({part.begin, part.end});
        }
        after_match = part.matches;
      }
      return;
    case SplitBehavior::kMergedWithNext:
      for (size_t i = parts.size(); i-- > 0;) {
        if (parts[i].matches && !after_match && !spans.empty()) {
          spans.back().begin = parts[i].begin;
        } else {
          spans.push_back({parts[i].begin, parts[i].end});
        }
        after_match = parts[i].matches;
      }
      for (size_t i = 0; i < spans.size() / 2; ++i) {
        std::swap(spans[i], spans[spans.size() - 1 - i]);
      }
      return;
  }
}

/// Puts the whole text into the rewritten one with `prefix` in front of it.
void rewrite_with_prefix(std::string_view prefix, std::string_view text, SplitScratch& scratch) {
  scratch.rewritten.assign(prefix);
  scratch.rewritten.append(text);
}

// Each split() fills scratch.spans, and scratch.rewritten where the piece's text changes first
// (the spans are then of the rewritten text). Returns whether it did that.

Result<bool> split(const ByteLevelPreTokenizer& step, std::string_view text, bool,
                   SplitScratch& scratch) {
  const bool prefixed = step.add_prefix_space && !text.starts_with(' ');
  if (prefixed) {
    rewrite_with_prefix(" ", text, scratch);
    text = scratch.rewritten;
  }
  if (step.uses_pattern) {
    RETURN_IF_ERROR(step.pattern.find_all(text, scratch.fuel, scratch.matches));
    cover(text, false, scratch);
    cut(SplitBehavior::kIsolated, scratch);
  } else {
    scratch.spans.push_back({0, text.size()});
  }
  if (!step.writes_bytes) return prefixed;
  std::string out;
  out.reserve(text.size() * 2);
  for (TextSpan& span : scratch.spans) {
    const size_t begin = out.size();
    append_byte_level(out, text.substr(span.begin, span.end - span.begin));
    span = {begin, out.size()};
  }
  scratch.rewritten = std::move(out);
  return true;
}

Result<bool> split(const SplitPreTokenizer& step, std::string_view text, bool,
                   SplitScratch& scratch) {
  RETURN_IF_ERROR(step.pattern.find_all(text, scratch.fuel, scratch.matches));
  cover(text, step.invert, scratch);
  cut(step.behavior, scratch);
  return false;
}

Result<bool> split(const DigitsPreTokenizer& step, std::string_view text, bool,
                   SplitScratch& scratch) {
  match_characters(text, is_numeric, scratch);
  cover(text, false, scratch);
  cut(step.individual_digits ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, scratch);
  return false;
}

Result<bool> split(const MetaspacePreTokenizer& step, std::string_view text, bool at_input_start,
                   SplitScratch& scratch) {
  std::string replacement;
  append_utf8(replacement, step.replacement);
  using Prepend = MetaspacePreTokenizer::Prepend;
  const bool starts = text.starts_with(' ') || text.starts_with(replacement);
  const bool prepends =
      step.prepend == Prepend::kAlways || (step.prepend == Prepend::kFirst && at_input_start);
  scratch.rewritten.clear();
  if (prepends && !starts) scratch.rewritten += replacement;
  for (const char c : text) {
    if (c == ' ') {
      scratch.rewritten += replacement;
    } else {
      scratch.rewritten += c;
    }
  }
  if (step.split) {
    match_characters(
        scratch.rewritten, [&](char32_t c) { return c == step.replacement; }, scratch);
    cover(scratch.rewritten, false, scratch);
    cut(SplitBehavior::kMergedWithNext, scratch);
  } else {
    scratch.spans.push_back({0, scratch.rewritten.size()});
  }
  return true;
}

Result<bool> split(const WhitespacePreTokenizer&, std::string_view text, bool,
                   SplitScratch& scratch) {
  enum class Kind { kSpace, kWord, kOther };
  Kind last = Kind::kSpace;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    const Kind kind = is_word_character(step.character) ? Kind::kWord
                      : is_whitespace(step.character)   ? Kind::kSpace
                                                        : Kind::kOther;
    if (kind != Kind::kSpace && kind == last) {
      scratch.spans.back().end = at + step.size;
    } else if (kind != Kind::kSpace) {
      scratch.spans.push_back({at, at + step.size});
    }
    last = kind;
    at += step.size;
  }
  return false;
}

Result<bool> split(const WhitespaceSplitPreTokenizer&, std::string_view text, bool,
                   SplitScratch& scratch) {
  match_characters(text, is_whitespace, scratch);
  cover(text, false, scratch);
  cut(SplitBehavior::kRemoved, scratch);
  return false;
}

Result<bool> split(const PunctuationPreTokenizer& step, std::string_view text, bool,
                   SplitScratch& scratch) {
  match_characters(text, is_punctuation, scratch);
  cover(text, false, scratch);
  cut(step.behavior, scratch);
  return false;
}

Result<bool> split(const CharDelimiterPreTokenizer& step, std::string_view text, bool,
                   SplitScratch& scratch) {
  match_characters(
      text, [&](char32_t c) { return c == step.delimiter; }, scratch);
  cover(text, false, scratch);
  cut(SplitBehavior::kRemoved, scratch);
  return false;
}

Result<bool> split(const FixedLengthPreTokenizer& step, std::string_view text, bool,
                   SplitScratch& scratch) {
  uint64_t count = 0;
  for (size_t at = 0; at < text.size();) {
    const uint32_t size = read_utf8(text, at).size;
    if (count % step.length == 0) scratch.spans.push_back({at, at});
    scratch.spans.back().end = at + size;
    at += size;
    ++count;
  }
  return false;
}

Error too_large(size_t max_bytes) {
  return Error{.code = ErrorCode::kBadInput,
               .message = cat("the tokenizer's pre-tokenizers make this text larger than ",
                              max_bytes, " bytes; shorten the text"),
               .what = "text",
               .try_next = "shorten the text"};
}

}  // namespace

Result<void> apply_pre_tokenizers(const std::vector<PreTokenizer>& pre_tokenizers, size_t max_bytes,
                                  PatternFuel& fuel, TextPieces& pieces) {
  SplitScratch scratch{.fuel = fuel};
  std::vector<TextPieces::Piece> next;
  for (const PreTokenizer& pre_tokenizer : pre_tokenizers) {
    next.clear();
    for (const TextPieces::Piece& piece : pieces.pieces) {
      if (piece.id >= 0) {
        next.push_back(piece);
        continue;
      }
      scratch.matches.clear();
      scratch.parts.clear();
      scratch.spans.clear();
      const auto done = std::visit(
          [&](const auto& step) {
            return split(step, pieces.text(piece), piece.at_input_start, scratch);
          },
          pre_tokenizer);
      if (!done) return done.error();
      size_t origin = piece.begin;
      if (*done) {
        origin = pieces.buffer.size();
        pieces.buffer.append(scratch.rewritten);
        if (pieces.buffer.size() > max_bytes) return too_large(max_bytes);
      }
      for (const TextSpan& span : scratch.spans) {
        if (span.begin == span.end) continue;
        next.push_back({origin + span.begin, span.end - span.begin, -1,
                        piece.at_input_start && span.begin == 0});
      }
    }
    std::swap(pieces.pieces, next);
  }
  return {};
}

}  // namespace quern
