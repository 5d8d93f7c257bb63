// Rebuilds, from the vocabulary in a GGUF file, the Hugging Face tokenizer it was made from.

#include "text/gguf_vocabulary.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/log.h"
#include "text/byte_level_family.h"
#include "text/piece_merges.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace quern {

namespace {

enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

Error refuse(ErrorCode code, std::string_view what, std::string message) {
  return Error{.code = code, .message = cat(what, ": ", message), .what = std::string(what)};
}

int32_t type_of(const GgufVocabulary& vocabulary, size_t id) {
  return vocabulary.token_type.empty() ? int32_t{kNormal} : vocabulary.token_type[id];
}

Result<void> check(const GgufVocabulary& vocabulary, std::string_view what) {
  const size_t count = vocabulary.tokens.size();
  if (count == 0 || count > 100'000'000) {
    return refuse(ErrorCode::kBadFile, what,
                  cat("the vocabulary has ", count, " tokens, wanted 1 to 100,000,000"));
  }
  const auto same_length = [&](size_t size, std::string_view key) -> Result<void> {
    if (size == 0 || size == count) return {};
    return refuse(ErrorCode::kBadFile, what,
                  cat("tokenizer.ggml.", key, " has ", size, " entries for ", count, " tokens"));
  };
  RETURN_IF_ERROR(same_length(vocabulary.scores.size(), "scores"));
  RETURN_IF_ERROR(same_length(vocabulary.token_type.size(), "token_type"));
  for (size_t id = 0; id < count; ++id) {
    if (!is_utf8(vocabulary.tokens[id])) {
      return refuse(ErrorCode::kBadFile, what, cat("token ", id, " is no UTF-8"));
    }
    if (!vocabulary.scores.empty() && !std::isfinite(vocabulary.scores[id])) {
      return refuse(ErrorCode::kBadFile, what, cat("the score of token ", id, " is no number"));
    }
  }
  const std::pair<std::string_view, std::optional<int64_t>> ids[] = {
      {"bos_token_id", vocabulary.bos_id},     {"eos_token_id", vocabulary.eos_id},
      {"unknown_token_id", vocabulary.unk_id}, {"padding_token_id", vocabulary.pad_id},
      {"eot_token_id", vocabulary.eot_id},     {"eom_token_id", vocabulary.eom_id}};
  for (const auto& [key, id] : ids) {
    if (id && (*id < 0 || *id >= static_cast<int64_t>(count))) {
      return refuse(ErrorCode::kBadFile, what,
                    cat("tokenizer.ggml.", key, " is ", *id, ", wanted an id below ", count));
    }
  }
  return {};
}

/// Where the tokenizer of Gemma has runs of U+2581, its GGUF has runs of spaces.
std::string spaces_as_written(std::string_view text, int32_t type) {
  const bool spaces = text.size() > 1 && type == kUserDefined &&
                      text.find_first_not_of(' ') == std::string_view::npos;
  if (!spaces) return std::string(text);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) out += kSpace;
  return out;
}

std::optional<int32_t> as_id(std::optional<int64_t> id) {
  return id ? std::optional(static_cast<int32_t>(*id)) : std::nullopt;
}

/// BOS and EOS around the text as the file says, or by default.
std::vector<Tokenizer::Parts::Frame> make_frame(const GgufVocabulary& vocabulary,
                                                bool adds_bos_by_default) {
  const bool bos = vocabulary.add_bos.value_or(adds_bos_by_default) && vocabulary.bos_id;
  const bool eos = vocabulary.add_eos.value_or(false) && vocabulary.eos_id;
  std::vector<Tokenizer::Parts::Frame> frame;
  if (bos) frame.push_back({false, static_cast<int32_t>(*vocabulary.bos_id)});
  if (bos || eos) frame.push_back({true, -1});
  if (eos) frame.push_back({false, static_cast<int32_t>(*vocabulary.eos_id)});
  return frame;
}

struct Vocabulary {
  std::vector<std::string> texts;  // by id, as the tokenizer writes them
  std::vector<AddedToken> added;
  TokenTable tokens;
};

/// Padding (unused tokens) has no text: the tokenizer that the file was made from lacks it.
Result<Vocabulary> read_tokens(const GgufVocabulary& vocabulary, bool unknown_is_special,
                               std::string_view what) {
  Vocabulary out;
  std::vector<TokenEntry> entries;
  const size_t count = vocabulary.tokens.size();
  out.texts.reserve(count);
  for (size_t id = 0; id < count; ++id) {
    const int32_t type = type_of(vocabulary, id);
    out.texts.push_back(spaces_as_written(vocabulary.tokens[id], type));
    const bool special = type == kControl || (unknown_is_special && type == kUnknown);
    if (out.texts[id].empty() || type == kUnused) continue;
    entries.push_back({out.texts[id], static_cast<int64_t>(id)});
    if (special || type == kUserDefined) {
      out.added.push_back(
          {.content = out.texts[id], .id = static_cast<int32_t>(id), .special = special});
    }
  }
  ASSIGN_OR_RETURN(out.tokens, TokenTable::build(entries, what));
  return out;
}

/// What tokenizer.ggml.pre says; where it says nothing, as in the first files made from Llama 3,
/// what the merges say, else GPT-2.
Result<const ByteLevelFamily*> choose_family(const GgufVocabulary& vocabulary,
                                             std::span<const MergeTexts> merges,
                                             std::string_view what) {
  if (vocabulary.pre.empty() || vocabulary.pre == "default") {
    const ByteLevelFamily* recognised = family_of_merges(merges);
    const ByteLevelFamily* family = recognised != nullptr ? recognised : &gpt2_family();
    log_warning(cat(what, ": tokenizer.ggml.pre is ",
                    vocabulary.pre.empty() ? "missing" : "\"default\"", "; texts are cut as by ",
                    family->name,
                    recognised != nullptr ? ", whose merges these are"
                                          : "; if the model is another, convert it again"));
    return family;
  }
  const ByteLevelFamily* family = family_of_pre(vocabulary.pre);
  if (family != nullptr) return family;
  Error error = refuse(ErrorCode::kUnsupported, what,
                       cat("tokenizer.ggml.pre \"", vocabulary.pre,
                           "\" is not supported; supported are ", known_pre_names()));
  error.found = vocabulary.pre;
  error.wanted = known_pre_names();
  return error;
}

Result<Tokenizer::Parts> byte_level_parts(const GgufVocabulary& vocabulary, std::string_view what) {
  Tokenizer::Parts parts;
  ASSIGN_OR_RETURN(Vocabulary read, read_tokens(vocabulary, false, what));
  std::vector<MergeTexts> merges;
  for (const std::string_view line : vocabulary.merges) {
    ASSIGN_OR_RETURN(const MergeTexts merge, read_merge(line, merges.size(), what));
    merges.push_back(merge);
  }
  ASSIGN_OR_RETURN(const ByteLevelFamily* family, choose_family(vocabulary, merges, what));
  ASSIGN_OR_RETURN(auto resolved, resolve_merges(merges, read.tokens, 0, what));
  BpeModel::Options options;
  options.ignore_merges = family->ignore_merges;
  ASSIGN_OR_RETURN(parts.model, BpeModel::build(std::move(read.tokens), std::move(resolved),
                                                std::move(options), what));
  parts.kind = "bpe-byte-level";
  parts.added_tokens = std::move(read.added);
  parts.normalizers = family_normalizers(*family);
  parts.pre_tokenizers = family_pre_tokenizers(*family, false);
  parts.decoder = {ByteLevelDecoder{}};
  parts.frame = make_frame(vocabulary, family->adds_bos);
  return parts;
}

/// Llama's tokenizer puts a space before each stretch of text, Gemma's does not; beside that they
/// order the merges of one piece differently.
Result<Tokenizer::Parts> metaspace_parts(const GgufVocabulary& vocabulary, std::string_view what) {
  if (vocabulary.scores.empty()) {
    return refuse(ErrorCode::kBadFile, what,
                  "tokenizer.ggml.scores is missing, which the model \"llama\" needs");
  }
  const bool prefix = vocabulary.add_space_prefix.value_or(true);
  Tokenizer::Parts parts;
  ASSIGN_OR_RETURN(Vocabulary read, read_tokens(vocabulary, true, what));
  std::vector<ScoredPiece> pieces;
  for (size_t id = 0; id < read.texts.size(); ++id) {
    const int32_t type = type_of(vocabulary, id);
    if (read.texts[id].empty() || type == kUnused) continue;
    // Only what is text comes from text. SentencePiece gives user-defined pieces the score 0,
    // above all others; the file says -1000.
    const bool is_result = type == kNormal || type == kUserDefined;
    const float score = type == kUserDefined ? 0.0f : vocabulary.scores[id];
    pieces.push_back({read.texts[id], static_cast<int32_t>(id), score, is_result, true});
  }
  ASSIGN_OR_RETURN(
      auto merges,
      merges_of_pieces(pieces, prefix ? MergeOrder::kScoreThenIds : MergeOrder::kScoreThenLengths,
                       read.tokens, nullptr, what));
  BpeModel::Options options;
  options.byte_fallback = true;
  options.fuse_unk = true;
  if (vocabulary.unk_id) {
    options.unk_token = read.texts[static_cast<size_t>(*vocabulary.unk_id)];
  }
  ASSIGN_OR_RETURN(parts.model, BpeModel::build(std::move(read.tokens), std::move(merges),
                                                std::move(options), what));
  parts.kind = "bpe-metaspace";
  parts.added_tokens = std::move(read.added);
  if (vocabulary.remove_extra_whitespaces.value_or(false)) {
    SentencePieceNormalizer::Options rules;
    rules.add_dummy_prefix = prefix;
    ASSIGN_OR_RETURN(auto normalizer, SentencePieceNormalizer::build({}, rules, {}, what));
    parts.normalizers = {std::make_shared<const SentencePieceNormalizer>(std::move(normalizer))};
  } else {
    if (prefix) parts.normalizers.push_back(PrependNormalizer{std::string(kSpace)});
    parts.normalizers.push_back(ReplaceNormalizer{Pattern::literal(" "), std::string(kSpace)});
  }
  parts.decoder = {ReplaceDecoder{Pattern::literal(kSpace), " "}, ByteFallbackDecoder{},
                   FuseDecoder{}};
  if (prefix) parts.decoder.push_back(StripDecoder{' ', 1, 0});
  parts.frame = make_frame(vocabulary, true);
  return parts;
}

}  // namespace

Result<Tokenizer> Tokenizer::from_gguf(const GgufVocabulary& vocabulary, std::string_view what) {
  RETURN_IF_ERROR(check(vocabulary, what));
  if (vocabulary.model != "gpt2" && vocabulary.model != "llama") {
    Error error = refuse(ErrorCode::kUnsupported, what,
                         cat("tokenizer.ggml.model \"", vocabulary.model,
                             "\" is not supported; supported are gpt2 and llama"));
    error.found = vocabulary.model;
    error.wanted = "gpt2 or llama";
    return error;
  }
  ASSIGN_OR_RETURN(Parts parts, vocabulary.model == "gpt2" ? byte_level_parts(vocabulary, what)
                                                           : metaspace_parts(vocabulary, what));
  parts.bos = as_id(vocabulary.bos_id);
  parts.eos = as_id(vocabulary.eos_id);
  return assemble(std::move(parts), what);
}

}  // namespace quern
