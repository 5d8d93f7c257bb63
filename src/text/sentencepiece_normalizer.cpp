#include "text/sentencepiece_normalizer.h"

#include <utility>

#include "base/byte_reader.h"
#include "text/utf8.h"

namespace quern {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

// One unit of a double-array trie (Yata, darts-clone): bits 0-7 and 31 its label, bit 8 whether a
// key ends here, bits 10-30 the offset to its children, in steps of 256 if bit 9 is set; the unit
// of a value has bit 31 set and the value below it.
constexpr bool has_leaf(uint32_t unit) { return ((unit >> 8) & 1) != 0; }
constexpr uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFFu; }
constexpr uint32_t label_of(uint32_t unit) { return unit & 0x800000FFu; }
constexpr uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

}  // namespace

Result<SentencePieceNormalizer> SentencePieceNormalizer::build(
    std::span<const std::byte> charsmap, Options options,
    std::vector<PrefixTable::Entry> user_defined, std::string_view what) {
  SentencePieceNormalizer normalizer;
  normalizer.options_ = options;
  normalizer.user_defined_ = PrefixTable(std::move(user_defined));
  if (charsmap.empty()) return normalizer;

  ByteReader reader(charsmap, std::string(what));
  ASSIGN_OR_RETURN(const uint32_t trie_bytes, reader.take_number<uint32_t>("precompiled_charsmap"));
  RETURN_IF_ERROR(reader.check_count(trie_bytes, 1, "precompiled_charsmap"));
  for (uint32_t i = 0; i < trie_bytes / 4; ++i) {
    ASSIGN_OR_RETURN(const uint32_t unit, reader.take_number<uint32_t>("precompiled_charsmap"));
    normalizer.trie_.push_back(unit);
  }
  ASSIGN_OR_RETURN(const auto odd, reader.take(trie_bytes % 4, "precompiled_charsmap"));
  ASSIGN_OR_RETURN(const std::string_view replacements,
                   reader.take_text(reader.bytes_left(), "precompiled_charsmap"));
  normalizer.replacements_ = std::string(replacements);
  if (!odd.empty() || !is_utf8(replacements) || !replacements.ends_with('\0')) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what,
                                ": precompiled_charsmap is damaged: wanted units of 4 bytes "
                                "and replacements in UTF-8, each ended by a zero byte"),
                 .what = std::string(what)};
  }
  return normalizer;
}

SentencePieceNormalizer::Step SentencePieceNormalizer::step_at(std::string_view text, size_t at,
                                                               uint64_t& work) const {
  if (user_defined_.may_start(text[at])) {
    const PrefixTable::Match match = user_defined_.longest_at(text, at, work);
    if (match.size > 0) return {text.substr(at, match.size), match.size};
  }
  size_t longest = 0;
  uint32_t value = 0;
  uint32_t node = 0;
  const auto unit_at = [&](uint32_t index) { return index < trie_.size() ? trie_[index] : 0; };
  if (!trie_.empty()) {
    uint32_t unit = unit_at(0);
    node = offset_of(unit);
    for (size_t i = at; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      ++work;
      node ^= byte;
      // A zero byte in the text is the label of value units, never a key's.
      if (byte == 0 || node >= trie_.size()) break;
      unit = trie_[node];
      if (label_of(unit) != byte) break;
      node ^= offset_of(unit);
      if (has_leaf(unit)) {
        longest = i + 1 - at;
        value = value_of(unit_at(node));
      }
    }
  }
  const size_t character = read_utf8(text, at).size;
  // A damaged table could end a key inside a character or point behind the replacements.
  const bool whole =
      longest > 0 && value < replacements_.size() &&
      (at + longest == text.size() ||
       (static_cast<unsigned char>(text[at + longest]) & 0xC0) != 0x80) &&
      (value == 0 || (static_cast<unsigned char>(replacements_[value]) & 0xC0) != 0x80);
  if (!whole) return {text.substr(at, character), character};
  return {std::string_view(replacements_.c_str() + value), longest};
}

bool SentencePieceNormalizer::append_normalized(std::string_view text, bool at_start,
                                                size_t max_bytes, std::string& out) const {
  const bool dummy = options_.add_dummy_prefix && (at_start || !options_.prefix_first_only);
  // Keys of the table and user-defined pieces are short; one that a long text follows for
  // thousands of bytes at every place would take forever.
  const uint64_t max_work = 1'000'000 + 1'000 * uint64_t{text.size()};
  uint64_t work = 0;
  size_t at = 0;
  while (options_.remove_extra_whitespaces && at < text.size()) {
    const Step step = step_at(text, at, work);
    if (step.replacement != " ") break;
    at += step.size;
  }
  if (at >= text.size()) return true;

  const std::string_view space = options_.escape_whitespaces ? kSpace : " ";
  const size_t start = out.size();
  if (!options_.treat_whitespace_as_suffix && dummy) out.append(space);
  bool after_space = options_.remove_extra_whitespaces;
  while (at < text.size()) {
    const Step step = step_at(text, at, work);
    at += step.size;
    std::string_view piece = step.replacement;
    while (after_space && piece.starts_with(' ')) piece.remove_prefix(1);
    if (!piece.empty()) {
      for (const char c : piece) {
        if (c == ' ') {
          out.append(space);
        } else {
          out += c;
        }
      }
      after_space = piece.ends_with(' ');
    }
    if (!options_.remove_extra_whitespaces) after_space = false;
    if (out.size() > max_bytes || work > max_work) return false;
  }
  while (options_.remove_extra_whitespaces && out.size() >= start + space.size() &&
         out.ends_with(space)) {
    out.resize(out.size() - space.size());
  }
  if (options_.treat_whitespace_as_suffix && dummy) out += space;
  return true;
}

}  // namespace quern
