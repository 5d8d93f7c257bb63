#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quern::jinja {

enum class TokenKind : uint8_t {
  kEnd,
  kData,           // text outside of tags, with whitespace control already applied
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kName,
  kString,  // unescaped
  kInteger,
  kFloat,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kTilde,
  kAssign,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kDot,
  kColon,
  kComma,
  kPipe,
  kSemicolon,
  kLeftParen,
  kRightParen,
  kLeftBracket,
  kRightBracket,
  kLeftBrace,
  kRightBrace,
};

/// How a message names the kind ("'}}'", "a name").
std::string_view describe(TokenKind kind);

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int32_t line = 1;
  int32_t text = -1;    // index into Tokens::texts for data, names and strings
  int64_t integer = 0;  // kInteger
  double number = 0;    // kFloat
};

struct Tokens {
  std::vector<Token> list;  // ends with one kEnd
  std::vector<std::string> texts;
};

/// A failure at a line of the template; the whole sentence is made by ChatTemplate.
Error template_error(int line, std::string_view text);

/// Cuts a template into tokens as Jinja's lexer does with trim_blocks and lstrip_blocks on and one
/// final newline dropped. `source` is valid UTF-8.
Result<Tokens> tokenize_template(std::string_view source);

}  // namespace quern::jinja
