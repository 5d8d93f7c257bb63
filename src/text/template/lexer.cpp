#include "text/template/lexer.h"

#include <array>
#include <charconv>
#include <optional>
#include <unordered_map>

#include "base/cat.h"
#include "text/template/code_points.h"

namespace quern::jinja {

namespace {

constexpr std::array<std::string_view, 36> kKindNames = {
    "the end of the template",
    "text",
    "'{{'",
    "'}}'",
    "'{%'",
    "'%}'",
    "a name",
    "a string",
    "an integer",
    "a number",
    "'+'",
    "'-'",
    "'*'",
    "'/'",
    "'//'",
    "'%'",
    "'**'",
    "'~'",
    "'='",
    "'=='",
    "'!='",
    "'<'",
    "'<='",
    "'>'",
    "'>='",
    "'.'",
    "':'",
    "','",
    "'|'",
    "';'",
    "'('",
    "')'",
    "'['",
    "']'",
    "'{'",
    "'}'",
};
static_assert(kKindNames.size() == static_cast<size_t>(TokenKind::kRightBrace) + 1);

struct Operator {
  std::string_view text;
  TokenKind kind;
};

/// Longer ones first, so that the first match is the right one.
constexpr Operator kOperators[] = {
    {"//", TokenKind::kFloorDiv},  {"**", TokenKind::kPow},        {"==", TokenKind::kEqual},
    {"!=", TokenKind::kNotEqual},  {"<=", TokenKind::kLessEqual},  {">=", TokenKind::kGreaterEqual},
    {"+", TokenKind::kAdd},        {"-", TokenKind::kSub},         {"*", TokenKind::kMul},
    {"/", TokenKind::kDiv},        {"%", TokenKind::kMod},         {"~", TokenKind::kTilde},
    {"=", TokenKind::kAssign},     {"<", TokenKind::kLess},        {">", TokenKind::kGreater},
    {".", TokenKind::kDot},        {":", TokenKind::kColon},       {",", TokenKind::kComma},
    {"|", TokenKind::kPipe},       {";", TokenKind::kSemicolon},   {"(", TokenKind::kLeftParen},
    {")", TokenKind::kRightParen}, {"[", TokenKind::kLeftBracket}, {"]", TokenKind::kRightBracket},
    {"{", TokenKind::kLeftBrace},  {"}", TokenKind::kRightBrace},
};

/// "\r\n" and "\r" become "\n"; one newline at the end is dropped.
std::string normalise_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_digit_byte(char c) { return c >= '0' && c <= '9'; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalise_newlines(source)) {}

  Result<Tokens> run() {
    while (at_ < source_.size()) RETURN_IF_ERROR(read_data_and_tag());
    tokens_.list.push_back({.kind = TokenKind::kEnd, .line = line_});
    return std::move(tokens_);
  }

 private:
  enum class Tag { kVariable, kBlock, kComment, kRaw };

  std::string_view rest(size_t at) const { return std::string_view(source_).substr(at); }
  bool starts(size_t at, std::string_view wanted) const { return rest(at).starts_with(wanted); }
  Error fail(std::string_view text) const { return template_error(line_, text); }

  /// Moves on to `end` and counts the lines passed.
  void advance(size_t end) {
    for (; at_ < end; ++at_) line_ += source_[at_] == '\n';
    // What follows may be stripped to the start of its line only if a line starts here.
    line_starting_ = end > 0 && source_[end - 1] == '\n';
  }

  size_t skip_space(size_t at) const {
    while (at < source_.size()) {
      const CodePoint next = code_point_at(source_, at);
      if (!is_space(next.value)) break;
      at += next.size;
    }
    return at;
  }

  void push(TokenKind kind) { tokens_.list.push_back({.kind = kind, .line = line_}); }

  void push_text(TokenKind kind, std::string text) {
    tokens_.list.push_back(
        {.kind = kind, .line = line_, .text = static_cast<int32_t>(tokens_.texts.size())});
    tokens_.texts.push_back(std::move(text));
  }

  /// `text` with the whitespace before a tag taken off as its sign asks: '-' all of it; none, for
  /// other tags than {{, what stands between the start of the line and the tag.
  std::string_view strip_before(std::string_view text, char sign, bool variable) const {
    if (sign == '-') {
      while (!text.empty()) {
        const size_t start = previous_start(text, text.size());
        if (!is_space(code_point_at(text, start).value)) break;
        text = text.substr(0, start);
      }
      return text;
    }
    if (sign == '+' || variable) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_start == 0 && !line_starting_) return text;
    for (size_t at = line_start; at < text.size();) {
      const CodePoint next = code_point_at(text, at);
      if (!is_space(next.value)) return text;
      at += next.size;
    }
    return text.substr(0, line_start);
  }

  void push_data(std::string_view text) {
    if (!text.empty()) push_text(TokenKind::kData, std::string(text));
  }

  /// Text up to the next tag, then that tag to its end.
  Result<void> read_data_and_tag() {
    size_t open = at_;
    while (true) {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        push_data(rest(at_));
        advance(source_.size());
        return {};
      }
      const char second = source_[open + 1];
      if (second == '{' || second == '%' || second == '#') break;
      ++open;
    }
    Tag tag = source_[open + 1] == '{'   ? Tag::kVariable
              : source_[open + 1] == '%' ? Tag::kBlock
                                         : Tag::kComment;
    size_t inside = open + 2;
    char sign = ' ';
    if (inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+')) {
      sign = source_[inside++];
    }
    if (tag == Tag::kBlock) {
      if (const auto after = end_of_raw_tag(inside, "raw", RawTag::kOpen)) {
        tag = Tag::kRaw;
        inside = *after;
      }
    }
    push_data(strip_before(rest(at_).substr(0, open - at_), sign, tag == Tag::kVariable));
    advance(open);
    const int opened = line_;
    // The closing rules look at the end of what was matched last: the opening tag.
    advance(inside);
    switch (tag) {
      case Tag::kComment:
        return read_comment(opened);
      case Tag::kRaw:
        return read_raw(opened);
      case Tag::kVariable:
        tokens_.list.push_back({.kind = TokenKind::kVariableBegin, .line = opened});
        return read_code(TokenKind::kVariableEnd, opened);
      case Tag::kBlock:
        tokens_.list.push_back({.kind = TokenKind::kBlockBegin, .line = opened});
        return read_code(TokenKind::kBlockEnd, opened);
    }
    return {};
  }

  enum class RawTag { kOpen, kClose };

  /// The end of "raw %}" or "endraw %}" if that is what stands at `at`, whitespace control
  /// included.
  std::optional<size_t> end_of_raw_tag(size_t at, std::string_view word, RawTag which) const {
    at = skip_space(at);
    if (!starts(at, word)) return std::nullopt;
    at = skip_space(at + word.size());
    if (starts(at, "-%}")) return skip_space(at + 3);
    if (which == RawTag::kClose && starts(at, "+%}")) return at + 3;
    if (!starts(at, "%}")) return std::nullopt;
    at += 2;
    if (which == RawTag::kClose && starts(at, "\n")) ++at;
    return at;
  }

  Result<void> read_comment(int opened) {
    const size_t close = source_.find("#}", at_);
    if (close == std::string::npos) {
      return template_error(opened, "the comment is never closed; end it with '#}'");
    }
    size_t end = close + 2;
    const char before = close > at_ ? source_[close - 1] : ' ';
    if (before == '-') {
      end = skip_space(end);
    } else if (before != '+' && starts(end, "\n")) {
      ++end;
    }
    advance(end);
    return {};
  }

  Result<void> read_raw(int opened) {
    for (size_t open = source_.find("{%", at_); open != std::string::npos;
         open = source_.find("{%", open + 1)) {
      size_t inside = open + 2;
      char sign = ' ';
      if (inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+')) {
        sign = source_[inside++];
      }
      const auto end = end_of_raw_tag(inside, "endraw", RawTag::kClose);
      if (!end) continue;
      push_data(strip_before(rest(at_).substr(0, open - at_), sign, false));
      advance(*end);
      return {};
    }
    return template_error(opened, "the raw block is never closed; end it with {% endraw %}");
  }

  /// The end of the tag if it stands at the current place; the tag's brackets must be closed.
  std::optional<size_t> end_of_tag(TokenKind kind) const {
    if (!open_brackets_.empty()) return std::nullopt;
    const std::string_view close = kind == TokenKind::kVariableEnd ? "}}" : "%}";
    if (starts(at_, close)) {
      const size_t end = at_ + 2;
      return kind == TokenKind::kBlockEnd && starts(end, "\n") ? end + 1 : end;
    }
    if (source_[at_] == '-' && starts(at_ + 1, close)) return skip_space(at_ + 3);
    if (kind == TokenKind::kBlockEnd && source_[at_] == '+' && starts(at_ + 1, close)) {
      return at_ + 3;
    }
    return std::nullopt;
  }

  Result<void> read_code(TokenKind closing, int opened) {
    open_brackets_.clear();
    while (true) {
      if (const size_t next = skip_space(at_); next != at_) advance(next);
      if (at_ >= source_.size()) {
        return template_error(opened,
                              cat("the tag is never closed; end it with ", describe(closing)));
      }
      if (const auto end = end_of_tag(closing)) {
        push(closing);
        advance(*end);
        return {};
      }
      RETURN_IF_ERROR(read_token());
    }
  }

  Result<void> read_token() {
    const char c = source_[at_];
    if (is_digit_byte(c)) return read_number();
    const CodePoint first = code_point_at(source_, at_);
    if (is_identifier_start(first.value)) return read_name();
    if (c == '\'' || c == '"') return read_string(c);
    for (const Operator& candidate : kOperators) {
      if (!starts(at_, candidate.text)) continue;
      RETURN_IF_ERROR(match_brackets(c));
      push(candidate.kind);
      advance(at_ + candidate.text.size());
      return {};
    }
    return fail(
        cat("the character '", rest(at_).substr(0, first.size), "' cannot stand in an expression"));
  }

  Result<void> match_brackets(char c) {
    if (c == '(') open_brackets_ += ')';
    if (c == '[') open_brackets_ += ']';
    if (c == '{') open_brackets_ += '}';
    if (c != ')' && c != ']' && c != '}') return {};
    if (open_brackets_.empty()) return fail(cat("'", c, "' closes nothing"));
    if (open_brackets_.back() != c) {
      return fail(cat("'", c, "' stands where '", open_brackets_.back(), "' must close first"));
    }
    open_brackets_.pop_back();
    return {};
  }

  Result<void> read_name() {
    size_t end = at_;
    while (end < source_.size()) {
      const CodePoint next = code_point_at(source_, end);
      if (!is_identifier_part(next.value)) break;
      end += next.size;
    }
    push_text(TokenKind::kName, source_.substr(at_, end - at_));
    advance(end);
    return {};
  }

  /// Digits of a base with single underscores between them; at least one, else `at` itself.
  size_t skip_digits(size_t at, int base) const {
    size_t end = at;
    while (true) {
      size_t digit = end;
      if (digit > at && digit < source_.size() && source_[digit] == '_') ++digit;
      if (digit >= source_.size()) return end;
      const int value = hex_value(source_[digit]);
      if (value < 0 || value >= base) return end;
      end = digit + 1;
    }
  }

  std::string without_underscores(size_t begin, size_t end) const {
    std::string out;
    for (size_t i = begin; i < end; ++i) {
      if (source_[i] != '_') out += source_[i];
    }
    return out;
  }

  Result<void> read_number() {
    const size_t begin = at_;
    // In `x.0.1` the second dot is another subscript, not a fraction.
    const bool after_dot = begin > 0 && source_[begin - 1] == '.';
    size_t end = skip_digits(begin, 10);
    bool is_float = false;
    if (!after_dot) {
      size_t fraction = end;
      if (starts(end, ".")) fraction = skip_digits(end + 1, 10);
      if (fraction > end + 1) {
        end = fraction;
        is_float = true;
      }
      if (starts(end, "e") || starts(end, "E")) {
        size_t exponent = end + 1;
        if (starts(exponent, "+") || starts(exponent, "-")) ++exponent;
        const size_t after = skip_digits(exponent, 10);
        if (after > exponent) {
          end = after;
          is_float = true;
        }
      }
    }
    if (is_float) {
      const std::string digits = without_underscores(begin, end);
      double value = 0;
      const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (read.ec != std::errc()) {
        // The only way to be out of range with a result is underflow or overflow.
        return fail(cat("the number ", digits.substr(0, 40), " is beyond 64-bit floating point"));
      }
      tokens_.list.push_back({.kind = TokenKind::kFloat, .line = line_, .number = value});
      advance(end);
      return {};
    }

    int base = 10;
    size_t digits_begin = begin;
    if (source_[begin] == '0') {
      const char letter =
          begin + 1 < source_.size() ? static_cast<char>(source_[begin + 1] | 0x20) : ' ';
      const int other = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 0;
      // An underscore may also stand between the prefix and the first digit.
      size_t first = begin + 2;
      if (other != 0 && starts(first, "_")) ++first;
      if (other != 0 && skip_digits(first, other) > first) {
        base = other;
        digits_begin = first;
        end = skip_digits(first, other);
      } else {
        end = begin + 1;
        while (starts(end, "0") || starts(end, "_0")) end += source_[end] == '_' ? 2 : 1;
      }
    }
    const std::string digits = without_underscores(digits_begin, end);
    int64_t value = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (read.ec != std::errc()) {
      return fail(cat("the integer ", digits.substr(0, 40), " does not fit in 64 bits"));
    }
    tokens_.list.push_back({.kind = TokenKind::kInteger, .line = line_, .integer = value});
    advance(end);
    return {};
  }

  Result<void> read_string(char quote) {
    std::string out;
    size_t at = at_ + 1;
    while (true) {
      if (at >= source_.size()) return fail("the string is never closed");
      const char c = source_[at];
      if (c == quote) break;
      if (c != '\\') {
        out += c;
        ++at;
        continue;
      }
      if (at + 1 >= source_.size()) return fail("the string is never closed");
      ASSIGN_OR_RETURN(at, read_escape(at + 1, out));
    }
    push_text(TokenKind::kString, std::move(out));
    advance(at + 1);
    return {};
  }

  /// One escape as in Python's string literals; `at` is behind the backslash. Returns where it
  /// ends.
  Result<size_t> read_escape(size_t at, std::string& out) {
    constexpr std::string_view kLetters = "\\'\"abfnrtv";
    constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    const char c = source_[at];
    if (c == '\n') return at + 1;
    if (const size_t known = kLetters.find(c); known != std::string_view::npos) {
      out += kMeanings[known];
      return at + 1;
    }
    if (c >= '0' && c <= '7') {
      uint32_t value = 0;
      size_t end = at;
      for (; end < at + 3 && end < source_.size() && source_[end] >= '0' && source_[end] <= '7';
           ++end) {
        value = value * 8 + static_cast<uint32_t>(source_[end] - '0');
      }
      append_utf8(out, value);
      return end;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
      const size_t num_digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint32_t value = 0;
      for (size_t i = 1; i <= num_digits; ++i) {
        const int digit = at + i < source_.size() ? hex_value(source_[at + i]) : -1;
        if (digit < 0) return fail(cat("\\", c, " needs ", num_digits, " hexadecimal digits"));
        value = value * 16 + static_cast<uint32_t>(digit);
      }
      if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
        return fail(cat("\\", rest(at).substr(0, num_digits + 1),
                        " is no character; write characters beyond U+FFFF as \\U and 8 digits"));
      }
      append_utf8(out, value);
      return at + 1 + num_digits;
    }
    if (c == 'N') return fail("\\N{name} in a string is not supported; write \\u and 4 digits");
    out += '\\';
    if (static_cast<unsigned char>(c) < 0x80) {
      out += c;
      return at + 1;
    }
    // Jinja writes other characters as escapes before it reads escapes, so a backslash in front of
    // one leaves the letters of that escape.
    const CodePoint next = code_point_at(source_, at);
    const int num_digits = next.value < 0x100 ? 2 : next.value < 0x10000 ? 4 : 8;
    out += num_digits == 2 ? 'x' : num_digits == 4 ? 'u' : 'U';
    for (int shift = 4 * (num_digits - 1); shift >= 0; shift -= 4) {
      out += "0123456789abcdef"[(next.value >> shift) & 15];
    }
    return at + next.size;
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string open_brackets_;  // the closing ones that are due, innermost last
  Tokens tokens_;
};

}  // namespace

std::string_view describe(TokenKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

Error template_error(int line, std::string_view text) {
  return Error{.code = ErrorCode::kBadInput, .message = cat("template line ", line, ": ", text)};
}

Result<Tokens> tokenize_template(std::string_view source) { return Lexer(source).run(); }

}  // namespace quern::jinja
