#include "text/added_tokens.h"

#include <algorithm>
#include <set>
#include <utility>

#include "text/characters.h"
#include "text/utf8.h"

namespace quern {

namespace {

constexpr size_t kMaxNormalizedBytes = 1 << 20;        // of one token
constexpr size_t kMaxNormalizedBytesInAll = 64 << 20;  // normalizers can put text into each

/// The start of the last character of text[0, end), end > 0.
size_t last_character(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool is_single_word(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && is_word_character(read_utf8(text, last_character(text, begin)).character)) {
    return false;
  }
  return end >= text.size() || !is_word_character(read_utf8(text, end).character);
}

}  // namespace

Result<AddedTokens> AddedTokens::build(std::vector<AddedToken> tokens,
                                       const std::vector<Normalizer>& normalizers,
                                       std::string_view what) {
  AddedTokens added;
  added.tokens_ = std::move(tokens);
  std::sort(added.tokens_.begin(), added.tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  std::vector<PrefixTable::Entry> written, normalized, special;
  std::set<std::string> seen_written, seen_normalized;
  PatternFuel fuel(0);
  size_t normalized_bytes = 0;
  for (size_t i = 0; i < added.tokens_.size(); ++i) {
    const AddedToken& token = added.tokens_[i];
    added.by_id_[token.id] = i;
    std::string text = token.content;
    if (token.normalized) {
      NormalizedText changed{.text = token.content, .at_input_start = true};
      if (auto done = apply_normalizers(normalizers, kMaxNormalizedBytes, fuel, changed); !done) {
        return with_context(std::move(done).error(), what);
      }
      text = std::move(changed.text);
      normalized_bytes += text.size();
      if (normalized_bytes > kMaxNormalizedBytesInAll) {
        return Error{.code = ErrorCode::kBadFile,
                     .message = cat(what, ": the normalizers make the added tokens up to \"",
                                    token.content.substr(0, 80), "\" larger than ",
                                    kMaxNormalizedBytesInAll, " bytes in all"),
                     .what = std::string(what),
                     .found = token.content.substr(0, 80),
                     .wanted = cat("at most ", kMaxNormalizedBytesInAll, " bytes")};
      }
      if (text != token.content) added.normalized_contents_[token.id] = text;
    }
    auto& seen = token.normalized ? seen_normalized : seen_written;
    if (text.empty() || !seen.insert(text).second) {
      return Error{.code = ErrorCode::kBadFile,
                   .message = cat(what, ": the added token \"", token.content.substr(0, 80),
                                  text.empty() ? "\" is empty once it is normalised"
                                               : "\" is looked for by the same text as another"),
                   .what = std::string(what),
                   .found = token.content.substr(0, 80)};
    }
    (token.normalized ? normalized : written).push_back({std::move(text), token.id});
    if (token.special) special.push_back({token.content, token.id});
  }
  added.written_ = PrefixTable(std::move(written));
  added.normalized_ = PrefixTable(std::move(normalized));
  added.special_ = PrefixTable(std::move(special));
  return added;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

std::string_view AddedTokens::decoded(const AddedToken& token) const {
  const auto found = normalized_contents_.find(token.id);
  return found == normalized_contents_.end() ? token.content : found->second;
}

namespace {

uint64_t max_work(size_t text_bytes) { return 100'000'000 + 1'000 * uint64_t{text_bytes}; }

bool touches(std::span<const ByteRange> ranges, size_t begin, size_t end) {
  const auto after = std::ranges::upper_bound(ranges, begin, {}, &ByteRange::end);
  return after != ranges.end() && after->begin < end;
}

}  // namespace

bool AddedTokens::spells_special(std::string_view text, std::span<const ByteRange> plain) const {
  if (plain.empty() || special_.empty()) return false;
  uint64_t work = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (!special_.may_start(text[at])) continue;
    // Where a token touches a plain part, so does the longest that begins at the same place.
    const PrefixTable::Match match = special_.longest_at(text, at, work);
    if (match.size > 0 && touches(plain, at, at + match.size)) return true;
    if (work > max_work(text.size())) return true;  // the slower way says so
  }
  return false;
}

Result<void> AddedTokens::cut(Text kind, bool parse_special, TextPieces& pieces,
                              std::span<const ByteRange> plain) const {
  const PrefixTable& table = this->table(kind);
  if (table.empty()) return {};
  uint64_t work = 0;
  std::vector<TextPieces::Piece> next;
  for (const TextPieces::Piece& piece : pieces.pieces) {
    if (piece.id >= 0) {
      next.push_back(piece);
      continue;
    }
    const std::string_view text = pieces.text(piece);
    const auto add = [&](size_t begin, size_t end, int32_t id) {
      if (begin < end) {
        next.push_back({piece.begin + begin, end - begin, id, piece.at_input_start && begin == 0});
      }
    };
    size_t done = 0;  // text[0, done) is in `next`
    for (size_t at = 0; at < text.size();) {
      if (!table.may_start(text[at])) {
        ++at;
        continue;
      }
      const PrefixTable::Match match = table.longest_at(text, at, work);
      if (work > max_work(pieces.buffer.size())) {
        return Error{.code = ErrorCode::kBadInput,
                     .message = cat("looking for the tokenizer's added tokens takes too much work "
                                    "on this text of ",
                                    text.size(), " bytes; shorten the text"),
                     .what = "text",
                     .try_next = "shorten the text"};
      }
      if (match.size == 0) {
        ++at;
        continue;
      }
      size_t begin = at, end = at + match.size;
      at = end;
      const AddedToken& token = *find(match.id);
      if (token.special && !parse_special) continue;
      if (touches(plain, piece.begin + begin, piece.begin + end)) continue;
      if (token.single_word && !is_single_word(text, begin, end)) continue;
      // Spaces that the token before took are not taken twice.
      while (token.lstrip && begin > done) {
        const size_t last = last_character(text, begin);
        if (!is_whitespace(read_utf8(text, last).character)) break;
        begin = last;
      }
      while (token.rstrip && end < text.size()) {
        const Utf8Step step = read_utf8(text, end);
        if (!is_whitespace(step.character)) break;
        end += step.size;
      }
      add(done, begin, -1);
      add(begin, end, match.id);
      // A token written in the spaces that the one before took counts too, as in the library.
      done = end;
    }
    add(done, text.size(), -1);
  }
  std::swap(pieces.pieces, next);
  return {};
}

}  // namespace quern
