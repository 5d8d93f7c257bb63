#include "text/tokenizer_components.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace quern {

namespace {

constexpr size_t kMaxComponents = 256;
constexpr std::ptrdiff_t kMaxTextsInFrame = 16;

Error unsupported(const JsonObject& component, std::string_view type, std::string_view supported) {
  Error error = component.error(
      ErrorCode::kUnsupported,
      cat("the component \"", type, "\" is not supported; supported are ", supported));
  error.found = std::string(type);
  error.wanted = std::string(supported);
  return error;
}

template <typename Step, typename Kind>
Result<void> add(std::vector<Step>& steps, Kind kind) {
  steps.push_back(std::move(kind));
  return {};
}

/// The components in the order they apply: Sequence (its list under `list_key`) is taken apart
/// with an explicit stack.
Result<std::vector<JsonObject>> flatten(const JsonObject& tokenizer, std::string_view key,
                                        std::string_view list_key) {
  std::vector<JsonObject> flat;
  if (!tokenizer.find(key)) return flat;
  ASSIGN_OR_RETURN(JsonObject root, tokenizer.object(key));
  std::vector<JsonObject> stack = {std::move(root)};
  size_t seen = 0;
  while (!stack.empty()) {
    JsonObject component = std::move(stack.back());
    stack.pop_back();
    if (++seen > kMaxComponents) {
      return tokenizer.error(ErrorCode::kBadFile,
                             cat("\"", key, "\" has more than ", kMaxComponents, " components"));
    }
    ASSIGN_OR_RETURN(const std::string_view type, component.text("type"));
    if (type != "Sequence") {
      flat.push_back(std::move(component));
      continue;
    }
    ASSIGN_OR_RETURN(const JsonArray list, component.array(list_key));
    std::vector<JsonObject> parts;
    for (const JsonValue part : list) {
      ASSIGN_OR_RETURN(JsonObject object, JsonObject::from(part, cat(tokenizer.path(), ": ", key)));
      parts.push_back(std::move(object));
      if (parts.size() > kMaxComponents) break;
    }
    while (!parts.empty()) {
      stack.push_back(std::move(parts.back()));
      parts.pop_back();
    }
  }
  return flat;
}

/// {"String": "text"} or {"Regex": "expression"} under "pattern".
Result<Pattern> read_pattern(const JsonObject& component) {
  ASSIGN_OR_RETURN(const JsonObject pattern, component.object("pattern"));
  if (pattern.find("String")) {
    ASSIGN_OR_RETURN(const std::string_view text, pattern.text("String"));
    // The library makes an expression of it too, and an empty one matches everywhere.
    if (text.empty()) return Pattern::expression("", pattern.path());
    return Pattern::literal(text);
  }
  ASSIGN_OR_RETURN(const std::string_view expression, pattern.text("Regex"));
  return Pattern::expression(expression, pattern.path());
}

Result<SplitBehavior> read_behavior(const JsonObject& component, std::string_view absent) {
  ASSIGN_OR_RETURN(const auto name, component.optional_text("behavior"));
  const std::string_view behavior = name.value_or(absent);
  if (behavior == "Removed") return SplitBehavior::kRemoved;
  if (behavior == "Isolated") return SplitBehavior::kIsolated;
  if (behavior == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (behavior == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (behavior == "Contiguous") return SplitBehavior::kContiguous;
  return component.error(ErrorCode::kBadFile,
                         cat("\"behavior\" is \"", behavior,
                             "\", wanted Removed, Isolated, MergedWithPrevious, MergedWithNext or "
                             "Contiguous"));
}

struct Metaspace {
  char32_t replacement;
  MetaspacePreTokenizer::Prepend prepend;
  bool split;
};

Result<Metaspace> read_metaspace(const JsonObject& component) {
  using Prepend = MetaspacePreTokenizer::Prepend;
  ASSIGN_OR_RETURN(const char32_t replacement, component.character("replacement"));
  ASSIGN_OR_RETURN(const auto scheme, component.optional_text("prepend_scheme"));
  ASSIGN_OR_RETURN(const bool add_prefix, component.boolean("add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool split, component.boolean("split", true));
  Prepend prepend = add_prefix ? Prepend::kAlways : Prepend::kNever;
  if (scheme) {
    if (*scheme == "always") {
      prepend = Prepend::kAlways;
    } else if (*scheme == "first") {
      prepend = Prepend::kFirst;
    } else if (*scheme == "never") {
      prepend = Prepend::kNever;
    } else {
      return component.error(ErrorCode::kBadFile, cat("\"prepend_scheme\" is \"", *scheme,
                                                      "\", wanted always, first or never"));
    }
    if (!add_prefix && prepend != Prepend::kNever) {
      return component.error(ErrorCode::kBadFile,
                             "\"add_prefix_space\" is false, but \"prepend_scheme\" adds one");
    }
  }
  return Metaspace{replacement, prepend, split};
}

Result<void> read_normalizer(const JsonObject& component, std::vector<Normalizer>& steps) {
  ASSIGN_OR_RETURN(const std::string_view type, component.text("type"));
  if (type == "NFC") return add(steps, UnicodeNormalizer{NormalForm::kNfc});
  if (type == "NFD") return add(steps, UnicodeNormalizer{NormalForm::kNfd});
  if (type == "NFKC") return add(steps, UnicodeNormalizer{NormalForm::kNfkc});
  if (type == "NFKD") return add(steps, UnicodeNormalizer{NormalForm::kNfkd});
  if (type == "Lowercase") return add(steps, LowercaseNormalizer{});
  if (type == "StripAccents") return add(steps, StripAccentsNormalizer{});
  if (type == "ByteLevel") return add(steps, ByteLevelNormalizer{});
  if (type == "Nmt") return add(steps, NmtNormalizer{});
  if (type == "Strip") {
    ASSIGN_OR_RETURN(const bool left, component.boolean("strip_left"));
    ASSIGN_OR_RETURN(const bool right, component.boolean("strip_right"));
    return add(steps, StripNormalizer{left, right});
  }
  if (type == "Prepend") {
    ASSIGN_OR_RETURN(const std::string_view text, component.text("prepend"));
    return add(steps, PrependNormalizer{std::string(text)});
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(Pattern pattern, read_pattern(component));
    ASSIGN_OR_RETURN(const std::string_view content, component.text("content"));
    return add(steps, ReplaceNormalizer{std::move(pattern), std::string(content)});
  }
  return unsupported(component, type,
                     "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, ByteLevel, Nmt, Strip, "
                     "Prepend, Replace, Sequence");
}

Result<void> read_pre_tokenizer(const JsonObject& component, std::vector<PreTokenizer>& steps) {
  ASSIGN_OR_RETURN(const std::string_view type, component.text("type"));
  if (type == "ByteLevel") {
    ASSIGN_OR_RETURN(const bool add_prefix_space, component.boolean("add_prefix_space"));
    ASSIGN_OR_RETURN(const bool use_regex, component.boolean("use_regex", true));
    ASSIGN_OR_RETURN(Pattern pattern, Pattern::expression(kGpt2Pattern, component.path()));
    return add(steps, ByteLevelPreTokenizer{add_prefix_space, use_regex, true, std::move(pattern)});
  }
  if (type == "Split") {
    ASSIGN_OR_RETURN(Pattern pattern, read_pattern(component));
    ASSIGN_OR_RETURN(const SplitBehavior behavior, read_behavior(component, ""));
    ASSIGN_OR_RETURN(const bool invert, component.boolean("invert", false));
    return add(steps, SplitPreTokenizer{std::move(pattern), behavior, invert});
  }
  if (type == "Digits") {
    ASSIGN_OR_RETURN(const bool individual, component.boolean("individual_digits", false));
    return add(steps, DigitsPreTokenizer{individual});
  }
  if (type == "Metaspace") {
    ASSIGN_OR_RETURN(const Metaspace metaspace, read_metaspace(component));
    return add(steps,
               MetaspacePreTokenizer{metaspace.replacement, metaspace.prepend, metaspace.split});
  }
  if (type == "Whitespace") return add(steps, WhitespacePreTokenizer{});
  if (type == "WhitespaceSplit") return add(steps, WhitespaceSplitPreTokenizer{});
  if (type == "Punctuation") {
    ASSIGN_OR_RETURN(const SplitBehavior behavior, read_behavior(component, "Isolated"));
    return add(steps, PunctuationPreTokenizer{behavior});
  }
  if (type == "CharDelimiterSplit") {
    ASSIGN_OR_RETURN(const char32_t delimiter, component.character("delimiter"));
    return add(steps, CharDelimiterPreTokenizer{delimiter});
  }
  if (type == "FixedLength") {
    uint64_t length = 5;
    if (component.find("length")) {
      ASSIGN_OR_RETURN(length, component.count("length"));
    }
    if (length == 0) {
      return component.error(ErrorCode::kBadFile, "\"length\" is 0, wanted 1 or more");
    }
    return add(steps, FixedLengthPreTokenizer{length});
  }
  return unsupported(component, type,
                     "ByteLevel, Split, Digits, Metaspace, Whitespace, WhitespaceSplit, "
                     "Punctuation, CharDelimiterSplit, FixedLength, Sequence");
}

Result<void> read_decoder_step(const JsonObject& component, std::vector<DecoderStep>& steps) {
  ASSIGN_OR_RETURN(const std::string_view type, component.text("type"));
  if (type == "ByteLevel") return add(steps, ByteLevelDecoder{});
  if (type == "ByteFallback") return add(steps, ByteFallbackDecoder{});
  if (type == "Fuse") return add(steps, FuseDecoder{});
  if (type == "Metaspace") {
    ASSIGN_OR_RETURN(const Metaspace metaspace, read_metaspace(component));
    return add(steps,
               MetaspaceDecoder{metaspace.replacement,
                                metaspace.prepend != MetaspacePreTokenizer::Prepend::kNever});
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(Pattern pattern, read_pattern(component));
    ASSIGN_OR_RETURN(const std::string_view content, component.text("content"));
    return add(steps, ReplaceDecoder{std::move(pattern), std::string(content)});
  }
  if (type == "Strip") {
    ASSIGN_OR_RETURN(const char32_t content, component.character("content"));
    ASSIGN_OR_RETURN(const uint64_t start, component.count("start"));
    ASSIGN_OR_RETURN(const uint64_t stop, component.count("stop"));
    return add(steps, StripDecoder{content, start, stop});
  }
  if (type == "BPEDecoder") {
    ASSIGN_OR_RETURN(const std::string_view suffix, component.text("suffix"));
    if (suffix.empty()) {
      return component.error(ErrorCode::kBadFile, "\"suffix\" is empty, wanted a text");
    }
    return add(steps, BpeSuffixDecoder{std::string(suffix)});
  }
  return unsupported(component, type,
                     "ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip, BPEDecoder, "
                     "Sequence");
}

using Frame = Tokenizer::Parts::Frame;

/// One of the lists "single" and "pair" of a TemplateProcessing.
Result<std::vector<Frame>> read_template(const JsonObject& component, std::string_view key,
                                         const JsonObject& special_tokens) {
  std::vector<Frame> frame;
  ASSIGN_OR_RETURN(const JsonArray pieces, component.array(key));
  for (const JsonValue value : pieces) {
    ASSIGN_OR_RETURN(const JsonObject piece,
                     JsonObject::from(value, cat(component.path(), ": ", key)));
    if (frame.size() > kMaxComponents) {
      return piece.error(ErrorCode::kBadFile, cat("has more than ", kMaxComponents, " tokens"));
    }
    if (piece.find("Sequence")) {
      ASSIGN_OR_RETURN(const JsonObject sequence, piece.object("Sequence"));
      ASSIGN_OR_RETURN(const std::string_view id, sequence.text("id"));
      if (id != "A" && (id != "B" || key == "single")) {
        return sequence.error(ErrorCode::kBadFile,
                              cat("names the text \"", id.substr(0, 80), "\", wanted A",
                                  key == "single" ? "" : " or B"));
      }
      frame.push_back({true, -1});
      continue;
    }
    ASSIGN_OR_RETURN(const JsonObject special, piece.object("SpecialToken"));
    ASSIGN_OR_RETURN(const std::string_view id, special.text("id"));
    if (!special_tokens.find(id)) {
      Error error =
          special.error(ErrorCode::kBadFile, cat("the special token \"", id.substr(0, 80),
                                                 "\" is not declared under \"special_tokens\""));
      error.found = std::string(id.substr(0, 80));
      return error;
    }
    ASSIGN_OR_RETURN(const JsonObject declared, special_tokens.object(id));
    ASSIGN_OR_RETURN(const JsonArray ids, declared.array("ids"));
    ASSIGN_OR_RETURN(const JsonArray tokens, declared.array("tokens"));
    if (ids.size() != tokens.size() || ids.size() > kMaxComponents) {
      return declared.error(ErrorCode::kBadFile,
                            cat("has ", ids.size(), " \"ids\" and ", tokens.size(),
                                " \"tokens\", wanted as many, at most ", kMaxComponents));
    }
    for (const JsonValue token : ids) {
      uint64_t number = 0;
      if (token.get_uint64().get(number) != simdjson::SUCCESS || number > INT32_MAX) {
        return declared.error(ErrorCode::kBadFile, "has an id that is no token id");
      }
      frame.push_back({false, static_cast<int32_t>(number)});
    }
  }
  return frame;
}

/// ["</s>", 2] under `key`.
Result<int32_t> read_framing_token(const JsonObject& component, std::string_view key) {
  ASSIGN_OR_RETURN(const JsonArray pair, component.array(key));
  std::string_view text;
  uint64_t id = 0;
  if (pair.size() != 2 || pair.at(0).get_string().get(text) != simdjson::SUCCESS ||
      pair.at(1).get_uint64().get(id) != simdjson::SUCCESS || id > INT32_MAX) {
    return component.error(ErrorCode::kBadFile,
                           cat("\"", key, "\" is no pair of a token and its id"));
  }
  return static_cast<int32_t>(id);
}

}  // namespace

Result<std::vector<Normalizer>> read_normalizers(const JsonObject& tokenizer) {
  ASSIGN_OR_RETURN(const auto components, flatten(tokenizer, "normalizer", "normalizers"));
  std::vector<Normalizer> normalizers;
  for (const JsonObject& component : components) {
    RETURN_IF_ERROR(read_normalizer(component, normalizers));
  }
  return normalizers;
}

Result<std::vector<PreTokenizer>> read_pre_tokenizers(const JsonObject& tokenizer) {
  ASSIGN_OR_RETURN(const auto components, flatten(tokenizer, "pre_tokenizer", "pretokenizers"));
  std::vector<PreTokenizer> pre_tokenizers;
  for (const JsonObject& component : components) {
    RETURN_IF_ERROR(read_pre_tokenizer(component, pre_tokenizers));
  }
  return pre_tokenizers;
}

Result<std::vector<DecoderStep>> read_decoder(const JsonObject& tokenizer) {
  if (!tokenizer.find("decoder")) return std::vector<DecoderStep>{JoinDecoder{}};
  ASSIGN_OR_RETURN(const auto components, flatten(tokenizer, "decoder", "decoders"));
  std::vector<DecoderStep> steps;
  for (const JsonObject& component : components) {
    RETURN_IF_ERROR(read_decoder_step(component, steps));
  }
  return steps;
}

Result<std::vector<Frame>> read_post_processor(const JsonObject& tokenizer) {
  ASSIGN_OR_RETURN(const auto components, flatten(tokenizer, "post_processor", "processors"));
  std::vector<Frame> frame;
  bool framed = false;
  for (const JsonObject& component : components) {
    ASSIGN_OR_RETURN(const std::string_view type, component.text("type"));
    if (type == "ByteLevel") continue;  // concerns offsets alone
    if (framed) {
      return component.error(ErrorCode::kUnsupported,
                             "a second post-processor that adds tokens is not supported");
    }
    framed = true;
    if (type == "TemplateProcessing") {
      ASSIGN_OR_RETURN(const JsonObject special_tokens, component.object("special_tokens"));
      ASSIGN_OR_RETURN(frame, read_template(component, "single", special_tokens));
      RETURN_IF_ERROR(read_template(component, "pair", special_tokens));
      const auto num_texts =
          std::count_if(frame.begin(), frame.end(), [](const Frame& part) { return part.is_text; });
      if (num_texts > kMaxTextsInFrame) {
        return component.error(ErrorCode::kUnsupported,
                               cat("\"single\" repeats the text ", num_texts,
                                   " times, supported are up to ", kMaxTextsInFrame));
      }
      // A frame without text and tokens gives nothing, which an empty list would not say.
      if (frame.empty()) {
        return component.error(ErrorCode::kBadFile, "\"single\" is empty");
      }
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      ASSIGN_OR_RETURN(const int32_t first, read_framing_token(component, "cls"));
      ASSIGN_OR_RETURN(const int32_t last, read_framing_token(component, "sep"));
      frame = {{false, first}, {true, -1}, {false, last}};
    } else {
      return unsupported(component, type,
                         "ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing, "
                         "Sequence");
    }
  }
  return frame;
}

}  // namespace quern
