#include "text/bpe_model.h"

#include <algorithm>
#include <functional>

#include "base/ensure.h"
#include "text/characters.h"
#include "text/utf8.h"

namespace quern {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581
constexpr char32_t kNumLowCharacters = 0x3000;
constexpr int32_t kMergedAway = -2;

/// "<0x0A>" for byte 10.
std::string byte_token(unsigned byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

void push_candidate(std::vector<BpeScratch::Candidate>& heap, MergeTable::Found merge,
                    int32_t place) {
  heap.push_back({uint64_t{merge.rank} << 32 | static_cast<uint32_t>(place), merge.result});
}

constexpr auto later = [](const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
  return a.order > b.order;
};

}  // namespace

Result<BpeModel> BpeModel::build(TokenTable tokens, std::vector<Merge> merges, Options options,
                                 std::string_view what) {
  BpeModel model;
  model.tokens_ = std::move(tokens);
  model.options_ = std::move(options);
  const Options& o = model.options_;
  if (o.unk_token) model.unk_id_ = model.tokens_.find(*o.unk_token);
  if (o.sentencepiece) model.unk_id_ = o.sentencepiece->unk_id;
  size_t num_byte_tokens = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    model.byte_tokens_[byte] = model.tokens_.find(byte_token(byte));
    num_byte_tokens += model.byte_tokens_[byte] >= 0;
    std::string character;
    append_utf8(character, byte_level_character(static_cast<unsigned char>(byte)));
    model.byte_characters_[byte] = model.tokens_.find(character);
  }
  if (o.sentencepiece && o.byte_fallback && num_byte_tokens < 256) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what, ": byte fallback is on, but only ", num_byte_tokens,
                                " of the pieces <0x00> to <0xFF> are there"),
                 .what = std::string(what)};
  }
  if (o.sentencepiece) model.user_defined_ = PrefixTable(o.sentencepiece->user_defined);
  model.index_characters();

  model.made_from_text_.assign(static_cast<size_t>(model.tokens_.id_limit()), o.ignore_merges);
  for (const Merge& merge : merges) {
    ENSURE(merge.result >= 0 && merge.result < model.tokens_.id_limit(), "a merge makes a token");
    model.made_from_text_[static_cast<size_t>(merge.result)] = true;
  }
  model.merges_ = MergeTable(merges);
  model.spaces_start_words_ = model.find_spaces_start_words(merges);
  return model;
}

void BpeModel::index_characters() {
  low_characters_.assign(kNumLowCharacters, -1);
  const auto index = [&](std::string_view text, int32_t id) {
    if (text.empty()) return;
    const Utf8Step step = read_utf8(text, 0);
    if (step.kind != Utf8Step::Kind::kValid || step.size != text.size()) return;
    if (step.character < kNumLowCharacters) {
      low_characters_[step.character] = id;
    } else {
      high_characters_[step.character] = id;
    }
  };
  const auto& sentencepiece = options_.sentencepiece;
  tokens_.for_each([&](std::string_view text, int32_t id) {
    if (!sentencepiece || !sentencepiece->reserved[static_cast<size_t>(id)]) index(text, id);
  });
  if (!sentencepiece) return;
  for (size_t i = 0; i < sentencepiece->extra_characters.size(); ++i) {
    index(sentencepiece->extra_characters[i], tokens_.id_limit() + static_cast<int32_t>(i));
  }
}

std::string_view BpeModel::symbol_text(int32_t id) const {
  if (id >= tokens_.id_limit()) {
    return options_.sentencepiece->extra_characters[static_cast<size_t>(id - tokens_.id_limit())];
  }
  return tokens_.text(id).value_or(std::string_view());
}

bool BpeModel::find_spaces_start_words(const std::vector<Merge>& merges) const {
  if (options_.ignore_merges || !options_.continuing_subword_prefix.empty() ||
      !options_.end_of_word_suffix.empty() || tokens_.find(kSpace) < 0) {
    return false;
  }
  for (const Merge& merge : merges) {
    if (symbol_text(merge.right).starts_with(kSpace) &&
        !symbol_text(merge.left).ends_with(kSpace)) {
      return false;
    }
  }
  if (!options_.sentencepiece) return true;
  for (const PrefixTable::Entry& entry : options_.sentencepiece->user_defined) {
    for (size_t at = entry.text.find(kSpace, 1); at != std::string::npos;
         at = entry.text.find(kSpace, at + 1)) {
      if (!std::string_view(entry.text).substr(0, at).ends_with(kSpace)) return false;
    }
  }
  return true;
}

int32_t BpeModel::character_id(char32_t character) const {
  if (character < kNumLowCharacters) return low_characters_[character];
  const auto found = high_characters_.find(character);
  return found == high_characters_.end() ? -1 : found->second;
}

/// A character that is no token: its bytes, or the unknown token. `text` is the character with
/// prefix and suffix. As in the library, bytes go before an unknown token that is still pending.
Result<void> BpeModel::add_unknown(std::string_view text, uint32_t begin, uint32_t size,
                                   Unknown& unknown, BpeScratch& scratch) const {
  const auto byte_id = [&](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
  if (options_.byte_fallback &&
      std::all_of(text.begin(), text.end(), [&](char c) { return byte_id(c) >= 0; })) {
    for (const char c : text) scratch.symbols.push_back({byte_id(c), 0, 0, begin, size});
    return {};
  }
  if (!options_.unk_token) return {};  // the library drops it
  if (unk_id_ < 0) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat("the tokenizer's unknown token \"", *options_.unk_token,
                                "\" is not in its vocabulary, and the text has the unknown "
                                "character \"",
                                text, "\"; add the token to the vocabulary"),
                 .what = *options_.unk_token};
  }
  if (unknown.pending && options_.fuse_unk) {
    unknown.size += size;
    return {};
  }
  if (unknown.pending) scratch.symbols.push_back({unk_id_, 0, 0, unknown.begin, unknown.size});
  unknown = {true, begin, size};
  return {};
}

Result<void> BpeModel::add_symbols(std::string_view word, WordForm form,
                                   BpeScratch& scratch) const {
  const bool affixes =
      !options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty();
  Unknown unknown;
  std::string text;
  for (size_t at = 0; at < word.size();) {
    int32_t id = -1;
    uint32_t size = 1;
    if (form == WordForm::kBytes) {
      id = byte_characters_[static_cast<unsigned char>(word[at])];
    } else {
      const Utf8Step step = read_utf8(word, at);
      size = step.size;
      if (!affixes) id = character_id(step.character);
    }
    if (id < 0) {
      text.clear();
      if (form == WordForm::kBytes) {
        append_byte_level(text, word.substr(at, 1));
      } else {
        if (at > 0) text += options_.continuing_subword_prefix;
        text += word.substr(at, size);
        if (at + size == word.size()) text += options_.end_of_word_suffix;
        if (affixes) id = tokens_.find(text);
      }
    }
    const auto begin = static_cast<uint32_t>(at);
    at += size;
    if (id < 0) {
      RETURN_IF_ERROR(add_unknown(text, begin, size, unknown, scratch));
      continue;
    }
    if (unknown.pending) {
      scratch.symbols.push_back({unk_id_, 0, 0, unknown.begin, unknown.size});
      unknown.pending = false;
    }
    scratch.symbols.push_back({id, 0, 0, begin, size});
  }
  if (unknown.pending) {
    scratch.symbols.push_back({unk_id_, 0, 0, unknown.begin, unknown.size});
  }
  return {};
}

void BpeModel::add_sentencepiece_symbols(std::string_view word, BpeScratch& scratch) const {
  uint64_t work = 0;
  for (size_t at = 0; at < word.size();) {
    const auto begin = static_cast<uint32_t>(at);
    if (user_defined_.may_start(word[at])) {
      const PrefixTable::Match match = user_defined_.longest_at(word, at, work);
      if (match.size > 0) {
        scratch.symbols.push_back({match.id, 0, 0, begin, static_cast<uint32_t>(match.size)});
        at += match.size;
        continue;
      }
    }
    const Utf8Step step = read_utf8(word, at);
    scratch.symbols.push_back({character_id(step.character), 0, 0, begin, step.size});
    at += step.size;
  }
}

bool BpeModel::merge_all(const std::vector<bool>* forbidden, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto* unused = options_.sentencepiece && !options_.sentencepiece->unused.empty()
                           ? &options_.sentencepiece->unused
                           : nullptr;
  bool met_forbidden = false;
  const auto consider = [&](int32_t left, int32_t right) {
    const int32_t left_id = symbols[static_cast<size_t>(left)].id;
    const int32_t right_id = symbols[static_cast<size_t>(right)].id;
    if (left_id < 0 || right_id < 0) return false;
    const MergeTable::Found merge = merges_.find(left_id, right_id);
    if (merge.result < 0) return false;
    if (forbidden != nullptr && (*forbidden)[static_cast<size_t>(merge.result)]) {
      met_forbidden = true;
      return false;
    }
    if (unused != nullptr && (*unused)[static_cast<size_t>(merge.result)]) {
      scratch.parts[merge.result] = {left_id, right_id};
    }
    push_candidate(heap, merge, left);
    return true;
  };

  const auto count = static_cast<int32_t>(symbols.size());
  heap.clear();
  for (int32_t i = 0; i < count; ++i) {
    symbols[static_cast<size_t>(i)].previous = i - 1;
    symbols[static_cast<size_t>(i)].next = i + 1 < count ? i + 1 : -1;
    if (i + 1 < count) consider(i, i + 1);
  }
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const BpeScratch::Candidate top = heap.back();
    heap.pop_back();
    const auto place = static_cast<int32_t>(top.order & 0xFFFFFFFFu);
    BpeScratch::Symbol& left = symbols[static_cast<size_t>(place)];
    if (left.id == kMergedAway || left.next < 0) continue;
    BpeScratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
    // Since the candidate was noted, either side may have grown.
    if (left.id < 0 || right.id < 0 || merges_.find(left.id, right.id).result != top.result) {
      continue;
    }
    left.id = top.result;
    left.size += right.size;
    left.next = right.next;
    right.id = kMergedAway;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = place;
    if (left.previous >= 0 && consider(left.previous, place)) {
      std::push_heap(heap.begin(), heap.end(), later);
    }
    if (left.next >= 0 && consider(place, left.next)) {
      std::push_heap(heap.begin(), heap.end(), later);
    }
  }
  return met_forbidden;
}

/// SentencePiece's last step: unused pieces become their parts again, unknown ones bytes or the
/// unknown piece, one for a run of them.
void BpeModel::emit_sentencepiece(std::string_view word, BpeScratch& scratch,
                                  std::vector<int32_t>& ids) const {
  const auto& sentencepiece = *options_.sentencepiece;
  bool after_unknown = false;
  const auto emit = [&](int32_t id, std::string_view text) {
    const bool unknown = id < 0 || id >= tokens_.id_limit();
    if (!unknown) {
      ids.push_back(id);
    } else if (options_.byte_fallback) {
      for (const char c : text) ids.push_back(byte_tokens_[static_cast<unsigned char>(c)]);
    } else if (!after_unknown) {
      ids.push_back(sentencepiece.unk_id);
    }
    after_unknown = unknown && !options_.byte_fallback;
  };
  std::vector<int32_t> stack;
  for (const BpeScratch::Symbol& symbol : scratch.symbols) {
    if (symbol.id == kMergedAway) continue;
    const bool unused = symbol.id >= 0 && symbol.id < tokens_.id_limit() &&
                        !sentencepiece.unused.empty() &&
                        sentencepiece.unused[static_cast<size_t>(symbol.id)];
    if (!unused) {
      emit(symbol.id, word.substr(symbol.begin, symbol.size));
      continue;
    }
    stack.assign(1, symbol.id);
    while (!stack.empty()) {
      const int32_t id = stack.back();
      stack.pop_back();
      const auto parts = scratch.parts.find(id);
      if (parts == scratch.parts.end()) {
        emit(id, symbol_text(id));
      } else {
        stack.push_back(parts->second.second);
        stack.push_back(parts->second.first);
      }
    }
  }
}

Result<bool> BpeModel::encode(std::string_view word, WordForm form,
                              const std::vector<bool>* forbidden, BpeScratch& scratch,
                              std::vector<int32_t>& ids) const {
  if (word.empty()) return false;
  // Normalizers may write several bytes for each one of a large text.
  if (word.size() >= INT32_MAX) {
    return Error{
        .code = ErrorCode::kBadInput,
        .message = cat("a stretch of the text without a cut is ", word.size(),
                       " bytes for the tokenizer, wanted below ", INT32_MAX, "; shorten the text"),
        .what = "text",
        .found = cat(word.size(), " bytes"),
        .wanted = cat("below ", INT32_MAX, " bytes"),
        .try_next = "shorten the text"};
  }
  bool met_forbidden = false;
  if (options_.ignore_merges) {
    std::string_view text = word;
    if (form == WordForm::kBytes) {
      scratch.word.clear();
      append_byte_level(scratch.word, word);
      text = scratch.word;
    }
    const int32_t whole = tokens_.find(text);
    if (whole >= 0 && (forbidden == nullptr || !(*forbidden)[static_cast<size_t>(whole)])) {
      ids.push_back(whole);
      return false;
    }
    met_forbidden = whole >= 0;
  }
  scratch.symbols.clear();
  scratch.parts.clear();
  if (options_.sentencepiece) {
    add_sentencepiece_symbols(word, scratch);
  } else {
    RETURN_IF_ERROR(add_symbols(word, form, scratch));
  }
  met_forbidden |= merge_all(forbidden, scratch);
  if (options_.sentencepiece) {
    emit_sentencepiece(word, scratch, ids);
  } else {
    for (const BpeScratch::Symbol& symbol : scratch.symbols) {
      if (symbol.id != kMergedAway) ids.push_back(symbol.id);
    }
  }
  return met_forbidden;
}

}  // namespace quern
