#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "text/tokenizer_parts.h"
#include "text/utf8.h"
#include "text/word_cache.h"

namespace quern {

namespace {

constexpr size_t kMaxTextBytes = 1 << 30;
constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

/// How large normalizers and pre-tokenizers may make a text: real ones write at most a few bytes
/// for one.
size_t max_rewritten_bytes(size_t text_bytes) { return (size_t{16} << 20) + 64 * text_bytes; }

}  // namespace

struct Tokenizer::Impl {
  Parts parts;
  AddedTokens added;
  BpeModel::WordForm word_form = BpeModel::WordForm::kText;
  /// By id: special tokens that merges of the model would make from plain text.
  std::vector<bool> forbidden;
  bool any_forbidden = false;
  int32_t id_limit = 0;
  WordCache cache;

  Result<void> encode_words(const TextPieces& pieces, bool parse_special,
                            std::vector<int32_t>& ids);
  Result<void> encode_word(std::string_view word, bool parse_special, BpeScratch& scratch,
                           std::vector<int32_t>& ids);
};

Result<Tokenizer> Tokenizer::assemble(Parts parts, std::string_view what) {
  auto impl = std::make_shared<Impl>();
  ASSIGN_OR_RETURN(impl->added,
                   AddedTokens::build(std::move(parts.added_tokens), parts.normalizers, what));
  // Where the byte alphabet is written last of all, the model reads bytes instead.
  if (!parts.pre_tokenizers.empty()) {
    auto* last = std::get_if<ByteLevelPreTokenizer>(&parts.pre_tokenizers.back());
    const BpeModel::Options& model = parts.model.options();
    if (last != nullptr && model.continuing_subword_prefix.empty() &&
        model.end_of_word_suffix.empty()) {
      last->writes_bytes = false;
      impl->word_form = BpeModel::WordForm::kBytes;
    }
  }
  const std::vector<bool>& made = parts.model.made_from_text();
  impl->id_limit = parts.model.tokens().id_limit();
  impl->forbidden.assign(made.size(), false);
  for (const AddedToken& token : impl->added.all()) {
    impl->id_limit = std::max(impl->id_limit, token.id + 1);
    const auto id = static_cast<size_t>(token.id);
    if (!token.special || id >= made.size() || !made[id]) continue;
    impl->forbidden[id] = true;
    impl->any_forbidden = true;
  }
  impl->parts = std::move(parts);
  return Tokenizer(std::move(impl));
}

Result<void> Tokenizer::Impl::encode_word(std::string_view word, bool parse_special,
                                          BpeScratch& scratch, std::vector<int32_t>& ids) {
  const std::vector<bool>* skipped = !parse_special && any_forbidden ? &forbidden : nullptr;
  const size_t before = ids.size();
  if (cache.find(word, ids)) {
    const bool plain =
        skipped == nullptr ||
        std::none_of(ids.begin() + static_cast<std::ptrdiff_t>(before), ids.end(), [&](int32_t id) {
          return static_cast<size_t>(id) < skipped->size() && (*skipped)[static_cast<size_t>(id)];
        });
    if (plain) return {};
    ids.resize(before);
  }
  ASSIGN_OR_RETURN(const bool skipped_some,
                   parts.model.encode(word, word_form, skipped, scratch, ids));
  if (!skipped_some) cache.put(word, std::span(ids).subspan(before));
  return {};
}

Result<void> Tokenizer::Impl::encode_words(const TextPieces& pieces, bool parse_special,
                                           std::vector<int32_t>& ids) {
  BpeScratch scratch;
  const bool cut_at_spaces =
      word_form == BpeModel::WordForm::kText && parts.model.spaces_start_words();
  for (const TextPieces::Piece& piece : pieces.pieces) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
      continue;
    }
    std::string_view text = pieces.text(piece);
    while (cut_at_spaces) {
      // Behind the spaces that start the word, to the next space.
      size_t at = 0;
      while (text.substr(at).starts_with(kSpace)) at += kSpace.size();
      const size_t end = text.find(kSpace, at);
      if (end == std::string_view::npos) break;
      RETURN_IF_ERROR(encode_word(text.substr(0, end), parse_special, scratch, ids));
      text.remove_prefix(end);
    }
    RETURN_IF_ERROR(encode_word(text, parse_special, scratch, ids));
  }
  return {};
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() > kMaxTextBytes) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat("the text is ", text.size(), " bytes, the most that can be ",
                                "tokenized at once is ", kMaxTextBytes, "; split it"),
                 .what = "text",
                 .found = cat(text.size(), " bytes"),
                 .wanted = cat("at most ", kMaxTextBytes, " bytes"),
                 .try_next = "split the text"};
  }
  const Parts& parts = impl_->parts;
  TextPieces written;
  written.buffer = is_utf8(text) ? std::string(text) : replace_invalid_utf8(text);
  if (!written.buffer.empty()) written.pieces.push_back({0, written.buffer.size(), -1, true});
  // Only a text that spells a special token where it must not count needs the slower way, which
  // looks for all of them in the text as it was written.
  if (options.parse_special && impl_->added.spells_special(text, options.plain_text)) {
    RETURN_IF_ERROR(
        impl_->added.cut(AddedTokens::Text::kSpecial, true, written, options.plain_text));
    options.parse_special = false;
  }
  RETURN_IF_ERROR(impl_->added.cut(AddedTokens::Text::kWritten, options.parse_special, written));

  const size_t max_bytes = max_rewritten_bytes(written.buffer.size());
  PatternFuel fuel(written.buffer.size());
  TextPieces pieces;
  if (parts.normalizers.empty()) {
    pieces = std::move(written);
  } else {
    for (const TextPieces::Piece& piece : written.pieces) {
      if (piece.id >= 0) {
        pieces.pieces.push_back({pieces.buffer.size(), 0, piece.id, false});
        continue;
      }
      NormalizedText normalized{.text = std::string(written.text(piece)),
                                .at_input_start = piece.at_input_start};
      RETURN_IF_ERROR(apply_normalizers(parts.normalizers, max_bytes, fuel, normalized));
      if (normalized.text.empty()) continue;
      // Each piece for itself may be within the limit.
      if (pieces.buffer.size() + normalized.text.size() > max_bytes) {
        return normalized_too_large(max_bytes);
      }
      pieces.pieces.push_back(
          {pieces.buffer.size(), normalized.text.size(), -1, normalized.at_input_start});
      pieces.buffer.append(normalized.text);
    }
  }
  RETURN_IF_ERROR(impl_->added.cut(AddedTokens::Text::kNormalized, options.parse_special, pieces));
  RETURN_IF_ERROR(apply_pre_tokenizers(parts.pre_tokenizers, max_bytes, fuel, pieces));

  std::vector<int32_t> ids;
  ids.reserve(pieces.buffer.size() / 3 + 4);
  if (parts.frame.empty()) {
    RETURN_IF_ERROR(impl_->encode_words(pieces, options.parse_special, ids));
    return ids;
  }
  // A frame may name the text again: its ids are then those of the first time.
  std::optional<std::pair<size_t, size_t>> first;  // where they begin and how many they are
  for (const Parts::Frame& part : parts.frame) {
    const size_t at = ids.size();
    if (!part.is_text) {
      if (options.add_special_tokens) ids.push_back(part.id);
    } else if (!first) {
      RETURN_IF_ERROR(impl_->encode_words(pieces, options.parse_special, ids));
      first = {at, ids.size() - at};
    } else {
      ids.resize(at + first->second);
      std::copy_n(ids.begin() + static_cast<std::ptrdiff_t>(first->first), first->second,
                  ids.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  return ids;
}

std::optional<std::string_view> Tokenizer::decoder_input(int32_t id, SkipSpecial skip) const {
  if (const AddedToken* token = impl_->added.find(id)) {
    // As in the library, a special token that its normalizers change is not known as one here.
    const std::string_view text = impl_->added.decoded(*token);
    const bool skipped = token->special && skip == SkipSpecial::kYes && text == token->content;
    return skipped ? std::nullopt : std::optional(text);
  }
  return impl_->parts.model.tokens().text(id);
}

DecoderRun Tokenizer::decoder_run() const { return DecoderRun(impl_->parts.decoder); }

std::string Tokenizer::decode(std::span<const int32_t> ids, SkipSpecial skip) const {
  DecoderRun run = decoder_run();
  std::string text;
  for (const int32_t id : ids) {
    if (const auto token = decoder_input(id, skip)) run.add(*token, text);
  }
  run.finish(text);
  return text;
}

std::optional<std::string_view> Tokenizer::token_text(int32_t id) const {
  if (const AddedToken* token = impl_->added.find(id)) return token->content;
  return impl_->parts.model.tokens().text(id);
}

std::optional<int32_t> Tokenizer::token_id(std::string_view text) const {
  for (const AddedToken& token : impl_->added.all()) {
    if (token.content == text) return token.id;
  }
  const int32_t id = impl_->parts.model.tokens().find(text);
  return id < 0 ? std::nullopt : std::optional(id);
}

int64_t Tokenizer::vocab_size() const { return impl_->id_limit; }

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = impl_->added.find(id);
  return token != nullptr && token->special;
}

std::optional<int32_t> Tokenizer::bos() const { return impl_->parts.bos; }
std::optional<int32_t> Tokenizer::eos() const { return impl_->parts.eos; }
const Tokenizer::Parts& Tokenizer::parts() const { return impl_->parts; }
std::span<const AddedToken> Tokenizer::added_tokens() const { return impl_->added.all(); }
const std::string& Tokenizer::kind() const { return impl_->parts.kind; }

}  // namespace quern
