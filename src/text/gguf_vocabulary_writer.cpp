// Writes a tokenizer down as the vocabulary of a GGUF file: the inverse of gguf_vocabulary.cpp.

#include <algorithm>
#include <array>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "text/byte_level_family.h"
#include "text/gguf_vocabulary.h"
#include "text/sentencepiece_list.h"
#include "text/tokenizer_parts.h"
#include "text/vocabulary_json.h"

namespace quern {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;
constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;
constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581
// What files say of tokens that no merge makes.
constexpr float kNoScore = -1000.0f;

/// Texts that known tokenizers cut in different ways: contractions, runs of digits, of spaces and
/// of line ends, signs before words, letters that compose.
constexpr std::string_view kProbes[] = {
    "",
    "Hello world, it's 2024 and we'LL see 1234567 stars.",
    " leading, trailing  and   runs of spaces ",
    "line\nends\n\n\n  and\r\n\ttabs\t\tand so on\n",
    "caf\xC3\xA9 cafe\xCC\x81 \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E \xF0\x9F\x98\x80"
    "12\xD9\xA3",
    "x=y+(z*3.14)/2; if(a<=b){return \"_foo\";} // #1-2-3 ...!!!???",
    "don't I'm you're THEY'VE o'clock 's 't",
    "100 1000 10000 3rd v2.0 0x1F",
};

Error refuse(std::string_view what, std::string message) {
  return Error{.code = ErrorCode::kUnsupported,
               .message = cat(what, ": ", message),
               .what = std::string(what)};
}

/// The merges in the file that the tokenizer was read from, as "left right".
Result<std::vector<std::string>> read_merges_again(const fs::path& folder) {
  std::vector<std::string> lines;
  const auto keep = [&](std::span<const MergeTexts> merges) {
    for (const MergeTexts& merge : merges) lines.push_back(cat(merge.left, " ", merge.right));
    return lines;
  };
  std::error_code ignored;
  const fs::path json = folder / "tokenizer.json";
  if (fs::is_regular_file(json, ignored)) {
    ASSIGN_OR_RETURN(const std::string text, read_file(json, kMaxFileBytes));
    ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::parse(text, json.string()));
    ASSIGN_OR_RETURN(const JsonObject root, JsonObject::from(document.root(), json.string()));
    ASSIGN_OR_RETURN(const JsonObject model, root.object("model"));
    ASSIGN_OR_RETURN(const auto merges, read_merge_list(model));
    return keep(merges);
  }
  for (const char* name : {"merges.txt", "vocab.bpe"}) {
    const fs::path path = folder / name;
    if (!fs::is_regular_file(path, ignored)) continue;
    ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxFileBytes));
    ASSIGN_OR_RETURN(const auto merges, read_merge_lines(text, path.string()));
    return keep(merges);
  }
  return refuse(folder.string(), "holds no merges");
}

/// Where the normalizers and pre-tokenizers cut a text, each piece by itself.
Result<std::vector<std::string>> cuts(const std::vector<Normalizer>& normalizers,
                                      const std::vector<PreTokenizer>& pre_tokenizers,
                                      std::string_view text) {
  constexpr size_t kMaxBytes = 1 << 16;
  PatternFuel fuel(text.size());
  NormalizedText normalized{.text = std::string(text), .at_input_start = true};
  RETURN_IF_ERROR(apply_normalizers(normalizers, kMaxBytes, fuel, normalized));
  TextPieces pieces;
  pieces.buffer = normalized.text;
  if (!pieces.buffer.empty()) pieces.pieces.push_back({0, pieces.buffer.size(), -1, true});
  RETURN_IF_ERROR(apply_pre_tokenizers(pre_tokenizers, kMaxBytes, fuel, pieces));
  std::vector<std::string> out;
  for (const TextPieces::Piece& piece : pieces.pieces) out.emplace_back(pieces.text(piece));
  return out;
}

/// Whether the family cuts every probe as the tokenizer does.
bool cuts_alike(const Tokenizer::Parts& parts, const ByteLevelFamily& family) {
  const std::vector<Normalizer> normalizers = family_normalizers(family);
  std::vector<PreTokenizer> steps = family_pre_tokenizers(family, false);
  std::get<ByteLevelPreTokenizer>(steps.back()).writes_bytes = false;  // as a Tokenizer has it
  return std::ranges::all_of(kProbes, [&](std::string_view text) {
    const auto ours = cuts(parts.normalizers, parts.pre_tokenizers, text);
    const auto theirs = cuts(normalizers, steps, text);
    return ours && theirs && *ours == *theirs;
  });
}

/// The name of the family that cuts alike, best with the same rule for whole words.
std::optional<std::string> pre_name(const Tokenizer& tokenizer) {
  const ByteLevelFamily* found = nullptr;
  const bool ignore_merges = tokenizer.parts().model.options().ignore_merges;
  for (const ByteLevelFamily& family : byte_level_families()) {
    if (!cuts_alike(tokenizer.parts(), family)) continue;
    if (found == nullptr || family.ignore_merges == ignore_merges) found = &family;
    if (family.ignore_merges == ignore_merges) break;
  }
  if (found == nullptr) return std::nullopt;
  const std::string_view names = found->pre_names.substr(1);
  return std::string(names.substr(0, names.find(' ')));
}

bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>');
}

/// Texts and types by id.
GgufVocabularyTexts list_tokens(const Tokenizer& tokenizer, int64_t vocab_size) {
  GgufVocabularyTexts out;
  const auto size = static_cast<size_t>(vocab_size);
  out.tokens.resize(size);
  out.token_type.assign(size, kUnused);
  const bool bytes = tokenizer.parts().model.options().byte_fallback;
  for (size_t id = 0; id < size; ++id) {
    const auto text = tokenizer.token_text(static_cast<int32_t>(id));
    out.tokens[id] = text ? std::string(*text) : cat("[PAD", id, "]");
    if (text) out.token_type[id] = bytes && is_byte_token(*text) ? kByte : kNormal;
  }
  int64_t left_out = 0;
  for (const AddedToken& token : tokenizer.added_tokens()) {
    if (token.id >= vocab_size) {
      ++left_out;
      continue;
    }
    out.token_type[static_cast<size_t>(token.id)] = token.special ? kControl : kUserDefined;
  }
  if (left_out > 0) {
    log_warning(cat("the tokenizer: ", left_out, " tokens beyond the model's ", vocab_size,
                    " rows are left out"));
  }
  return out;
}

/// Runs of U+2581 that are taken out of the text whole are written as spaces.
void write_spaces(GgufVocabularyTexts& out) {
  for (size_t id = 0; id < out.tokens.size(); ++id) {
    std::string_view text = out.tokens[id];
    size_t count = 0;
    while (text.starts_with(kSpace)) {
      text.remove_prefix(kSpace.size());
      ++count;
    }
    if (out.token_type[id] == kUserDefined && text.empty() && count > 1) {
      out.tokens[id] = std::string(count, ' ');
    }
  }
}

/// BOS and EOS around a text, by the ids that the tokenizer puts there.
void write_frame(const Tokenizer& tokenizer, GgufVocabularyTexts& out) {
  const auto& frame = tokenizer.parts().frame;
  out.bos_id = tokenizer.bos();
  out.eos_id = tokenizer.eos();
  if (frame.empty()) return;
  out.add_bos = !frame.front().is_text;
  out.add_eos = !frame.back().is_text;
  if (out.add_bos) out.bos_id = frame.front().id;
  if (out.add_eos) out.eos_id = frame.back().id;
}

/// From the merges of a tokenizer.json: what is merged earlier has the higher score.
Result<void> write_scores_of_merges(const fs::path& folder, const Tokenizer& tokenizer,
                                    GgufVocabularyTexts& out) {
  ASSIGN_OR_RETURN(const auto merges, read_merges_again(folder));
  out.scores.assign(out.tokens.size(), kNoScore - static_cast<float>(merges.size()));
  std::vector<bool> made(out.tokens.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const size_t space = merges[rank].find(' ');
    const std::string result = cat(merges[rank].substr(0, space), merges[rank].substr(space + 1));
    const std::optional<int32_t> id = tokenizer.token_id(result);
    if (!id || static_cast<size_t>(*id) >= made.size() || made[static_cast<size_t>(*id)]) continue;
    made[static_cast<size_t>(*id)] = true;
    out.scores[static_cast<size_t>(*id)] = -static_cast<float>(rank);
  }
  if (const auto& unk = tokenizer.parts().model.options().unk_token) {
    const int32_t id = tokenizer.token_id(*unk).value_or(-1);
    if (id >= 0 && static_cast<size_t>(id) < out.tokens.size()) {
      out.unk_id = id;
      out.token_type[static_cast<size_t>(id)] = kUnknown;
    }
  }
  return {};
}

Result<void> write_pieces(const fs::path& file, GgufVocabularyTexts& out) {
  ASSIGN_OR_RETURN(const std::string bytes, read_file(file, kMaxFileBytes));
  ASSIGN_OR_RETURN(const SentencePieceList list,
                   read_sentencepiece_list(std::as_bytes(std::span(bytes)), file.string()));
  out.scores.assign(out.tokens.size(), kNoScore);
  for (size_t id = 0; id < std::min(list.pieces.size(), out.tokens.size()); ++id) {
    const SentencePieceList::Piece& piece = list.pieces[id];
    out.tokens[id] = piece.text;
    out.token_type[id] = piece.type;
    if (piece.type != kUserDefined) out.scores[id] = piece.score;
    if (piece.type == kUnknown) out.unk_id = static_cast<int32_t>(id);
  }
  out.add_space_prefix = list.add_dummy_prefix;
  if (list.remove_extra_whitespaces) out.remove_extra_whitespaces = true;
  return {};
}

/// A text that the two give different ids for; nothing where none was found.
Result<std::optional<std::string>> find_difference(const Tokenizer& one, const Tokenizer& other) {
  constexpr int64_t kMostTokens = 2000;
  const auto differ = [&](std::string_view text) -> Result<bool> {
    ASSIGN_OR_RETURN(const auto ids, one.encode(text));
    ASSIGN_OR_RETURN(const auto others, other.encode(text));
    return ids != others;
  };
  for (const std::string_view text : kProbes) {
    ASSIGN_OR_RETURN(const bool found, differ(text));
    if (found) return std::optional(std::string(text));
  }
  // The tokens themselves: words that are tokens without being made by merges show here.
  // Special ones are left out, for how spaces around them are taken differs without harm.
  const int64_t step = std::max<int64_t>(1, other.vocab_size() / kMostTokens);
  for (int64_t id = 0; id < other.vocab_size(); id += step) {
    if (one.is_special(static_cast<int32_t>(id))) continue;
    const std::string text = one.decode(std::array{static_cast<int32_t>(id)});
    ASSIGN_OR_RETURN(const bool found, differ(text));
    if (found) return std::optional(text);
  }
  return std::optional<std::string>();
}

Result<bool> gives_same_ids(const Tokenizer& tokenizer, const GgufVocabularyTexts& texts,
                            std::string_view what, std::string* example) {
  ASSIGN_OR_RETURN(const Tokenizer again, Tokenizer::from_gguf(texts.view(), what));
  ASSIGN_OR_RETURN(const auto difference, find_difference(tokenizer, again));
  if (difference) *example = *difference;
  return !difference.has_value();
}

}  // namespace

GgufVocabulary GgufVocabularyTexts::view() const {
  GgufVocabulary out;
  out.model = model;
  out.pre = pre;
  out.tokens.assign(tokens.begin(), tokens.end());
  out.scores = scores;
  out.token_type = token_type;
  out.merges.assign(merges.begin(), merges.end());
  out.bos_id = bos_id;
  out.eos_id = eos_id;
  out.unk_id = unk_id;
  out.add_bos = add_bos;
  out.add_eos = add_eos;
  out.add_space_prefix = add_space_prefix;
  out.remove_extra_whitespaces = remove_extra_whitespaces;
  return out;
}

Result<GgufVocabularyTexts> make_gguf_vocabulary(const fs::path& folder, int64_t vocab_size) {
  const std::string what = folder.string();
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::open(folder));
  GgufVocabularyTexts out = list_tokens(tokenizer, vocab_size);
  write_frame(tokenizer, out);

  std::string example;
  bool same = false;
  if (tokenizer.kind() == "bpe-byte-level") {
    out.model = "gpt2";
    const std::optional<std::string> pre = pre_name(tokenizer);
    if (!pre) {
      return refuse(what, cat("the tokenizer cuts texts in a way that no GGUF file names; known "
                              "are those of ",
                              known_pre_names()));
    }
    out.pre = *pre;
    ASSIGN_OR_RETURN(out.merges, read_merges_again(folder));
    ASSIGN_OR_RETURN(same, gives_same_ids(tokenizer, out, what, &example));
  } else if (tokenizer.kind() == "sentencepiece-bpe") {
    out.model = "llama";
    out.pre = "default";
    RETURN_IF_ERROR(write_pieces(folder / "tokenizer.model", out));
    write_spaces(out);
    ASSIGN_OR_RETURN(same, gives_same_ids(tokenizer, out, what, &example));
  } else if (tokenizer.kind() == "bpe-metaspace") {
    out.model = "llama";
    out.pre = "default";
    RETURN_IF_ERROR(write_scores_of_merges(folder, tokenizer, out));
    write_spaces(out);
    for (const bool prefix : {true, false}) {
      out.add_space_prefix = prefix;
      ASSIGN_OR_RETURN(same, gives_same_ids(tokenizer, out, what, &example));
      if (same) break;
    }
  } else {
    return refuse(what, cat("GGUF has no words for a tokenizer of the kind ", tokenizer.kind()));
  }
  if (same) return out;
  return refuse(what, cat("GGUF has no words for all that this tokenizer does: the text \"",
                          example.substr(0, 80), "\" would become other tokens"));
}

}  // namespace quern
