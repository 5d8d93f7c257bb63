#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/merge_table.h"
#include "text/prefix_table.h"
#include "text/token_table.h"

namespace quern {

/// Working memory of BpeModel::encode(), kept by the caller so that words in a row share it.
struct BpeScratch {
  struct Symbol {
    int32_t id;  // -1: unknown and in no merge
    int32_t previous, next;
    uint32_t begin, size;  // its bytes of the word
  };
  struct Candidate {
    uint64_t order;  // rank, then place: the smallest goes first
    int32_t result;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::string word;
  std::unordered_map<int32_t, std::pair<int32_t, int32_t>> parts;  // of an unused piece
};

/// Byte pair encoding of one word: Sennrich et al. 2016, arXiv:1508.07909, with what the Hugging
/// Face tokenizers library and SentencePiece add. Immutable and shared between threads.
class BpeModel {
 public:
  struct Options {
    std::optional<std::string> unk_token;
    bool fuse_unk = false;
    bool byte_fallback = false;
    bool ignore_merges = false;  // a word that is a token as a whole is that token
    std::string continuing_subword_prefix;
    std::string end_of_word_suffix;

    /// SentencePiece merges characters that are no tokens and asks only afterwards what is known.
    struct SentencePiece {
      std::vector<PrefixTable::Entry> user_defined;  // found before all else, never merged
      std::vector<std::string> extra_characters;     // ids from id_limit on: merged, no tokens
      std::vector<bool> reserved;  // by id: control, unknown and byte pieces, never found in text
      std::vector<bool> unused;    // by id: cut back into their parts at the end
      int32_t unk_id = -1;
    };
    std::optional<SentencePiece> sentencepiece;
  };
  /// How the word is given: as text, or as bytes to be written in the byte-level alphabet.
  enum class WordForm { kText, kBytes };

  BpeModel() = default;
  static Result<BpeModel> build(TokenTable tokens, std::vector<Merge> merges, Options options,
                                std::string_view what);

  /// Adds the ids of `word` (valid UTF-8, or any bytes with kBytes) to `ids`. `forbidden`, where
  /// given, says of each id whether no merge may make it. Fails with kBadFile where a character is
  /// unknown and the unknown token is not in the vocabulary.
  /// Returns whether `forbidden` made a difference. Takes n log n steps for n characters.
  Result<bool> encode(std::string_view word, WordForm form, const std::vector<bool>* forbidden,
                      BpeScratch& scratch, std::vector<int32_t>& ids) const;

  const TokenTable& tokens() const { return tokens_; }
  const Options& options() const { return options_; }
  /// True where no token has a space (U+2581) behind something else, so that a text may be cut
  /// before each such space without changing its ids.
  bool spaces_start_words() const { return spaces_start_words_; }
  /// By id: whether a merge makes it, or ignore_merges may give it.
  const std::vector<bool>& made_from_text() const { return made_from_text_; }

 private:
  struct Unknown {
    bool pending = false;
    uint32_t begin = 0, size = 0;
  };
  Result<void> add_symbols(std::string_view word, WordForm form, BpeScratch& scratch) const;
  Result<void> add_unknown(std::string_view text, uint32_t begin, uint32_t size, Unknown& unknown,
                           BpeScratch& scratch) const;
  void add_sentencepiece_symbols(std::string_view word, BpeScratch& scratch) const;
  bool merge_all(const std::vector<bool>* forbidden, BpeScratch& scratch) const;
  void index_characters();
  bool find_spaces_start_words(const std::vector<Merge>& merges) const;
  std::string_view symbol_text(int32_t id) const;
  void emit_sentencepiece(std::string_view word, BpeScratch& scratch,
                          std::vector<int32_t>& ids) const;
  int32_t character_id(char32_t character) const;

  TokenTable tokens_;
  Options options_;
  MergeTable merges_;
  PrefixTable user_defined_;
  std::vector<bool> made_from_text_;
  std::vector<int32_t> low_characters_;  // ids of the characters below kNumLowCharacters
  std::unordered_map<char32_t, int32_t> high_characters_;
  std::array<int32_t, 256> byte_characters_{};  // ids of the byte-level alphabet
  std::array<int32_t, 256> byte_tokens_{};      // ids of <0x00> to <0xFF>
  int32_t unk_id_ = -1;
  bool spaces_start_words_ = false;
};

}  // namespace quern
