#include "text/template/expression_parser.h"

#include "base/cat.h"
#include "text/template/builtins.h"

namespace quern::jinja {

namespace {

// How tightly operators bind; a higher one takes its operands first. Two things differ from
// Python: '~' stands between + and *, and a sign binds tighter than '**'.
constexpr int kOrPrecedence = 1;
constexpr int kAndPrecedence = 2;
constexpr int kNotPrecedence = 3;
constexpr int kComparePrecedence = 4;
constexpr int kSumPrecedence = 5;
constexpr int kConcatPrecedence = 6;
constexpr int kProductPrecedence = 7;
constexpr int kPowerPrecedence = 8;
constexpr int kSignPrecedence = 9;
constexpr int kTestArgumentPrecedence = 10;

}  // namespace

std::string TokenCursor::describe_current() const {
  const Token& token = current();
  if (token.kind == TokenKind::kName) return cat("the name '", text(token).substr(0, 60), "'");
  if (token.kind == TokenKind::kString) return "a string";
  return std::string(describe(token.kind));
}

Result<Token> TokenCursor::expect(TokenKind wanted) {
  if (!is(wanted)) return unexpected(describe(wanted));
  return take();
}

Error TokenCursor::unexpected(std::string_view wanted) const {
  return template_error(line(), cat("found ", describe_current(), ", wanted ", wanted));
}

Result<NodeId> ExpressionParser::parse(ExpressionForm form) {
  frames_.clear();
  operators_.clear();
  operands_.clear();
  RETURN_IF_ERROR(push_frame(Frame::Kind::kTop, cursor_.line()));
  frame().inline_if = form.inline_if == ExpressionForm::InlineIf::kAllow;
  frame().commas = form.commas == ExpressionForm::Commas::kMakeTuple;
  if (frame().commas && at_tuple_end()) return cursor_.unexpected("an expression");
  wants_operand_ = true;
  return run();
}

Result<NodeId> ExpressionParser::parse_filter_chain(FirstPipe first_pipe) {
  frames_.clear();
  operators_.clear();
  operands_.clear();
  if (first_pipe == FirstPipe::kRequired && !cursor_.is(TokenKind::kPipe)) return kNoId;
  RETURN_IF_ERROR(push_frame(Frame::Kind::kTop, cursor_.line()));
  frame().filter_chain = true;
  push_operand(kNoId);  // what the block captured
  if (first_pipe == FirstPipe::kAbsent) RETURN_IF_ERROR(read_filter());
  return run();
}

Result<NodeId> ExpressionParser::run() {
  while (true) {
    if (wants_operand_) {
      RETURN_IF_ERROR(read_operand());
      continue;
    }
    ASSIGN_OR_RETURN(const Step step, read_continuation());
    if (step == Step::kDone) return operands_.back();
  }
}

Result<void> ExpressionParser::push_frame(Frame::Kind kind, int line) {
  if (frames_.size() >= kMaxNesting) {
    return fail(line, cat("the expression nests deeper than ", kMaxNesting, " levels"));
  }
  Frame opened;
  opened.kind = kind;
  opened.line = line;
  opened.first_operator = operators_.size();
  opened.first_operand = operands_.size();
  frames_.push_back(std::move(opened));
  wants_operand_ = true;
  return {};
}

Result<void> ExpressionParser::read_operand() {
  const Token token = cursor_.current();
  const int above = operators_.size() > frame().first_operator ? operators_.back().precedence : 0;
  if (token.kind == TokenKind::kName && above <= kNotPrecedence && cursor_.is_name("not")) {
    cursor_.take();
    operators_.push_back(
        {.kind = OperatorKind::kNot, .precedence = kNotPrecedence, .line = token.line});
    return {};
  }
  if (above != kTestArgumentPrecedence &&
      (token.kind == TokenKind::kSub || token.kind == TokenKind::kAdd)) {
    cursor_.take();
    operators_.push_back(
        {.kind = token.kind == TokenKind::kSub ? OperatorKind::kNegate : OperatorKind::kPlus,
         .precedence = kSignPrecedence,
         .line = token.line});
    return {};
  }
  return read_literal_or_name();
}

Result<void> ExpressionParser::read_literal_or_name() {
  const Token token = cursor_.current();
  const auto push_constant = [&](Constant constant) {
    push_operand(syntax_.add({.kind = NodeKind::kConstant,
                              .line = token.line,
                              .a = syntax_.add_constant(std::move(constant))}));
  };
  switch (token.kind) {
    case TokenKind::kName: {
      cursor_.take();
      const std::string& name = cursor_.text(token);
      if (name == "true" || name == "True") {
        push_constant({.kind = Constant::Kind::kTrue});
      } else if (name == "false" || name == "False") {
        push_constant({.kind = Constant::Kind::kFalse});
      } else if (name == "none" || name == "None") {
        push_constant({});
      } else {
        const NameId id = syntax_.name_id(name);
        scopes_.load(scope_, id);
        push_operand(
            syntax_.add({.kind = NodeKind::kName, .line = token.line, .a = id, .b = scope_}));
      }
      return {};
    }
    case TokenKind::kString: {
      std::string text;
      while (cursor_.is(TokenKind::kString)) text += cursor_.text(cursor_.take());
      push_constant({.kind = Constant::Kind::kString, .text = std::move(text)});
      return {};
    }
    case TokenKind::kInteger:
      cursor_.take();
      push_constant({.kind = Constant::Kind::kInteger, .integer = token.integer});
      return {};
    case TokenKind::kFloat:
      cursor_.take();
      push_constant({.kind = Constant::Kind::kFloat, .number = token.number});
      return {};
    case TokenKind::kLeftParen:
      cursor_.take();
      RETURN_IF_ERROR(push_frame(Frame::Kind::kParen, token.line));
      if (cursor_.is(TokenKind::kRightParen)) close_sequence(NodeKind::kTuple);
      return {};
    case TokenKind::kLeftBracket:
      cursor_.take();
      RETURN_IF_ERROR(push_frame(Frame::Kind::kList, token.line));
      if (cursor_.is(TokenKind::kRightBracket)) close_sequence(NodeKind::kList);
      return {};
    case TokenKind::kLeftBrace:
      cursor_.take();
      RETURN_IF_ERROR(push_frame(Frame::Kind::kDictKey, token.line));
      if (cursor_.is(TokenKind::kRightBrace)) close_sequence(NodeKind::kDict);
      return {};
    default:
      return cursor_.unexpected("an expression");
  }
}

Result<ExpressionParser::Step> ExpressionParser::read_continuation() {
  if (!frame().filter_chain) {
    if (!frame().after_filter) {
      ASSIGN_OR_RETURN(const bool read, read_postfix());
      if (read) return Step::kContinue;
    }
    // `x is divisibleby 3 | string`: nothing follows the bare argument, so the test is whole.
    if (operators_.size() > frame().first_operator &&
        operators_.back().kind == OperatorKind::kTestArgument) {
      reduce_top();
      frame().after_filter = true;
      return Step::kContinue;
    }
    if (frame().after_filter && cursor_.is(TokenKind::kLeftParen)) {
      RETURN_IF_ERROR(read_postfix());
      return Step::kContinue;
    }
  }
  if (cursor_.is(TokenKind::kPipe)) {
    reduce_unary();
    cursor_.take();
    RETURN_IF_ERROR(read_filter());
    return Step::kContinue;
  }
  if (!frame().filter_chain) {
    if (cursor_.is_name("is")) {
      reduce_unary();
      RETURN_IF_ERROR(read_test());
      return Step::kContinue;
    }
    if (read_binary_operator()) return Step::kContinue;
    if (frame().inline_if && cursor_.is_name("if")) {
      reduce_to(0);
      const int line = cursor_.take().line;
      const NodeId value = pop_operand();
      RETURN_IF_ERROR(push_frame(Frame::Kind::kIfTest, line));
      frame().subject = value;
      frame().inline_if = false;
      return Step::kContinue;
    }
  }
  reduce_to(0);
  return finish_expression();
}

/// .name  .0  [index]  (arguments)
Result<bool> ExpressionParser::read_postfix() {
  const Token token = cursor_.current();
  if (token.kind == TokenKind::kDot) {
    cursor_.take();
    const Token member = cursor_.current();
    const NodeId object = operands_.back();
    if (member.kind == TokenKind::kName) {
      operands_.back() = syntax_.add({.kind = NodeKind::kAttribute,
                                      .line = token.line,
                                      .a = object,
                                      .b = syntax_.name_id(cursor_.text(member))});
    } else if (member.kind == TokenKind::kInteger) {
      const int32_t constant =
          syntax_.add_constant({.kind = Constant::Kind::kInteger, .integer = member.integer});
      const NodeId position =
          syntax_.add({.kind = NodeKind::kConstant, .line = token.line, .a = constant});
      operands_.back() = syntax_.add(
          {.kind = NodeKind::kSubscript, .line = token.line, .a = object, .b = position});
    } else {
      return cursor_.unexpected("a name or a number behind '.'");
    }
    cursor_.take();
    return true;
  }
  if (token.kind == TokenKind::kLeftBracket) {
    cursor_.take();
    const NodeId object = pop_operand();
    RETURN_IF_ERROR(push_frame(Frame::Kind::kSubscript, token.line));
    frame().subject = object;
    RETURN_IF_ERROR(next_subscript());
    return true;
  }
  if (token.kind == TokenKind::kLeftParen) {
    cursor_.take();
    const NodeId callee = pop_operand();
    RETURN_IF_ERROR(push_frame(Frame::Kind::kArguments, token.line));
    frame().subject = callee;
    RETURN_IF_ERROR(next_argument());
    return true;
  }
  return false;
}

bool ExpressionParser::read_binary_operator() {
  switch (cursor_.kind()) {
    case TokenKind::kAdd:
      push_binary(OperatorKind::kBinary, kSumPrecedence, BinaryOp::kAdd);
      break;
    case TokenKind::kSub:
      push_binary(OperatorKind::kBinary, kSumPrecedence, BinaryOp::kSub);
      break;
    case TokenKind::kTilde:
      push_binary(OperatorKind::kBinary, kConcatPrecedence, BinaryOp::kConcat);
      break;
    case TokenKind::kMul:
      push_binary(OperatorKind::kBinary, kProductPrecedence, BinaryOp::kMul);
      break;
    case TokenKind::kDiv:
      push_binary(OperatorKind::kBinary, kProductPrecedence, BinaryOp::kDiv);
      break;
    case TokenKind::kFloorDiv:
      push_binary(OperatorKind::kBinary, kProductPrecedence, BinaryOp::kFloorDiv);
      break;
    case TokenKind::kMod:
      push_binary(OperatorKind::kBinary, kProductPrecedence, BinaryOp::kMod);
      break;
    case TokenKind::kPow:
      push_binary(OperatorKind::kBinary, kPowerPrecedence, BinaryOp::kPow);
      break;
    case TokenKind::kEqual:
      push_comparison(CompareOp::kEqual, 1);
      break;
    case TokenKind::kNotEqual:
      push_comparison(CompareOp::kNotEqual, 1);
      break;
    case TokenKind::kLess:
      push_comparison(CompareOp::kLess, 1);
      break;
    case TokenKind::kLessEqual:
      push_comparison(CompareOp::kLessEqual, 1);
      break;
    case TokenKind::kGreater:
      push_comparison(CompareOp::kGreater, 1);
      break;
    case TokenKind::kGreaterEqual:
      push_comparison(CompareOp::kGreaterEqual, 1);
      break;
    case TokenKind::kName:
      if (cursor_.is_name("and")) {
        push_binary(OperatorKind::kAnd, kAndPrecedence);
      } else if (cursor_.is_name("or")) {
        push_binary(OperatorKind::kOr, kOrPrecedence);
      } else if (cursor_.is_name("in")) {
        push_comparison(CompareOp::kIn, 1);
      } else if (cursor_.is_name("not") && cursor_.is_name(cursor_.peek(), "in")) {
        push_comparison(CompareOp::kNotIn, 2);
      } else {
        return false;
      }
      break;
    default:
      return false;
  }
  return true;
}

void ExpressionParser::push_binary(OperatorKind kind, int precedence, BinaryOp binary) {
  reduce_to(precedence);
  operators_.push_back(
      {.kind = kind, .precedence = precedence, .binary = binary, .line = cursor_.take().line});
  wants_operand_ = true;
  frame().after_filter = false;
}

/// `a < b < c` is one comparison of three operands, not two of two.
void ExpressionParser::push_comparison(CompareOp op, int num_tokens) {
  reduce_to(kComparePrecedence + 1);
  const int line = cursor_.line();
  for (int i = 0; i < num_tokens; ++i) cursor_.take();
  const bool chained = operators_.size() > frame().first_operator &&
                       operators_.back().kind == OperatorKind::kCompare;
  if (!chained) {
    operators_.push_back(
        {.kind = OperatorKind::kCompare, .precedence = kComparePrecedence, .line = line});
  }
  operators_.back().comparisons.push_back(op);
  wants_operand_ = true;
  frame().after_filter = false;
}

void ExpressionParser::reduce_to(int precedence) {
  while (operators_.size() > frame().first_operator && operators_.back().precedence >= precedence) {
    reduce_top();
  }
}

void ExpressionParser::reduce_unary() { reduce_to(kSignPrecedence); }

void ExpressionParser::reduce_top() {
  const Operator op = std::move(operators_.back());
  operators_.pop_back();
  const auto unary = [&](NodeKind kind) {
    operands_.back() = syntax_.add({.kind = kind, .line = op.line, .a = operands_.back()});
  };
  const auto binary = [&](NodeKind kind) {
    const NodeId right = pop_operand();
    operands_.back() = syntax_.add(
        {.kind = kind, .op = op.binary, .line = op.line, .a = operands_.back(), .b = right});
  };
  switch (op.kind) {
    case OperatorKind::kBinary:
      return binary(NodeKind::kBinary);
    case OperatorKind::kAnd:
      return binary(NodeKind::kAnd);
    case OperatorKind::kOr:
      return binary(NodeKind::kOr);
    case OperatorKind::kNot:
      return unary(NodeKind::kNot);
    case OperatorKind::kNegate:
      return unary(NodeKind::kNegate);
    case OperatorKind::kPlus:
      return unary(NodeKind::kPlus);
    case OperatorKind::kCompare: {
      const size_t count = op.comparisons.size() + 1;
      const auto first_comparison = static_cast<int32_t>(syntax_.comparisons.size());
      syntax_.comparisons.insert(syntax_.comparisons.end(), op.comparisons.begin(),
                                 op.comparisons.end());
      const NodeId node = syntax_.add_with_children(
          {.kind = NodeKind::kCompare, .line = op.line, .c = first_comparison},
          operands_.data() + operands_.size() - count, count);
      operands_.resize(operands_.size() - count);
      push_operand(node);
      return;
    }
    case OperatorKind::kTestArgument: {
      ArgumentList arguments;
      arguments.positional.push_back(pop_operand());
      const NodeId subject = pop_operand();
      push_operand(finish_test(subject, std::move(arguments), op.row, op.negated, op.line));
      return;
    }
  }
}

/// An unknown filter or test inside an `if` fails only when it runs, as in Jinja: templates ask for
/// what another engine has behind a test that is false here. What Jinja has and quern has not is
/// refused at once wherever it stands.
Result<int32_t> ExpressionParser::find_row(const Token& token, const std::string& name,
                                           Table table) {
  const bool is_filter = table == Table::kFilters;
  const int32_t row = is_filter ? find_filter(name) : find_test(name);
  if (row != kNoId) return row;
  if (!scopes_.in_branch(scope_) || (is_filter && is_missing_filter(name))) {
    return fail(token.line, is_filter ? refused_filter(name) : refused_test(name));
  }
  // One message for each name: a template may hold very many of them.
  const auto [entry, is_new] = refused_.try_emplace(cat(is_filter ? "|" : "is ", name), 0);
  if (is_new) {
    entry->second =
        syntax_.add_constant({.kind = Constant::Kind::kString,
                              .text = is_filter ? refused_filter(name) : refused_test(name)});
  }
  return kNoId - 1 - entry->second;
}

NodeId ExpressionParser::add_application(NodeKind kind, NodeId subject, ArgumentList arguments,
                                         int32_t row, int line) {
  if (row < kNoId) {
    return syntax_.add({.kind = NodeKind::kRefused, .line = line, .a = kNoId - 1 - row});
  }
  int32_t arguments_id = 0;
  if (!arguments.empty()) {
    arguments_id = static_cast<int32_t>(syntax_.arguments.size());
    syntax_.arguments.push_back(std::move(arguments));
  }
  return syntax_.add({.kind = kind, .line = line, .a = subject, .b = arguments_id, .c = row});
}

NodeId ExpressionParser::finish_test(NodeId subject, ArgumentList arguments, int32_t row,
                                     bool negated, int line) {
  const NodeId test = add_application(NodeKind::kTest, subject, std::move(arguments), row, line);
  return negated ? syntax_.add({.kind = NodeKind::kNot, .line = line, .a = test}) : test;
}

/// Behind '|': name or name(arguments).
Result<void> ExpressionParser::read_filter() {
  ASSIGN_OR_RETURN(const Token token, cursor_.expect(TokenKind::kName));
  std::string name = cursor_.text(token);
  while (cursor_.skip(TokenKind::kDot)) {
    ASSIGN_OR_RETURN(const Token part, cursor_.expect(TokenKind::kName));
    name += "." + cursor_.text(part);
  }
  ASSIGN_OR_RETURN(const int32_t row, find_row(token, name, Table::kFilters));

  const NodeId subject = pop_operand();
  if (cursor_.is(TokenKind::kLeftParen)) {
    cursor_.take();
    RETURN_IF_ERROR(push_frame(Frame::Kind::kArguments, token.line));
    frame().call = NodeKind::kFilter;
    frame().row = row;
    frame().subject = subject;
    return next_argument();
  }
  push_operand(add_application(NodeKind::kFilter, subject, {}, row, token.line));
  frame().after_filter = true;
  return {};
}

/// At `is`: is [not] name, is name(arguments), is name argument.
Result<void> ExpressionParser::read_test() {
  const int line = cursor_.take().line;
  const bool negated = cursor_.skip_name("not");
  ASSIGN_OR_RETURN(const Token token, cursor_.expect(TokenKind::kName));
  const std::string& name = cursor_.text(token);
  ASSIGN_OR_RETURN(const int32_t row, find_row(token, name, Table::kTests));

  switch (cursor_.kind()) {
    case TokenKind::kLeftParen: {
      cursor_.take();
      const NodeId subject = pop_operand();
      RETURN_IF_ERROR(push_frame(Frame::Kind::kArguments, line));
      frame().call = NodeKind::kTest;
      frame().row = row;
      frame().negated = negated;
      frame().subject = subject;
      return next_argument();
    }
    case TokenKind::kName:
      if (cursor_.is_name("else") || cursor_.is_name("or") || cursor_.is_name("and")) break;
      if (cursor_.is_name("is")) return fail(line, "tests cannot be chained with 'is'");
      [[fallthrough]];
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
    case TokenKind::kLeftBracket:
    case TokenKind::kLeftBrace:
      operators_.push_back({.kind = OperatorKind::kTestArgument,
                            .precedence = kTestArgumentPrecedence,
                            .line = line,
                            .row = row,
                            .negated = negated});
      frame().after_filter = false;
      return read_literal_or_name();
    default:
      break;
  }
  const NodeId subject = pop_operand();
  push_operand(finish_test(subject, {}, row, negated, line));
  frame().after_filter = true;
  return {};
}

bool ExpressionParser::at_tuple_end() const {
  return cursor_.is(TokenKind::kVariableEnd) || cursor_.is(TokenKind::kBlockEnd) ||
         cursor_.is(TokenKind::kRightParen);
}

/// The operands of the innermost frame become one node; its closing bracket is consumed.
void ExpressionParser::close_sequence(NodeKind kind) {
  const size_t first = frame().first_operand;
  const NodeId node = syntax_.add_with_children({.kind = kind, .line = frame().line},
                                                operands_.data() + first, operands_.size() - first);
  if (frame().kind != Frame::Kind::kTop) cursor_.take();
  operands_.resize(first);
  frames_.pop_back();
  push_operand(node);
}

/// An expression of the innermost frame is whole; the current token is none that continues it.
Result<ExpressionParser::Step> ExpressionParser::finish_expression() {
  Frame& open = frame();
  open.after_filter = false;
  const TokenKind next = cursor_.kind();
  switch (open.kind) {
    case Frame::Kind::kTop:
    case Frame::Kind::kParen: {
      const bool parens = open.kind == Frame::Kind::kParen;
      if ((parens || open.commas) && cursor_.skip(TokenKind::kComma)) {
        open.is_tuple = true;
        if (!at_tuple_end()) {
          wants_operand_ = true;
          return Step::kContinue;
        }
      }
      if (parens && !cursor_.is(TokenKind::kRightParen)) return cursor_.unexpected("')'");
      if (open.is_tuple) {
        close_sequence(NodeKind::kTuple);
      } else {
        if (parens) cursor_.take();
        frames_.pop_back();
      }
      return parens ? Step::kContinue : Step::kDone;
    }
    case Frame::Kind::kList:
      if (next == TokenKind::kComma) {
        cursor_.take();
        wants_operand_ = !cursor_.is(TokenKind::kRightBracket);
        if (wants_operand_) return Step::kContinue;
      } else if (next != TokenKind::kRightBracket) {
        return cursor_.unexpected("',' or ']'");
      }
      close_sequence(NodeKind::kList);
      return Step::kContinue;
    case Frame::Kind::kDictKey:
      RETURN_IF_ERROR(cursor_.expect(TokenKind::kColon));
      open.kind = Frame::Kind::kDictValue;
      wants_operand_ = true;
      return Step::kContinue;
    case Frame::Kind::kDictValue:
      if (next == TokenKind::kComma) {
        cursor_.take();
        open.kind = Frame::Kind::kDictKey;
        wants_operand_ = !cursor_.is(TokenKind::kRightBrace);
        if (wants_operand_) return Step::kContinue;
      } else if (next != TokenKind::kRightBrace) {
        return cursor_.unexpected("',' or '}'");
      }
      close_sequence(NodeKind::kDict);
      return Step::kContinue;
    case Frame::Kind::kSubscript:
      return finish_subscript_part();
    case Frame::Kind::kArguments:
      RETURN_IF_ERROR(store_argument());
      if (cursor_.skip(TokenKind::kComma)) {
        RETURN_IF_ERROR(next_argument());
      } else if (next == TokenKind::kRightParen) {
        cursor_.take();
        RETURN_IF_ERROR(close_arguments());
      } else {
        return cursor_.unexpected("',' or ')'");
      }
      return Step::kContinue;
    case Frame::Kind::kIfTest:
      if (cursor_.skip_name("else")) {
        open.kind = Frame::Kind::kIfElse;
        open.inline_if = true;
        wants_operand_ = true;
        return Step::kContinue;
      }
      operands_.back() = syntax_.add({.kind = NodeKind::kCondition,
                                      .line = open.line,
                                      .a = operands_.back(),
                                      .b = open.subject});
      frames_.pop_back();
      return Step::kContinue;
    case Frame::Kind::kIfElse: {
      const NodeId otherwise = pop_operand();
      operands_.back() = syntax_.add({.kind = NodeKind::kCondition,
                                      .line = open.line,
                                      .a = operands_.back(),
                                      .b = open.subject,
                                      .c = otherwise});
      frames_.pop_back();
      return Step::kContinue;
    }
  }
  return Step::kDone;
}

/// At the start of an argument or at the closing parenthesis.
Result<void> ExpressionParser::next_argument() {
  Frame& open = frame();
  const ArgumentList& arguments = open.arguments;
  const auto refuse = [&] {
    return fail(cursor_.line(),
                "the arguments of the call are out of order; positional ones come first, then "
                "name=value, *list, **dict");
  };
  if (cursor_.is(TokenKind::kRightParen)) {
    cursor_.take();
    return close_arguments();
  }
  wants_operand_ = true;
  if (cursor_.skip(TokenKind::kMul)) {
    if (arguments.star != kNoId || arguments.double_star != kNoId) return refuse();
    open.pending = Frame::Pending::kStar;
  } else if (cursor_.skip(TokenKind::kPow)) {
    if (arguments.double_star != kNoId) return refuse();
    open.pending = Frame::Pending::kDoubleStar;
  } else if (cursor_.is(TokenKind::kName) && cursor_.peek().kind == TokenKind::kAssign) {
    if (arguments.double_star != kNoId) return refuse();
    open.pending = Frame::Pending::kKeyword;
    open.keyword = syntax_.name_id(cursor_.text(cursor_.take()));
    for (const NameId earlier : arguments.keyword_names) {
      if (earlier == open.keyword) {
        return fail(cursor_.line(), "the call names the same argument twice");
      }
    }
    cursor_.take();
  } else {
    if (arguments.star != kNoId || arguments.double_star != kNoId ||
        !arguments.keyword_names.empty()) {
      return refuse();
    }
    open.pending = Frame::Pending::kPositional;
  }
  return {};
}

Result<void> ExpressionParser::store_argument() {
  Frame& open = frame();
  const NodeId value = pop_operand();
  switch (open.pending) {
    case Frame::Pending::kPositional:
      open.arguments.positional.push_back(value);
      break;
    case Frame::Pending::kKeyword:
      // Looking through the earlier names above is quadratic; nobody writes this many.
      if (open.arguments.keyword_names.size() >= 256) {
        return fail(cursor_.line(), "the call has more than 256 named arguments");
      }
      open.arguments.keyword_names.push_back(open.keyword);
      open.arguments.keyword_values.push_back(value);
      break;
    case Frame::Pending::kStar:
      open.arguments.star = value;
      break;
    case Frame::Pending::kDoubleStar:
      open.arguments.double_star = value;
      break;
  }
  return {};
}

/// Refuses by name what only fails, or differs, when it runs: filters and tests named in strings,
/// methods and functions of Jinja's world that quern does not have.
Result<void> ExpressionParser::check_supported(const Frame& closed) const {
  const ArgumentList& arguments = closed.arguments;
  if (closed.call == NodeKind::kFilter) {
    if (closed.row < 0) return {};
    const std::string_view filter = filters()[static_cast<size_t>(closed.row)].name;
    const bool maps = filter == "map";
    const bool on_attribute = filter == "selectattr" || filter == "rejectattr";
    if (!maps && !on_attribute && filter != "select" && filter != "reject") return {};
    const size_t at = on_attribute ? 1 : 0;
    if (arguments.positional.size() <= at) return {};
    const Node& name = syntax_.node(arguments.positional[at]);
    if (name.kind != NodeKind::kConstant) return {};
    const Constant& constant = syntax_.constants[static_cast<size_t>(name.a)];
    if (constant.kind != Constant::Kind::kString) return {};
    if (maps && find_filter(constant.text) == kNoId) {
      return fail(name.line, refused_filter(constant.text));
    }
    if (!maps && find_test(constant.text) == kNoId) {
      return fail(name.line, refused_test(constant.text));
    }
    return {};
  }
  if (closed.call != NodeKind::kCall) return {};
  const Node& callee = syntax_.node(closed.subject);
  if (callee.kind == NodeKind::kAttribute) {
    const std::string& method = syntax_.names[static_cast<size_t>(callee.b)];
    if (is_missing_method(method)) {
      return fail(closed.line, cat("the method '", method, "' is not supported"));
    }
  }
  if (callee.kind == NodeKind::kName && syntax_.names[static_cast<size_t>(callee.a)] == "lipsum") {
    return fail(closed.line, "the function 'lipsum' is not supported");
  }
  return {};
}

Result<void> ExpressionParser::close_arguments() {
  Frame closed = std::move(frames_.back());
  frames_.pop_back();
  RETURN_IF_ERROR(check_supported(closed));
  if (closed.call == NodeKind::kTest) {
    push_operand(finish_test(closed.subject, std::move(closed.arguments), closed.row,
                             closed.negated, closed.line));
    frame().after_filter = true;
    return {};
  }
  push_operand(add_application(closed.call, closed.subject, std::move(closed.arguments),
                               closed.call == NodeKind::kCall ? 0 : closed.row, closed.line));
  if (closed.call == NodeKind::kFilter) frame().after_filter = true;
  return {};
}

/// At the start of a subscript: a colon there means that the slice has no start.
Result<void> ExpressionParser::next_subscript() {
  if (cursor_.is(TokenKind::kRightBracket)) return cursor_.unexpected("an index or a slice");
  if (!cursor_.is(TokenKind::kColon)) return {};
  wants_operand_ = false;
  operands_.push_back(kNoId);
  return {};
}

Result<ExpressionParser::Step> ExpressionParser::finish_subscript_part() {
  Frame& open = frame();
  NodeId part = pop_operand();
  while (true) {
    const bool at_colon = cursor_.is(TokenKind::kColon);
    if (open.slice_part == 0 && !at_colon && !open.is_slice) break;
    open.slice[open.slice_part] = part;
    open.is_slice = true;
    if (!at_colon || open.slice_part == 2) break;
    cursor_.take();
    ++open.slice_part;
    part = kNoId;
    const TokenKind next = cursor_.kind();
    if (next != TokenKind::kColon && next != TokenKind::kRightBracket &&
        next != TokenKind::kComma) {
      wants_operand_ = true;
      return Step::kContinue;
    }
  }
  if (cursor_.is(TokenKind::kComma)) {
    return fail(cursor_.line(),
                "a subscript with commas is not supported; put a tuple in parentheses");
  }
  if (!cursor_.is(TokenKind::kRightBracket)) return cursor_.unexpected("']'");
  cursor_.take();
  if (open.is_slice) {
    part = syntax_.add({.kind = NodeKind::kSlice,
                        .line = open.line,
                        .a = open.slice[0],
                        .b = open.slice[1],
                        .c = open.slice[2]});
  }
  const NodeId node =
      syntax_.add({.kind = NodeKind::kSubscript, .line = open.line, .a = open.subject, .b = part});
  frames_.pop_back();
  push_operand(node);
  return Step::kContinue;
}

Result<NodeId> ExpressionParser::parse_target(Attributes attributes) {
  struct Open {
    size_t first;
    bool is_tuple;
    int line;
  };
  std::vector<Open> open = {{0, false, cursor_.line()}};
  std::vector<NodeId> targets;
  while (true) {
    if (cursor_.is(TokenKind::kLeftParen)) {
      if (open.size() >= kMaxNesting) {
        return fail(cursor_.line(), cat("the target nests deeper than ", kMaxNesting, " levels"));
      }
      open.push_back({targets.size(), false, cursor_.take().line});
      continue;
    }
    if (!cursor_.is(TokenKind::kName)) return cursor_.unexpected("a name to assign to");
    const Token token = cursor_.take();
    const std::string& name = cursor_.text(token);
    for (const std::string_view reserved : {"true", "false", "none", "True", "False", "None"}) {
      if (name == reserved) return fail(token.line, cat("'", name, "' cannot be assigned to"));
    }
    NodeId target = syntax_.add(
        {.kind = NodeKind::kName, .line = token.line, .a = syntax_.name_id(name), .b = scope_});
    if (attributes == Attributes::kAllow && open.size() == 1 && cursor_.skip(TokenKind::kDot)) {
      ASSIGN_OR_RETURN(const Token member, cursor_.expect(TokenKind::kName));
      target = syntax_.add({.kind = NodeKind::kNamespaceTarget,
                            .line = token.line,
                            .a = target,
                            .b = syntax_.name_id(cursor_.text(member))});
    }
    targets.push_back(target);

    // What follows: a comma and more, a comma and the end, closing parentheses, the end.
    while (true) {
      bool more = false;
      if (cursor_.skip(TokenKind::kComma)) {
        open.back().is_tuple = true;
        more = cursor_.is(TokenKind::kName) ? !cursor_.is_name("in")
                                            : cursor_.is(TokenKind::kLeftParen);
      }
      if (more) break;
      if (open.back().is_tuple) {
        const size_t first = open.back().first;
        const NodeId tuple =
            syntax_.add_with_children({.kind = NodeKind::kTuple, .line = open.back().line},
                                      targets.data() + first, targets.size() - first);
        targets.resize(first);
        targets.push_back(tuple);
      }
      if (open.size() == 1) return targets.back();
      RETURN_IF_ERROR(cursor_.expect(TokenKind::kRightParen));
      open.pop_back();
    }
  }
}

}  // namespace quern::jinja
