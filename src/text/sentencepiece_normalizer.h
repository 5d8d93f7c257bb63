#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/prefix_table.h"

namespace quern {

/// The text rewriting rules of a SentencePiece model: a compiled table of replacements (none for
/// "identity"), the longest that fits goes first, and what becomes of spaces.
class SentencePieceNormalizer {
 public:
  struct Options {
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
    bool treat_whitespace_as_suffix = false;
    bool prefix_first_only = false;  // the dummy prefix only where a text begins
  };

  /// `charsmap` is precompiled_charsmap, maybe empty: the size of a double-array trie, its units,
  /// the replacements, each ended by a zero byte. `user_defined` texts pass unchanged.
  static Result<SentencePieceNormalizer> build(std::span<const std::byte> charsmap, Options options,
                                               std::vector<PrefixTable::Entry> user_defined,
                                               std::string_view what);

  /// Adds `text` (valid UTF-8) rewritten; false where that takes more than `max_bytes`.
  /// `at_start`: whether a text begins here, not only what follows a special token.
  [[nodiscard]] bool append_normalized(std::string_view text, bool at_start, size_t max_bytes,
                                       std::string& out) const;

 private:
  struct Step {
    std::string_view replacement;
    size_t size;  // bytes of the text it stands for
  };
  Step step_at(std::string_view text, size_t at, uint64_t& work) const;

  Options options_;
  std::vector<uint32_t> trie_;
  std::string replacements_;
  PrefixTable user_defined_;
};

}  // namespace quern
