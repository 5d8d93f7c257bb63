#include <array>

#include "base/file.h"
#include "base/numbers.h"
#include "cli/commands.h"
#include "cli/model_argument.h"
#include "cli/output.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 30;

Result<std::string> bytes_of_hex(std::string_view hex) {
  std::string bytes;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = i + 1 < hex.size() ? digit(hex[i + 1]) : -1;
    if (high < 0 || low < 0) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = "field \"hex\": wanted pairs of hexadecimal digits",
                   .what = "hex"};
    }
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

/// The text of one JSONL line {"text": ...} or {"hex": ...}.
Result<std::string> line_text(const Json& object) {
  const JsonFields fields(object, "line", ErrorCode::kBadInput);
  ASSIGN_OR_RETURN(const auto text, fields.text("text"));
  ASSIGN_OR_RETURN(const auto hex, fields.text("hex"));
  if (text.has_value() == hex.has_value()) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = "line: wanted exactly one of \"text\" and \"hex\"",
                 .what = "text"};
  }
  return text ? Result<std::string>(*text) : bytes_of_hex(*hex);
}

Result<std::vector<int32_t>> line_ids(const Json& value) {
  std::vector<int32_t> ids;
  const bool is_list = value.is_array();
  for (const Json& item : is_list ? value : Json::array()) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() > INT32_MAX) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("ids: found ", dump_json(item), ", wanted token ids"),
                   .what = "ids"};
    }
    ids.push_back(item.get<int32_t>());
  }
  if (!is_list) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = "line: wanted \"ids\", an array of token ids",
                 .what = "ids"};
  }
  return ids;
}

/// Ids separated by spaces, commas or brackets, as people and JSON write them.
Result<std::vector<int32_t>> parse_ids(std::string_view text) {
  std::vector<int32_t> ids;
  constexpr std::string_view kBetween = " \t\r\n,[]";
  while (true) {
    const size_t begin = text.find_first_not_of(kBetween);
    if (begin == std::string_view::npos) return ids;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    const auto id = parse_integer<int32_t>(word);
    if (!id || *id < 0) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("stdin: found \"", word.substr(0, 40), "\", wanted token ids"),
                   .what = "ids",
                   .found = std::string(word.substr(0, 40))};
    }
    ids.push_back(*id);
    text.remove_prefix(word.size());
  }
}

/// Answers each line of stdin with one line; a bad one ends the command with its number.
template <typename AnswerLine>
Result<int> for_each_line(const AnswerLine& answer) {
  ASSIGN_OR_RETURN(const std::string input, read_stdin(kMostBytes));
  std::string_view rest = input;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string what = cat("line ", number);
    ASSIGN_OR_RETURN(const Json object, parse_json(line, what, ErrorCode::kBadInput));
    if (!object.is_object()) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat(what, ": wanted a JSON object"),
                   .what = what};
    }
    Result<Json> out = answer(object);
    if (!out) return with_context(std::move(out).error(), what);
    print_json_line(*out);
  }
  return 0;
}

Result<int> decode(const Tokenizer& tokenizer, const Arguments& arguments) {
  const SkipSpecial skip =
      arguments.on("--skip-special-tokens") ? SkipSpecial::kYes : SkipSpecial::kNo;
  if (arguments.on("--jsonl")) {
    return for_each_line([&](const Json& object) -> Result<Json> {
      const auto member = object.find("ids");
      ASSIGN_OR_RETURN(const auto ids, line_ids(member == object.end() ? Json() : *member));
      return Json{{"text", tokenizer.decode(ids, skip)}};
    });
  }
  ASSIGN_OR_RETURN(const std::string input, read_stdin(kMostBytes));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, parse_ids(input));
  const std::string text = tokenizer.decode(ids, skip);
  if (arguments.on("--json")) {
    print_json({{"text", text}});
  } else {
    print_text(text);
  }
  return 0;
}

Result<int> run_tokenize(const Arguments& arguments) {
  if (arguments.has("--text") && (arguments.on("--decode") || arguments.on("--jsonl"))) {
    return Error{.code = ErrorCode::kUsage,
                 .message = "tokenize: --decode and --jsonl read stdin; leave --text out",
                 .what = "--text"};
  }
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, open_tokenizer_argument(arguments));
  if (arguments.on("--decode")) return decode(tokenizer, arguments);

  const EncodeOptions options{.add_special_tokens = arguments.on("--special-tokens", true),
                              .parse_special = arguments.on("--parse-special", true)};
  if (arguments.on("--jsonl")) {
    return for_each_line([&](const Json& object) -> Result<Json> {
      ASSIGN_OR_RETURN(const std::string text, line_text(object));
      ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.encode(text, options));
      return Json{{"ids", ids}};
    });
  }
  std::string text;
  if (const auto given = arguments.text("--text")) {
    text = *given;
  } else {
    ASSIGN_OR_RETURN(text, read_stdin(kMostBytes));
  }
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.encode(text, options));
  if (arguments.on("--json")) {
    Json tokens = Json::array();
    for (const int32_t id : ids) tokens.push_back(tokenizer.token_text(id).value_or(""));
    print_json({{"ids", ids}, {"tokens", std::move(tokens)}, {"count", ids.size()}});
    return 0;
  }
  std::string line;
  for (const int32_t id : ids) line += cat(line.empty() ? "" : " ", id);
  print_text(line + "\n");
  return 0;
}

constexpr std::string_view kFlags[] = {
    "--model", "--text",   "--special-tokens",     "--parse-special",
    "--jsonl", "--decode", "--skip-special-tokens"};

}  // namespace

const Command kTokenizeCommand = {{.name = "tokenize",
                                   .arguments = "MODEL|FILE",
                                   .summary = "text to token ids and back, as Hugging Face does it",
                                   .min_positional = 1,
                                   .max_positional = 1,
                                   .flags = kFlags},
                                  run_tokenize};

}  // namespace quern
