// Reads a SentencePiece model (tokenizer.model): a protobuf of pieces with scores, the settings of
// its trainer and the rules of its normalizer. Field numbers are those of
// sentencepiece_model.proto.

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "text/piece_merges.h"
#include "text/protobuf_reader.h"
#include "text/seeded_hash.h"
#include "text/sentencepiece_list.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

namespace quern {

namespace {

enum PieceType : uint64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct Piece {
  std::string_view text;
  float score = 0;
  uint64_t type = kNormal;
};

struct Model {
  std::vector<Piece> pieces;
  uint64_t model_type = 1;  // unigram
  bool byte_fallback = false;
  std::string_view bos_piece = "<s>", eos_piece = "</s>";
  SentencePieceNormalizer::Options normalizer;
  std::span<const std::byte> charsmap;
  bool has_denormalizer = false;
};

using Field = ProtobufReader::Field;

Result<Piece> read_piece(std::span<const std::byte> message, std::string_view what) {
  ProtobufReader reader(message, cat(what, ": a piece"));
  Piece piece;
  while (true) {
    ASSIGN_OR_RETURN(const auto field, reader.next());
    if (!field) break;
    if (field->number == 1 && field->kind == Field::Kind::kBytes) piece.text = field->text();
    if (field->number == 2 && field->kind == Field::Kind::kFixed32) piece.score = field->number32();
    if (field->number == 3 && field->kind == Field::Kind::kVarint) piece.type = field->value;
  }
  if (piece.text.empty() || !is_utf8(piece.text)) {
    return reader.damaged(piece.text.empty() ? "it has no text" : "its text is no UTF-8");
  }
  if (!std::isfinite(piece.score)) return reader.damaged("its score is no number");
  if (piece.type < kNormal || piece.type > kByte) return reader.damaged("its type is unknown");
  return piece;
}

Result<void> read_trainer(std::span<const std::byte> message, std::string_view what, Model& model) {
  ProtobufReader reader(message, cat(what, ": trainer_spec"));
  while (true) {
    ASSIGN_OR_RETURN(const auto field, reader.next());
    if (!field) return {};
    if (field->kind == Field::Kind::kVarint) {
      if (field->number == 3) model.model_type = field->value;
      if (field->number == 24) model.normalizer.treat_whitespace_as_suffix = field->value != 0;
      if (field->number == 35) model.byte_fallback = field->value != 0;
    } else if (field->kind == Field::Kind::kBytes) {
      if (field->number == 46) model.bos_piece = field->text();
      if (field->number == 47) model.eos_piece = field->text();
    }
  }
}

Result<void> read_normalizer(std::span<const std::byte> message, std::string_view what,
                             Model& model) {
  ProtobufReader reader(message, cat(what, ": normalizer_spec"));
  while (true) {
    ASSIGN_OR_RETURN(const auto field, reader.next());
    if (!field) return {};
    const bool on = field->value != 0;
    if (field->kind == Field::Kind::kVarint) {
      if (field->number == 3) model.normalizer.add_dummy_prefix = on;
      if (field->number == 4) model.normalizer.remove_extra_whitespaces = on;
      if (field->number == 5) model.normalizer.escape_whitespaces = on;
    } else if (field->kind == Field::Kind::kBytes && field->number == 2) {
      model.charsmap = field->bytes;
    }
  }
}

Result<bool> has_charsmap(std::span<const std::byte> message, std::string_view what) {
  Model denormalizer;
  RETURN_IF_ERROR(read_normalizer(message, what, denormalizer));
  return !denormalizer.charsmap.empty();
}

Result<Model> read_model(std::span<const std::byte> bytes, std::string_view what) {
  ProtobufReader reader(bytes, std::string(what));
  Model model;
  while (true) {
    ASSIGN_OR_RETURN(const auto field, reader.next());
    if (!field) break;
    if (field->kind != Field::Kind::kBytes) continue;
    if (field->number == 1) {
      ASSIGN_OR_RETURN(const Piece piece, read_piece(field->bytes, what));
      model.pieces.push_back(piece);
    } else if (field->number == 2) {
      RETURN_IF_ERROR(read_trainer(field->bytes, what, model));
    } else if (field->number == 3) {
      RETURN_IF_ERROR(read_normalizer(field->bytes, what, model));
    } else if (field->number == 5) {
      ASSIGN_OR_RETURN(model.has_denormalizer, has_charsmap(field->bytes, what));
    }
  }
  return model;
}

Error refuse(ErrorCode code, std::string_view what, std::string message) {
  return Error{.code = code, .message = cat(what, ": ", message), .what = std::string(what)};
}

bool is_reserved(const Piece& piece) {
  return piece.type == kUnknown || piece.type == kControl || piece.type == kByte;
}

Result<void> check(const Model& model, std::string_view what) {
  if (model.pieces.empty()) return refuse(ErrorCode::kBadFile, what, "has no pieces");
  if (model.pieces.size() > INT32_MAX) return refuse(ErrorCode::kBadFile, what, "is too large");
  if (model.model_type != 2 && model.model_type != 4) {
    const std::string_view type = model.model_type == 1   ? "unigram"
                                  : model.model_type == 3 ? "word"
                                                          : "unknown";
    Error error = refuse(ErrorCode::kUnsupported, what,
                         cat("is a SentencePiece model of type ", type,
                             ", which is not supported; supported are bpe and char"));
    error.found = std::string(type);
    error.wanted = "bpe or char";
    return error;
  }
  if (model.has_denormalizer) {
    return refuse(ErrorCode::kUnsupported, what,
                  "has a denormalizer, which rewrites decoded text; that is not supported");
  }
  const auto unknown = std::count_if(model.pieces.begin(), model.pieces.end(),
                                     [](const Piece& piece) { return piece.type == kUnknown; });
  if (unknown != 1) {
    return refuse(ErrorCode::kBadFile, what, cat("has ", unknown, " unknown pieces, wanted one"));
  }
  return {};
}

std::optional<int32_t> control_piece(const Model& model, std::string_view text) {
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.pieces[i].type == kControl && model.pieces[i].text == text) {
      return static_cast<int32_t>(i);
    }
  }
  return std::nullopt;
}

/// The pieces by text. Text that both a reserved and a normal piece have belongs to the normal
/// one; the reserved one is found as an added token.
Result<TokenTable> make_token_table(const Model& model, std::string_view what) {
  std::unordered_set<std::string_view, SeededHash> normal;
  for (const Piece& piece : model.pieces) {
    if (!is_reserved(piece)) normal.insert(piece.text);
  }
  std::vector<TokenEntry> entries;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const Piece& piece = model.pieces[i];
    const bool both = is_reserved(piece) && normal.contains(piece.text);
    // The last id must be in the table, whose size counts.
    if (both && i + 1 < model.pieces.size()) continue;
    entries.push_back({piece.text, static_cast<int64_t>(i)});
  }
  return TokenTable::build(entries, what);
}

}  // namespace

Result<SentencePieceList> read_sentencepiece_list(std::span<const std::byte> bytes,
                                                  std::string_view what) {
  ASSIGN_OR_RETURN(const Model model, read_model(bytes, what));
  RETURN_IF_ERROR(check(model, what));
  SentencePieceList list{.pieces = {},
                         .add_dummy_prefix = model.normalizer.add_dummy_prefix,
                         .remove_extra_whitespaces = model.normalizer.remove_extra_whitespaces};
  for (const Piece& piece : model.pieces) {
    list.pieces.push_back({std::string(piece.text), piece.score, static_cast<int32_t>(piece.type)});
  }
  return list;
}

Result<Tokenizer> Tokenizer::from_sentencepiece(std::span<const std::byte> bytes,
                                                std::string_view what,
                                                std::string_view config_json) {
  ASSIGN_OR_RETURN(const TokenizerConfig config,
                   read_tokenizer_config(config_json, cat(what, ": tokenizer_config.json")));
  ASSIGN_OR_RETURN(Model model, read_model(bytes, what));
  RETURN_IF_ERROR(check(model, what));
  ASSIGN_OR_RETURN(TokenTable tokens, make_token_table(model, what));

  Parts parts;
  BpeModel::Options::SentencePiece pieces;
  std::vector<ScoredPiece> scored;
  const size_t count = model.pieces.size();
  pieces.reserved.assign(count, false);
  bool any_unused = false;
  for (size_t i = 0; i < count; ++i) {
    const Piece& piece = model.pieces[i];
    const auto id = static_cast<int32_t>(i);
    pieces.reserved[i] = is_reserved(piece);
    any_unused |= piece.type == kUnused;
    if (piece.type == kUnknown) pieces.unk_id = id;
    if (piece.type == kUserDefined) pieces.user_defined.push_back({std::string(piece.text), id});
    if (piece.type == kUnknown || piece.type == kControl) {
      parts.added_tokens.push_back({.content = std::string(piece.text), .id = id, .special = true});
    }
    if (piece.type == kByte && !model.byte_fallback) {
      return refuse(ErrorCode::kBadFile, what,
                    cat("has the byte piece ", piece.text, ", but byte_fallback is off"));
    }
    if (!is_reserved(piece)) {
      // A user-defined piece is always found as a whole, so it is never merged further.
      scored.push_back({piece.text, id, piece.score, true, piece.type != kUserDefined});
    }
  }
  if (any_unused) {
    for (const Piece& piece : model.pieces) pieces.unused.push_back(piece.type == kUnused);
  }
  std::vector<Merge> merges;
  if (model.model_type == 2) {
    ASSIGN_OR_RETURN(merges, merges_of_pieces(scored, MergeOrder::kScore, tokens,
                                              &pieces.extra_characters, what));
  }
  // Llama's tokenizers put the prefix space before every stretch between special tokens, unless
  // their config says that this is over.
  model.normalizer.prefix_first_only = !config.legacy.value_or(true);
  ASSIGN_OR_RETURN(auto normalizer, SentencePieceNormalizer::build(model.charsmap, model.normalizer,
                                                                   pieces.user_defined, what));
  parts.normalizers = {std::make_shared<const SentencePieceNormalizer>(std::move(normalizer))};

  BpeModel::Options options;
  options.byte_fallback = model.byte_fallback;
  options.sentencepiece = std::move(pieces);
  ASSIGN_OR_RETURN(parts.model,
                   BpeModel::build(std::move(tokens), std::move(merges), std::move(options), what));
  for (const AddedToken& token : config.added_tokens) {
    const bool known = token.content.empty() || token.id < static_cast<int32_t>(count);
    if (known || token.id > static_cast<int32_t>(count) + 1'000'000) continue;
    parts.added_tokens.push_back(token);
  }
  parts.bos = control_piece(model, config.bos_token.value_or(std::string(model.bos_piece)));
  parts.eos = control_piece(model, config.eos_token.value_or(std::string(model.eos_piece)));
  const bool add_bos = config.add_bos_token.value_or(true) && parts.bos.has_value();
  const bool add_eos = config.add_eos_token.value_or(false) && parts.eos.has_value();
  if (add_bos) parts.frame.push_back({false, *parts.bos});
  if (add_bos || add_eos) parts.frame.push_back({true, -1});
  if (add_eos) parts.frame.push_back({false, *parts.eos});

  if (model.normalizer.escape_whitespaces) {
    parts.decoder.push_back(ReplaceDecoder{Pattern::literal("\xE2\x96\x81"), " "});
  }
  parts.decoder.push_back(ByteFallbackDecoder{});
  parts.decoder.push_back(FuseDecoder{});
  if (model.normalizer.add_dummy_prefix) {
    const uint64_t stop = model.normalizer.treat_whitespace_as_suffix ? 1 : 0;
    parts.decoder.push_back(StripDecoder{' ', 1 - stop, stop});
  }
  parts.kind = model.model_type == 2 ? "sentencepiece-bpe" : "sentencepiece-char";
  return assemble(std::move(parts), what);
}

}  // namespace quern
