#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/byte_range.h"

namespace quern {

struct AddedToken;
struct GgufVocabulary;
class DecoderRun;

struct EncodeOptions {
  /// Whether the tokens that frame a text (BOS, EOS) are put around it.
  bool add_special_tokens = true;
  /// Whether special tokens written in the text are those tokens; if not, they are plain text.
  bool parse_special = true;
  /// Parts of the text, ascending, in which they are plain text all the same: what a user wrote
  /// into a template's text. The text must be UTF-8 then.
  std::span<const ByteRange> plain_text = {};
};

/// Whether special tokens leave a text or nothing when they are decoded.
enum class SkipSpecial { kNo, kYes };

/// Text to token ids and back, as the Hugging Face tokenizers library does it for the same files.
/// Immutable, cheap to move and copy, used by any number of threads at once.
class Tokenizer {
 public:
  struct Parts;  // what the readers of the file formats make

  /// Opens a tokenizer.json, a SentencePiece model, a vocab.json with its merges beside it (told
  /// apart by content, whatever their names), or a folder that holds one of them: the first found
  /// of tokenizer.json, tokenizer.model, vocab.json. A GGUF file is kUnsupported here: see
  /// looks_like_gguf() and from_gguf().
  static Result<Tokenizer> open(const std::filesystem::path& file_or_folder);

  // `what` names the source in messages; `config_json` is the tokenizer_config.json beside it, or
  // empty.
  static Result<Tokenizer> from_tokenizer_json(std::string_view json, std::string_view what,
                                               std::string_view config_json = {});
  static Result<Tokenizer> from_sentencepiece(std::span<const std::byte> model,
                                              std::string_view what,
                                              std::string_view config_json = {});
  /// `merges` is the text of merges.txt.
  static Result<Tokenizer> from_vocab_merges(std::string_view vocab_json, std::string_view merges,
                                             std::string_view what,
                                             std::string_view config_json = {});
  static Result<Tokenizer> from_gguf(const GgufVocabulary& vocabulary, std::string_view what);

  /// The ids of `text`. Bytes that are no UTF-8 count as U+FFFD. Fails with kBadInput where the
  /// tokenizer's own patterns or rules take too much work on this text.
  Result<std::vector<int32_t>> encode(std::string_view text, EncodeOptions options = {}) const;

  /// The text of `ids`. An id outside the vocabulary has no text.
  std::string decode(std::span<const int32_t> ids, SkipSpecial skip = SkipSpecial::kNo) const;

  /// How the vocabulary writes the token (spaces as U+0120 or U+2581, "<0x0A>"); nothing for an
  /// unknown id.
  std::optional<std::string_view> token_text(int32_t id) const;
  /// The id of a token as the vocabulary writes it, special and added ones included.
  std::optional<int32_t> token_id(std::string_view text) const;
  /// The largest id + 1.
  int64_t vocab_size() const;
  bool is_special(int32_t id) const;
  /// What the files beside the vocabulary say begins and ends a text; nothing where they are mute.
  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  /// What it is made of, for who writes the vocabulary down again.
  const Parts& parts() const;
  std::span<const AddedToken> added_tokens() const;
  /// "bpe-byte-level", "bpe-metaspace", "bpe" or "sentencepiece-bpe".
  const std::string& kind() const;

 private:
  friend class Detokenizer;
  struct Impl;
  explicit Tokenizer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  static Result<Tokenizer> assemble(Parts parts, std::string_view what);

  /// The text that decoding starts from; nothing where the id gives none.
  std::optional<std::string_view> decoder_input(int32_t id, SkipSpecial skip) const;
  DecoderRun decoder_run() const;

  std::shared_ptr<Impl> impl_;
};

/// Whether the file begins as a GGUF file does; false for one that cannot be read.
bool looks_like_gguf(const std::filesystem::path& file);

}  // namespace quern
