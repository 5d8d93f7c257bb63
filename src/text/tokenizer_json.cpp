// Reads a tokenizer.json of the Hugging Face tokenizers library (format version 1.0).

#include <unordered_map>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "text/seeded_hash.h"
#include "text/tokenizer_components.h"
#include "text/tokenizer_config.h"
#include "text/vocabulary_json.h"

namespace quern {

namespace {

/// "type" of the model, or what a file without it must be.
std::string_view model_type(const JsonObject& model) {
  std::string_view type;
  if (const auto value = model.find("type"); value) {
    return value->get_string().get(type) == simdjson::SUCCESS ? type : "?";
  }
  if (model.find("merges")) return "BPE";
  if (model.find("max_input_chars_per_word")) return "WordPiece";
  const auto vocab = model.find("vocab");
  return vocab && vocab->is_array() ? "Unigram" : "WordLevel";
}

Result<BpeModel> read_bpe(const JsonObject& model) {
  BpeModel::Options options;
  if (const auto dropout = model.find("dropout"); dropout) {
    double probability = 0;
    if (dropout->get_double().get(probability) != simdjson::SUCCESS || probability < 0 ||
        probability > 1) {
      return model.error(ErrorCode::kBadFile, "\"dropout\" is no number from 0 to 1");
    }
    if (probability > 0) {
      return model.error(ErrorCode::kUnsupported,
                         "\"dropout\" is above 0: it makes ids random, which only training wants");
    }
  }
  ASSIGN_OR_RETURN(const auto unk, model.optional_text("unk_token"));
  if (unk) options.unk_token = std::string(*unk);
  ASSIGN_OR_RETURN(const auto prefix, model.optional_text("continuing_subword_prefix"));
  options.continuing_subword_prefix = std::string(prefix.value_or(""));
  ASSIGN_OR_RETURN(const auto suffix, model.optional_text("end_of_word_suffix"));
  options.end_of_word_suffix = std::string(suffix.value_or(""));
  ASSIGN_OR_RETURN(options.fuse_unk, model.boolean("fuse_unk", false));
  ASSIGN_OR_RETURN(options.byte_fallback, model.boolean("byte_fallback", false));
  ASSIGN_OR_RETURN(options.ignore_merges, model.boolean("ignore_merges", false));

  ASSIGN_OR_RETURN(const JsonValue vocab, model.value("vocab"));
  ASSIGN_OR_RETURN(const auto entries, read_vocabulary(vocab, model.path()));
  ASSIGN_OR_RETURN(TokenTable tokens, TokenTable::build(entries, model.path()));
  ASSIGN_OR_RETURN(const auto merges, read_merge_list(model));
  ASSIGN_OR_RETURN(
      auto resolved,
      resolve_merges(merges, tokens, options.continuing_subword_prefix.size(), model.path()));
  return BpeModel::build(std::move(tokens), std::move(resolved), std::move(options), model.path());
}

/// The added tokens with the ids the library gives them: the model's own where it has the text,
/// else the next free ones in the order of the file, whatever the file says.
Result<std::vector<AddedToken>> read_added_tokens(const JsonObject& tokenizer,
                                                  const TokenTable& tokens) {
  std::vector<AddedToken> added;
  if (!tokenizer.find("added_tokens")) return added;
  std::unordered_map<std::string, size_t, SeededHash> seen;
  size_t misplaced = 0;
  std::string first_misplaced;
  auto next_id = static_cast<int32_t>(tokens.num_tokens());
  ASSIGN_OR_RETURN(const JsonArray list, tokenizer.array("added_tokens"));
  for (const JsonValue value : list) {
    ASSIGN_OR_RETURN(const JsonObject entry,
                     JsonObject::from(value, cat(tokenizer.path(), ": added_tokens")));
    AddedToken token;
    ASSIGN_OR_RETURN(const std::string_view content, entry.text("content"));
    token.content = std::string(content);
    ASSIGN_OR_RETURN(const uint64_t id, entry.count("id"));
    ASSIGN_OR_RETURN(token.single_word, entry.boolean("single_word", false));
    ASSIGN_OR_RETURN(token.lstrip, entry.boolean("lstrip", false));
    ASSIGN_OR_RETURN(token.rstrip, entry.boolean("rstrip", false));
    ASSIGN_OR_RETURN(token.special, entry.boolean("special", false));
    ASSIGN_OR_RETURN(token.normalized, entry.boolean("normalized", !token.special));
    if (token.content.empty()) continue;
    const auto [known, fresh] = seen.try_emplace(token.content, added.size());
    if (!fresh) {
      token.id = added[known->second].id;
      token.special |= added[known->second].special;
      added[known->second] = std::move(token);
      continue;
    }
    token.id = tokens.find(token.content);
    if (token.id < 0) token.id = next_id++;
    if (static_cast<uint64_t>(token.id) != id && ++misplaced == 1) {
      first_misplaced = cat("\"", token.content.substr(0, 80), "\" has id ", id,
                            ", but its place gives it ", token.id);
    }
    added.push_back(std::move(token));
  }
  if (misplaced > 0) {
    log_warning(cat(tokenizer.path(), ": the ids of ", misplaced, " added tokens are not those ",
                    "that the library gives them and quern uses; the first: ", first_misplaced));
  }
  return added;
}

Result<void> check_direction(const JsonObject& section) {
  ASSIGN_OR_RETURN(const auto direction, section.optional_text("direction"));
  if (!direction || *direction == "Left" || *direction == "Right") return {};
  return section.error(ErrorCode::kBadFile, "\"direction\" is neither Left nor Right");
}

/// Validated, not applied: quern never shortens a text unasked.
Result<void> check_truncation(const JsonObject& tokenizer) {
  if (!tokenizer.find("truncation")) return {};
  ASSIGN_OR_RETURN(const JsonObject section, tokenizer.object("truncation"));
  RETURN_IF_ERROR(check_direction(section));
  ASSIGN_OR_RETURN(const uint64_t max_length, section.count("max_length"));
  ASSIGN_OR_RETURN(const uint64_t stride, section.count("stride"));
  ASSIGN_OR_RETURN(const std::string_view strategy, section.text("strategy"));
  if (strategy != "LongestFirst" && strategy != "OnlyFirst" && strategy != "OnlySecond") {
    return section.error(ErrorCode::kBadFile,
                         "\"strategy\" is none of LongestFirst, OnlyFirst, OnlySecond");
  }
  if (max_length > 0 && stride >= max_length) {
    return section.error(
        ErrorCode::kBadFile,
        cat("\"stride\" is ", stride, ", wanted less than \"max_length\", which is ", max_length));
  }
  return {};
}

/// Validated, not applied.
Result<void> check_padding(const JsonObject& tokenizer) {
  if (!tokenizer.find("padding")) return {};
  ASSIGN_OR_RETURN(const JsonObject section, tokenizer.object("padding"));
  RETURN_IF_ERROR(check_direction(section));
  ASSIGN_OR_RETURN(const JsonValue strategy, section.value("strategy"));
  if (strategy.is_object()) {
    ASSIGN_OR_RETURN(const JsonObject fixed, section.object("strategy"));
    RETURN_IF_ERROR(fixed.count("Fixed"));
  } else {
    ASSIGN_OR_RETURN(const std::string_view name, section.text("strategy"));
    if (name != "BatchLongest") {
      return section.error(ErrorCode::kBadFile, "\"strategy\" is neither BatchLongest nor Fixed");
    }
  }
  if (section.find("pad_to_multiple_of")) {
    RETURN_IF_ERROR(section.count("pad_to_multiple_of"));
  }
  RETURN_IF_ERROR(section.count("pad_id"));
  RETURN_IF_ERROR(section.count("pad_type_id"));
  RETURN_IF_ERROR(section.text("pad_token"));
  return {};
}

std::string kind_of(const Tokenizer::Parts& parts) {
  for (const DecoderStep& step : parts.decoder) {
    if (std::holds_alternative<ByteLevelDecoder>(step)) return "bpe-byte-level";
    if (std::holds_alternative<ByteFallbackDecoder>(step)) return "bpe-metaspace";
    if (std::holds_alternative<MetaspaceDecoder>(step)) return "bpe-metaspace";
  }
  return "bpe";
}

}  // namespace

Result<Tokenizer> Tokenizer::from_tokenizer_json(std::string_view json, std::string_view what,
                                                 std::string_view config_json) {
  ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::parse(json, what));
  ASSIGN_OR_RETURN(const JsonObject root, JsonObject::from(document.root(), std::string(what)));
  ASSIGN_OR_RETURN(const auto version, root.optional_text("version"));
  if (version && *version != "1.0") {
    return root.error(ErrorCode::kUnsupported,
                      cat("has version \"", *version, "\", supported is 1.0"));
  }
  RETURN_IF_ERROR(check_truncation(root));
  RETURN_IF_ERROR(check_padding(root));

  Parts parts;
  ASSIGN_OR_RETURN(const JsonObject model, root.object("model"));
  if (const std::string_view type = model_type(model); type != "BPE") {
    Error error = model.error(ErrorCode::kUnsupported,
                              cat("the model \"", type, "\" is not supported; supported is BPE"));
    error.found = std::string(type);
    error.wanted = "BPE";
    return error;
  }
  ASSIGN_OR_RETURN(parts.normalizers, read_normalizers(root));
  ASSIGN_OR_RETURN(parts.pre_tokenizers, read_pre_tokenizers(root));
  ASSIGN_OR_RETURN(parts.decoder, read_decoder(root));
  ASSIGN_OR_RETURN(parts.frame, read_post_processor(root));
  ASSIGN_OR_RETURN(parts.model, read_bpe(model));
  ASSIGN_OR_RETURN(parts.added_tokens, read_added_tokens(root, parts.model.tokens()));
  parts.kind = kind_of(parts);

  const TokenTable& tokens = parts.model.tokens();
  const auto known = [&](int32_t id) {
    if (tokens.text(id)) return true;
    for (const AddedToken& token : parts.added_tokens) {
      if (token.id == id) return true;
    }
    return false;
  };
  for (const Parts::Frame& part : parts.frame) {
    if (part.is_text || known(part.id)) continue;
    return root.error(ErrorCode::kBadFile, cat("the post-processor adds token ", part.id,
                                               ", which is not in the vocabulary"));
  }
  if (const auto& unk = parts.model.options().unk_token; unk && tokens.find(*unk) < 0) {
    const bool added = std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(),
                                   [&](const AddedToken& token) { return token.content == *unk; });
    if (!added) {
      return model.error(ErrorCode::kBadFile,
                         cat("\"unk_token\" is \"", unk->substr(0, 80),
                             "\", which is neither in the vocabulary nor an added token"));
    }
  }
  ASSIGN_OR_RETURN(const TokenizerConfig config,
                   read_tokenizer_config(config_json, cat(what, ": tokenizer_config.json")));
  const auto id_of = [&](const std::optional<std::string>& text) -> std::optional<int32_t> {
    if (!text) return std::nullopt;
    for (const AddedToken& token : parts.added_tokens) {
      if (token.content == *text) return token.id;
    }
    const int32_t id = tokens.find(*text);
    return id < 0 ? std::nullopt : std::optional(id);
  };
  parts.bos = id_of(config.bos_token);
  parts.eos = id_of(config.eos_token);
  return assemble(std::move(parts), what);
}

}  // namespace quern
