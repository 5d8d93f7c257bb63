#include "models/gguf_tokenizer.h"

#include <algorithm>

#include "base/cat.h"

namespace quern {

namespace {

Error wrong_list(std::string_view what, std::string_view key, std::string_view wanted) {
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(what, ": metadata \"", key, "\" is of another type, wanted ", wanted,
                              "; the file is damaged"),
               .what = std::string(key),
               .found = "another type",
               .wanted = std::string(wanted)};
}

}  // namespace

Result<GgufVocabulary> read_gguf_vocabulary(const Checkpoint& checkpoint, std::string_view what) {
  const auto has = [&](std::string_view key) { return checkpoint.metadata().contains(key); };
  constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
  constexpr std::string_view kScores = "tokenizer.ggml.scores";
  constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
  constexpr std::string_view kMerges = "tokenizer.ggml.merges";

  const std::string* model = checkpoint.text("tokenizer.ggml.model");
  if (model == nullptr || !has(kTokens)) {
    return Error{.code = ErrorCode::kNotFound,
                 .message = cat(what, ": carries no vocabulary (tokenizer.ggml.model and ", kTokens,
                                "); give token ids instead of text, or get a file with one"),
                 .what = std::string(what),
                 .wanted = std::string(kTokens)};
  }
  GgufVocabulary out;
  out.model = *model;
  if (const std::string* pre = checkpoint.text("tokenizer.ggml.pre")) out.pre = *pre;

  const std::vector<std::string>* tokens = checkpoint.texts(kTokens);
  if (tokens == nullptr) return wrong_list(what, kTokens, "a list of strings");
  out.tokens.assign(tokens->begin(), tokens->end());
  if (has(kScores)) {
    const std::vector<double>* scores = checkpoint.numbers(kScores);
    if (scores == nullptr) return wrong_list(what, kScores, "a list of floats");
    out.scores.reserve(scores->size());
    for (const double score : *scores) out.scores.push_back(static_cast<float>(score));
  }
  if (has(kTypes)) {
    const std::vector<int64_t>* types = checkpoint.integers(kTypes);
    if (types == nullptr) return wrong_list(what, kTypes, "a list of integers");
    out.token_type.reserve(types->size());
    for (const int64_t type : *types) {
      out.token_type.push_back(static_cast<int32_t>(std::clamp<int64_t>(type, -1, 100)));
    }
  }
  if (has(kMerges)) {
    const std::vector<std::string>* merges = checkpoint.texts(kMerges);
    if (merges == nullptr) return wrong_list(what, kMerges, "a list of strings");
    out.merges.assign(merges->begin(), merges->end());
  }
  out.bos_id = checkpoint.integer("tokenizer.ggml.bos_token_id");
  out.eos_id = checkpoint.integer("tokenizer.ggml.eos_token_id");
  out.unk_id = checkpoint.integer("tokenizer.ggml.unknown_token_id");
  out.pad_id = checkpoint.integer("tokenizer.ggml.padding_token_id");
  out.eot_id = checkpoint.integer("tokenizer.ggml.eot_token_id");
  out.eom_id = checkpoint.integer("tokenizer.ggml.eom_token_id");
  out.add_bos = checkpoint.boolean("tokenizer.ggml.add_bos_token");
  out.add_eos = checkpoint.boolean("tokenizer.ggml.add_eos_token");
  out.add_space_prefix = checkpoint.boolean("tokenizer.ggml.add_space_prefix");
  out.remove_extra_whitespaces = checkpoint.boolean("tokenizer.ggml.remove_extra_whitespaces");
  return out;
}

Result<Tokenizer> open_gguf_tokenizer(const Checkpoint& checkpoint, std::string_view what) {
  ASSIGN_OR_RETURN(const GgufVocabulary vocabulary, read_gguf_vocabulary(checkpoint, what));
  return Tokenizer::from_gguf(vocabulary, what);
}

}  // namespace quern
