#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/template/lexer.h"
#include "text/template/scopes.h"
#include "text/template/syntax.h"

namespace quern::jinja {

/// A place in the tokens; never moves beyond the final kEnd.
class TokenCursor {
 public:
  explicit TokenCursor(const Tokens& tokens) : tokens_(tokens) {}

  const Token& current() const { return tokens_.list[at_]; }
  const Token& peek() const { return tokens_.list[std::min(at_ + 1, tokens_.list.size() - 1)]; }
  TokenKind kind() const { return current().kind; }
  int line() const { return current().line; }
  size_t position() const { return at_; }
  const Tokens& tokens() const { return tokens_; }

  bool is(TokenKind kind) const { return current().kind == kind; }
  bool is_name(std::string_view name) const { return is_name(current(), name); }
  bool is_name(const Token& token, std::string_view name) const {
    return token.kind == TokenKind::kName && text(token) == name;
  }
  const std::string& text(const Token& token) const {
    return tokens_.texts[static_cast<size_t>(token.text)];
  }
  /// The token in the words of a message: the name or string itself where there is one.
  std::string describe_current() const;

  Token take() {
    const Token token = current();
    if (at_ + 1 < tokens_.list.size()) ++at_;
    return token;
  }
  bool skip(TokenKind kind) {
    if (!is(kind)) return false;
    take();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!is_name(name)) return false;
    take();
    return true;
  }
  Result<Token> expect(TokenKind kind);
  Error unexpected(std::string_view wanted) const;

 private:
  const Tokens& tokens_;
  size_t at_ = 0;
};

/// What an expression may be where it stands in a statement.
struct ExpressionForm {
  enum class Commas { kRefuse, kMakeTuple };
  enum class InlineIf { kAllow, kLeave };  // kLeave: `if` ends the expression (a loop's filter)
  Commas commas = Commas::kRefuse;
  InlineIf inline_if = InlineIf::kAllow;
};

/// Reads expressions by operator precedence with a stack of its own for whatever is open (brackets,
/// calls, inline ifs), at most kMaxNesting of them. Reading names reports their use to the scopes.
class ExpressionParser {
 public:
  static constexpr size_t kMaxNesting = 200;

  ExpressionParser(TokenCursor& cursor, Syntax& syntax, ScopeTable& scopes)
      : cursor_(cursor), syntax_(syntax), scopes_(scopes) {}

  /// Names are read in this scope from now on.
  void set_scope(ScopeId scope) { scope_ = scope; }

  Result<NodeId> parse(ExpressionForm form);
  /// The target of `for`, `set` and `with`: names, `ns.name` if allowed, tuples of them. Reports
  /// nothing to the scopes, because a target counts only after the value it gets.
  enum class Attributes { kRefuse, kAllow };
  Result<NodeId> parse_target(Attributes attributes);
  /// "name(arguments) | name(arguments) ..." of a filter block or set block; `first_pipe` tells
  /// whether a '|' stands before the first one.
  enum class FirstPipe { kRequired, kAbsent };
  Result<NodeId> parse_filter_chain(FirstPipe first_pipe);

 private:
  struct Frame {
    enum class Kind {
      kTop,
      kParen,
      kList,
      kDictKey,
      kDictValue,
      kSubscript,
      kArguments,
      kIfTest,  // behind the `if` of an inline if
      kIfElse,
    };
    Kind kind = Kind::kTop;
    bool inline_if = true;
    bool commas = false;        // kTop
    bool is_tuple = false;      // a comma was seen
    bool after_filter = false;  // only | is ( may follow the operand
    bool filter_chain = false;  // only | may follow
    int line = 0;
    size_t first_operator = 0;
    size_t first_operand = 0;
    // kSubscript: which part of a slice is being read (0 start or index, 1 stop, 2 step)
    int slice_part = 0;
    bool is_slice = false;
    NodeId slice[3] = {kNoId, kNoId, kNoId};
    // kArguments
    NodeKind call = NodeKind::kCall;
    int32_t row = kNoId;  // of the filter or test
    bool negated = false;
    NodeId subject = kNoId;
    enum class Pending { kPositional, kKeyword, kStar, kDoubleStar } pending = Pending::kPositional;
    NameId keyword = kNoId;
    ArgumentList arguments;
  };

  enum class OperatorKind { kBinary, kAnd, kOr, kNot, kNegate, kPlus, kCompare, kTestArgument };
  struct Operator {
    OperatorKind kind = OperatorKind::kBinary;
    int precedence = 0;
    BinaryOp binary = BinaryOp::kAdd;
    int line = 0;
    std::vector<CompareOp> comparisons = {};
    int32_t row = kNoId;  // kTestArgument
    bool negated = false;
  };
  enum class Step { kContinue, kDone };

  Error fail(int line, std::string_view text) const { return template_error(line, text); }
  Frame& frame() { return frames_.back(); }
  Result<void> push_frame(Frame::Kind kind, int line);
  void push_operand(NodeId node) {
    operands_.push_back(node);
    wants_operand_ = false;
  }
  NodeId pop_operand() {
    const NodeId node = operands_.back();
    operands_.pop_back();
    return node;
  }

  Result<NodeId> run();
  Result<void> read_operand();
  Result<void> read_literal_or_name();
  Result<Step> read_continuation();
  Result<bool> read_postfix();
  bool read_binary_operator();
  void push_binary(OperatorKind kind, int precedence, BinaryOp binary = BinaryOp::kAdd);
  void push_comparison(CompareOp op, int num_tokens);
  Result<void> read_filter();
  Result<void> read_test();

  void reduce_to(int precedence);
  void reduce_top();
  void reduce_unary();
  /// The row of a filter or test; for a name that is refused only when it runs, a number below
  /// kNoId that stands for the message.
  enum class Table { kFilters, kTests };
  Result<int32_t> find_row(const Token& token, const std::string& name, Table table);
  NodeId add_application(NodeKind kind, NodeId subject, ArgumentList arguments, int32_t row,
                         int line);
  NodeId finish_test(NodeId subject, ArgumentList arguments, int32_t row, bool negated, int line);

  Result<Step> finish_expression();
  Result<void> next_argument();
  Result<void> store_argument();
  Result<void> close_arguments();
  Result<void> check_supported(const Frame& closed) const;
  Result<void> next_subscript();
  Result<Step> finish_subscript_part();
  bool at_tuple_end() const;
  void close_sequence(NodeKind kind);

  TokenCursor& cursor_;
  Syntax& syntax_;
  ScopeTable& scopes_;
  ScopeId scope_ = 0;
  std::vector<Frame> frames_;
  std::vector<Operator> operators_;
  std::vector<NodeId> operands_;
  bool wants_operand_ = true;
  std::unordered_map<std::string, int32_t> refused_;  // constants with the messages
};

}  // namespace quern::jinja
