// Reads a vocab.json with its merges.txt, the older form of byte-level tokenizers.

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "text/byte_level_family.h"
#include "text/json_document.h"
#include "text/seeded_hash.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_parts.h"
#include "text/vocabulary_json.h"

namespace quern {

namespace {

constexpr std::string_view kEndOfText = "<|endoftext|>";

/// What the tokenizer_class says; if it says nothing of the cuts, what the merges say; else GPT-2,
/// from which the two files come.
Result<const ByteLevelFamily*> choose_family(const TokenizerConfig& config,
                                             std::span<const MergeTexts> merges,
                                             std::string_view what) {
  const std::string& name = config.tokenizer_class;
  if (const ByteLevelFamily* family = family_of_class(name)) return family;
  const bool mute = name.empty() || name == "PreTrainedTokenizerFast" ||
                    name == "PreTrainedTokenizer" || name == "TokenizersBackend";
  if (!mute) {
    Error error{.code = ErrorCode::kUnsupported,
                .message = cat(what, ": tokenizer_class \"", name,
                               "\" is not supported for vocab.json with merges.txt; supported are "
                               "GPT2Tokenizer and Qwen2Tokenizer; a tokenizer.json works for any"),
                .what = "tokenizer_class",
                .found = name,
                .wanted = "GPT2Tokenizer, Qwen2Tokenizer"};
    return error;
  }
  const ByteLevelFamily* family = family_of_merges(merges);
  return family != nullptr ? family : &gpt2_family();
}

/// Collects added tokens, each once, with the vocabulary's id, its own, or the next free one.
class AddedTokenList {
 public:
  explicit AddedTokenList(const TokenTable& tokens)
      : tokens_(tokens), next_id_(tokens.id_limit()) {}

  int32_t add(AddedToken token) {
    const auto [added, fresh] = ids_.try_emplace(token.content, -1);
    if (!fresh) return added->second;
    const int32_t known = tokens_.find(token.content);
    if (known >= 0) {
      token.id = known;
    } else if (token.id < 0 || tokens_.text(token.id) || taken_.contains(token.id)) {
      token.id = next_id_;
    }
    next_id_ = std::max(next_id_, token.id + 1);
    added->second = token.id;
    taken_.insert(token.id);
    list_.push_back(std::move(token));
    return list_.back().id;
  }

  std::vector<AddedToken> take() { return std::move(list_); }

 private:
  const TokenTable& tokens_;
  int32_t next_id_;
  std::vector<AddedToken> list_;
  std::unordered_map<std::string, int32_t, SeededHash> ids_;  // by content
  std::unordered_set<int32_t> taken_;
};

}  // namespace

Result<Tokenizer> Tokenizer::from_vocab_merges(std::string_view vocab_json,
                                               std::string_view merges_text, std::string_view what,
                                               std::string_view config_json) {
  ASSIGN_OR_RETURN(const TokenizerConfig config,
                   read_tokenizer_config(config_json, cat(what, ": tokenizer_config.json")));
  ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::parse(vocab_json, what));
  ASSIGN_OR_RETURN(const auto entries, read_vocabulary(document.root(), what));
  ASSIGN_OR_RETURN(TokenTable tokens, TokenTable::build(entries, what));
  const std::string merges_name = cat(what, ": merges");
  ASSIGN_OR_RETURN(const auto merges, read_merge_lines(merges_text, merges_name));
  ASSIGN_OR_RETURN(const ByteLevelFamily* family, choose_family(config, merges, what));
  ASSIGN_OR_RETURN(auto resolved, resolve_merges(merges, tokens, 0, merges_name));

  Parts parts;
  parts.kind = "bpe-byte-level";
  AddedTokenList added(tokens);
  for (const AddedToken& token : config.added_tokens) {
    if (token.id > tokens.id_limit() + 1'000'000) {
      return Error{.code = ErrorCode::kBadFile,
                   .message = cat(what, ": tokenizer_config.json: \"", token.content.substr(0, 80),
                                  "\" has id ", token.id, ", far beyond the vocabulary of ",
                                  tokens.id_limit()),
                   .what = std::string(what)};
    }
    if (!token.content.empty()) added.add(token);
  }
  const auto named = [&](const std::optional<std::string>& text) -> std::optional<int32_t> {
    if (!text || text->empty()) return std::nullopt;
    return added.add({.content = *text, .special = true});
  };
  // Without a config these are the defaults of GPT-2's and Qwen's own tokenizers.
  const bool defaults = config_json.empty() && family->name != "llama3";
  const std::optional<std::string> end =
      defaults ? std::optional<std::string>(kEndOfText) : std::nullopt;
  parts.eos = named(config.eos_token ? config.eos_token : end);
  parts.bos = named(config.bos_token);
  if (!parts.bos && defaults && family->name == "gpt2") parts.bos = parts.eos;
  named(config.unk_token);
  named(config.pad_token);
  parts.added_tokens = added.take();

  const bool add_bos = config.add_bos_token.value_or(family->adds_bos) && parts.bos.has_value();
  const bool add_eos = config.add_eos_token.value_or(false) && parts.eos.has_value();
  if (add_bos) parts.frame.push_back({false, *parts.bos});
  if (add_bos || add_eos) parts.frame.push_back({true, -1});
  if (add_eos) parts.frame.push_back({false, *parts.eos});

  BpeModel::Options options;
  options.ignore_merges = family->ignore_merges;
  ASSIGN_OR_RETURN(parts.model, BpeModel::build(std::move(tokens), std::move(resolved),
                                                std::move(options), what));
  parts.normalizers = family_normalizers(*family);
  parts.pre_tokenizers = family_pre_tokenizers(*family, config.add_prefix_space.value_or(false));
  parts.decoder = {ByteLevelDecoder{}};
  return assemble(std::move(parts), what);
}

}  // namespace quern
