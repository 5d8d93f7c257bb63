#include "text/template/compiler.h"

#include <algorithm>
#include <vector>

#include "base/cat.h"
#include "text/template/emitter.h"
#include "text/template/expression_parser.h"
#include "text/template/lexer.h"

namespace quern::jinja {

namespace {

constexpr size_t kMaxBlocks = 200;

/// Tags of Jinja that a chat template, which is one text without a loader, has no use for or that
/// the environment of chat templates does not switch on.
constexpr std::string_view kRefusedTags[] = {"autoescape", "block",  "debug",   "do",   "extends",
                                             "from",       "import", "include", "trans"};

class Compiler {
 public:
  explicit Compiler(const Tokens& tokens)
      : cursor_(tokens), expressions_(cursor_, syntax_, scopes_), emitter_(syntax_) {
    functions_.emplace_back();
    for (const std::string_view name : {"caller", "varargs", "kwargs"}) {
      scopes_.watch(syntax_.name_id(name));
    }
  }

  Result<Code> run(std::string what) {
    emitter_.emit(Op::kEnterScope, 1, 0);
    while (!cursor_.is(TokenKind::kEnd)) RETURN_IF_ERROR(read_part());
    if (!blocks_.empty()) {
      const Block& open = blocks_.back();
      return template_error(cursor_.line(),
                            cat("the template ends inside the ", tag_name(open), " of line ",
                                open.line, "; close it with {% ", end_tag(open), " %}"));
    }
    emitter_.emit(Op::kEnd, cursor_.line());
    return finish(std::move(what));
  }

 private:
  struct Block {
    enum class Kind { kIf, kFor, kForElse, kMacro, kCall, kFilter, kSet, kWith, kGeneration };
    Kind kind = Kind::kIf;
    int line = 0;
    ScopeId outer = 0;  // the scope around the block
    // if
    int32_t next_branch = kNoId;     // the jump to it
    std::vector<int32_t> ends = {};  // jumps to the end of the block; of a loop: its breaks
    bool has_else = false;
    // for
    int32_t loop_top = 0;
    int32_t loop_exit = 0;
    // macro, call
    int32_t function = 0;
    int32_t outer_function = 0;
    int32_t jump_over = 0;
    NodeId call = kNoId;
    // filter, set
    NodeId filters = kNoId;
    NodeId target = kNoId;
  };

  Error fail(int line, std::string_view text) const { return template_error(line, text); }

  static std::string_view tag_name(const Block& block) {
    constexpr std::string_view kNames[] = {"if block",  "for loop",   "for loop",
                                           "macro",     "call block", "filter block",
                                           "set block", "with block", "generation block"};
    return kNames[static_cast<size_t>(block.kind)];
  }
  static std::string_view end_tag(const Block& block) {
    constexpr std::string_view kNames[] = {"endif",    "endfor",  "endfor",
                                           "endmacro", "endcall", "endfilter",
                                           "endset",   "endwith", "endgeneration"};
    return kNames[static_cast<size_t>(block.kind)];
  }

  void enter(ScopeId scope) {
    scope_ = scope;
    expressions_.set_scope(scope);
  }

  /// Opens a scope inside the current one; it becomes current, and code that starts it is written.
  void open_scope(int line) {
    enter(scopes_.open(scope_));
    emitter_.emit(Op::kEnterScope, line, scope_);
  }

  Result<void> push_block(Block block) {
    if (blocks_.size() >= kMaxBlocks) {
      return fail(block.line, cat("blocks nest deeper than ", kMaxBlocks, " levels"));
    }
    blocks_.push_back(std::move(block));
    return {};
  }

  /// The end of a tag that opens a block; a colon before it is allowed.
  Result<void> end_opening_tag() {
    cursor_.skip(TokenKind::kColon);
    return end_tag_here();
  }
  Result<void> end_tag_here() {
    RETURN_IF_ERROR(cursor_.expect(TokenKind::kBlockEnd));
    return {};
  }

  Result<void> read_part() {
    const Token token = cursor_.take();
    switch (token.kind) {
      case TokenKind::kData:
        emitter_.emit(
            Op::kEmitText, token.line,
            syntax_.add_constant({.kind = Constant::Kind::kString, .text = cursor_.text(token)}));
        return {};
      case TokenKind::kVariableBegin: {
        ASSIGN_OR_RETURN(const NodeId value,
                         expressions_.parse({.commas = ExpressionForm::Commas::kMakeTuple}));
        RETURN_IF_ERROR(cursor_.expect(TokenKind::kVariableEnd));
        emitter_.expression(value);
        emitter_.emit(Op::kEmit, token.line);
        return {};
      }
      case TokenKind::kBlockBegin:
        return read_tag();
      default:
        return fail(token.line, cat("found ", describe(token.kind), " outside of a tag"));
    }
  }

  Result<void> read_tag() {
    if (!cursor_.is(TokenKind::kName)) return cursor_.unexpected("the name of a tag");
    const Token token = cursor_.take();
    const std::string& tag = cursor_.text(token);
    const int line = token.line;
    if (tag == "if") return read_if(line);
    if (tag == "elif" || tag == "else" || tag.starts_with("end"))
      return read_middle_or_end(tag, line);
    if (tag == "for") return read_for(line);
    if (tag == "set") return read_set(line);
    if (tag == "macro") return read_macro(line);
    if (tag == "call") return read_call(line);
    if (tag == "filter") return read_filter(line);
    if (tag == "with") return read_with(line);
    if (tag == "generation") return read_generation(line);
    if (tag == "print") return read_print(line);
    if (tag == "break" || tag == "continue") return read_jump_out(tag, line);
    const bool refused =
        std::find(std::begin(kRefusedTags), std::end(kRefusedTags), tag) != std::end(kRefusedTags);
    return fail(line, cat("the tag '", tag.substr(0, 60), "' is ",
                          refused ? "not supported in a chat template" : "unknown"));
  }

  // --- if

  /// `test %}`: jumps to the next branch unless it holds.
  Result<void> read_test(Block& block, int line) {
    ASSIGN_OR_RETURN(const NodeId test,
                     expressions_.parse({.commas = ExpressionForm::Commas::kMakeTuple,
                                         .inline_if = ExpressionForm::InlineIf::kLeave}));
    emitter_.expression(test);
    block.next_branch = emitter_.emit(Op::kJumpIfFalse, line);
    return end_opening_tag();
  }

  Result<void> read_if(int line) {
    Block block{.kind = Block::Kind::kIf, .line = line, .outer = scope_};
    RETURN_IF_ERROR(read_test(block, line));
    scopes_.enter_branch(scope_);
    return push_block(std::move(block));
  }

  Result<void> read_elif_or_else(const std::string& tag, int line) {
    Block& block = blocks_.back();
    if (block.has_else)
      return fail(line, cat("'", tag, "' stands behind the else of its if block"));
    block.ends.push_back(emitter_.emit(Op::kJump, line));
    emitter_.land(block.next_branch);
    block.next_branch = kNoId;
    if (tag == "elif") return read_test(block, line);
    block.has_else = true;
    return end_opening_tag();
  }

  void end_if(const Block& block) {
    if (block.next_branch != kNoId) emitter_.land(block.next_branch);
    for (const int32_t jump : block.ends) emitter_.land(jump);
    scopes_.leave_branch(scope_);
  }

  // --- for

  void declare_names(NodeId target, ScopeId scope) {
    std::vector<NodeId> left = {target};
    while (!left.empty()) {
      const Node& node = syntax_.node(left.back());
      left.pop_back();
      if (node.kind == NodeKind::kName) scopes_.declare(scope, node.a);
      for (int32_t i = 0; i < node.num_children; ++i) left.push_back(syntax_.child(node, i));
    }
  }

  /// Whether the body that starts here asks its loop for more than what has been walked so far.
  /// Jinja's filter of a loop runs as the loop goes, unless one of these looks ahead.
  bool body_looks_ahead() const {
    const auto& tokens = cursor_.tokens().list;
    int depth = 0;
    for (size_t i = cursor_.position(); i + 1 < tokens.size(); ++i) {
      if (tokens[i].kind == TokenKind::kBlockBegin) {
        if (cursor_.is_name(tokens[i + 1], "for")) ++depth;
        if (cursor_.is_name(tokens[i + 1], "endfor") && --depth < 0) return false;
      }
      if (!cursor_.is_name(tokens[i], "loop")) continue;
      const bool plain = tokens[i + 1].kind == TokenKind::kDot && i + 2 < tokens.size() &&
                         tokens[i + 2].kind == TokenKind::kName;
      if (!plain) return true;
      const std::string& member = cursor_.text(tokens[i + 2]);
      if (member != "index" && member != "index0" && member != "first" && member != "previtem" &&
          member != "cycle" && member != "changed" && member != "depth" && member != "depth0") {
        return true;
      }
    }
    return false;
  }

  Result<void> read_for(int line) {
    ASSIGN_OR_RETURN(const NodeId target,
                     expressions_.parse_target(ExpressionParser::Attributes::kRefuse));
    if (!cursor_.skip_name("in")) return cursor_.unexpected("'in'");
    ASSIGN_OR_RETURN(const NodeId iterable,
                     expressions_.parse({.commas = ExpressionForm::Commas::kMakeTuple,
                                         .inline_if = ExpressionForm::InlineIf::kLeave}));
    emitter_.expression(iterable);
    emitter_.emit(Op::kLoopBegin, line);

    Block block{.kind = Block::Kind::kFor, .line = line, .outer = scope_};
    const NameId loop = syntax_.name_id("loop");
    block.loop_top = emitter_.position();
    if (cursor_.skip_name("if")) {
      block.loop_exit = emitter_.emit(Op::kLoopTry, line);
      open_scope(line);
      declare_names(target, scope_);
      emitter_.store_target(target, scope_);
      ASSIGN_OR_RETURN(const NodeId test, expressions_.parse({}));
      emitter_.expression(test);
      emitter_.emit(Op::kJumpIfFalse, line, 0, block.loop_top);
      enter(block.outer);
      if (body_looks_ahead()) {
        emitter_.emit(Op::kLoopKeep, line);
        emitter_.emit(Op::kJump, line, 0, block.loop_top);
        emitter_.land(block.loop_exit);
        emitter_.emit(Op::kLoopRestart, line);
        block.loop_top = emitter_.position();
        block.loop_exit = emitter_.emit(Op::kLoopNext, line);
      } else {
        emitter_.emit(Op::kLoopAccept, line);
      }
    } else {
      block.loop_exit = emitter_.emit(Op::kLoopNext, line);
    }
    if (cursor_.is_name("recursive")) {
      return fail(line, "a recursive loop is not supported; use a macro that calls itself");
    }
    open_scope(line);
    scopes_.declare(scope_, loop);
    declare_names(target, scope_);
    emitter_.emit_variable(Op::kLoopStore, line, loop, scope_);
    emitter_.store_target(target, scope_);
    RETURN_IF_ERROR(end_opening_tag());
    return push_block(std::move(block));
  }

  /// At `else` or `endfor`: the end of the body.
  void end_loop_body(const Block& block, int line, bool with_else) {
    emitter_.emit(Op::kLoopDone, line, 0, block.loop_top);
    emitter_.land(block.loop_exit);
    for (const int32_t jump : block.ends) emitter_.land(jump);
    emitter_.emit(Op::kLoopEnd, line, with_else ? 1 : 0);
    enter(block.outer);
  }

  Result<void> read_for_else(int line) {
    Block& block = blocks_.back();
    end_loop_body(block, line, true);
    block.kind = Block::Kind::kForElse;
    block.next_branch = emitter_.emit(Op::kJumpIfFalse, line);
    open_scope(line);
    return end_opening_tag();
  }

  /// break and continue: what blocks inside the loop have captured so far is dropped.
  Result<void> read_jump_out(const std::string& tag, int line) {
    int captures = 0;
    size_t at = blocks_.size();
    for (; at > 0; --at) {
      const Block::Kind kind = blocks_[at - 1].kind;
      if (kind == Block::Kind::kFor) break;
      if (kind == Block::Kind::kMacro || kind == Block::Kind::kCall ||
          kind == Block::Kind::kGeneration) {
        at = 0;
        break;
      }
      if (kind == Block::Kind::kFilter || kind == Block::Kind::kSet) ++captures;
    }
    if (at == 0) return fail(line, cat("'", tag, "' stands outside of a loop"));
    for (int i = 0; i < captures; ++i) emitter_.emit(Op::kCaptureDrop, line);
    Block& loop = blocks_[at - 1];
    if (tag == "break") {
      loop.ends.push_back(emitter_.emit(Op::kJump, line));
    } else {
      emitter_.emit(Op::kJump, line, 0, loop.loop_top);
    }
    return end_tag_here();
  }

  // --- set, filter, with, generation, print

  void store_names(NodeId target) {
    std::vector<NodeId> left = {target};
    while (!left.empty()) {
      const Node& node = syntax_.node(left.back());
      left.pop_back();
      if (node.kind == NodeKind::kName) scopes_.store(scope_, node.a);
      if (node.kind == NodeKind::kNamespaceTarget) scopes_.load(scope_, syntax_.node(node.a).a);
      for (int32_t i = 0; i < node.num_children; ++i) left.push_back(syntax_.child(node, i));
    }
  }

  Result<void> read_set(int line) {
    ASSIGN_OR_RETURN(const NodeId target,
                     expressions_.parse_target(ExpressionParser::Attributes::kAllow));
    if (cursor_.skip(TokenKind::kAssign)) {
      ASSIGN_OR_RETURN(const NodeId value,
                       expressions_.parse({.commas = ExpressionForm::Commas::kMakeTuple}));
      emitter_.expression(value);
      store_names(target);
      emitter_.store_target(target, scope_);
      return end_tag_here();
    }
    Block block{.kind = Block::Kind::kSet, .line = line, .outer = scope_, .target = target};
    open_scope(line);
    ASSIGN_OR_RETURN(block.filters,
                     expressions_.parse_filter_chain(ExpressionParser::FirstPipe::kRequired));
    emitter_.emit(Op::kCaptureBegin, line);
    RETURN_IF_ERROR(end_opening_tag());
    return push_block(std::move(block));
  }

  void end_set(const Block& block, int line) {
    emitter_.emit(Op::kCaptureEnd, line);
    if (block.filters != kNoId) emitter_.expression(block.filters);
    enter(block.outer);
    store_names(block.target);
    emitter_.store_target(block.target, scope_);
  }

  Result<void> read_filter(int line) {
    Block block{.kind = Block::Kind::kFilter, .line = line, .outer = scope_};
    open_scope(line);
    ASSIGN_OR_RETURN(block.filters,
                     expressions_.parse_filter_chain(ExpressionParser::FirstPipe::kAbsent));
    emitter_.emit(Op::kCaptureBegin, line);
    RETURN_IF_ERROR(end_opening_tag());
    return push_block(std::move(block));
  }

  void end_filter(const Block& block, int line) {
    emitter_.emit(Op::kCaptureEnd, line);
    emitter_.expression(block.filters);
    emitter_.emit(Op::kEmit, line, 1);
    enter(block.outer);
  }

  Result<void> read_with(int line) {
    const ScopeId outer = scope_;
    open_scope(line);
    const ScopeId inner = scope_;
    enter(outer);
    while (!cursor_.is(TokenKind::kBlockEnd) && !cursor_.is(TokenKind::kColon)) {
      ASSIGN_OR_RETURN(const NodeId target,
                       expressions_.parse_target(ExpressionParser::Attributes::kRefuse));
      RETURN_IF_ERROR(cursor_.expect(TokenKind::kAssign));
      ASSIGN_OR_RETURN(const NodeId value, expressions_.parse({}));
      emitter_.expression(value);
      declare_names(target, inner);
      emitter_.store_target(target, inner);
      if (!cursor_.skip(TokenKind::kComma)) break;
    }
    enter(inner);
    RETURN_IF_ERROR(end_opening_tag());
    return push_block({.kind = Block::Kind::kWith, .line = line, .outer = outer});
  }

  /// Marks what the model wrote, for training; it renders as what is inside, in a scope of its own.
  Result<void> read_generation(int line) {
    Block block{.kind = Block::Kind::kGeneration, .line = line, .outer = scope_};
    open_scope(line);
    RETURN_IF_ERROR(end_opening_tag());
    return push_block(std::move(block));
  }

  Result<void> read_print(int line) {
    while (!cursor_.is(TokenKind::kBlockEnd)) {
      ASSIGN_OR_RETURN(const NodeId value, expressions_.parse({}));
      emitter_.expression(value);
      emitter_.emit(Op::kEmit, line);
      if (!cursor_.skip(TokenKind::kComma)) break;
    }
    return end_tag_here();
  }

  // --- macro, call

  /// Starts the body of a macro: its code is jumped over where it stands.
  Block open_function(Block::Kind kind, NameId name, int line) {
    Block block{.kind = kind, .line = line, .outer = scope_};
    block.function = static_cast<int32_t>(functions_.size());
    block.outer_function = function_;
    block.jump_over = emitter_.emit(Op::kJump, line);
    functions_[static_cast<size_t>(function_)].makes_macros = true;
    functions_.emplace_back();
    functions_.back().name = name;
    functions_.back().entry = emitter_.position();
    functions_.back().scope = scopes_.open_function(scope_, block.function);
    function_ = block.function;
    enter(functions_.back().scope);
    emitter_.emit(Op::kEnterScope, line, scope_);
    return block;
  }

  /// (a, b=default): the defaults run at the start of the body, where they were not given.
  Result<void> read_signature() {
    RETURN_IF_ERROR(cursor_.expect(TokenKind::kLeftParen));
    bool had_default = false;
    while (!cursor_.is(TokenKind::kRightParen)) {
      ASSIGN_OR_RETURN(const Token token, cursor_.expect(TokenKind::kName));
      const NameId name = syntax_.name_id(cursor_.text(token));
      for (const Parameter& earlier : functions_[static_cast<size_t>(function_)].parameters) {
        if (earlier.name == name) {
          return fail(token.line, cat("the parameter '", cursor_.text(token), "' stands twice"));
        }
      }
      if (functions_[static_cast<size_t>(function_)].parameters.size() >= 256) {
        return fail(token.line, "a macro has at most 256 parameters");
      }
      scopes_.declare(scope_, name);
      Parameter parameter{.name = name};
      if (cursor_.skip(TokenKind::kAssign)) {
        parameter.has_default = had_default = true;
        ASSIGN_OR_RETURN(const NodeId value, expressions_.parse({}));
        const int32_t given = emitter_.emit_variable(Op::kJumpIfGiven, token.line, name, scope_);
        emitter_.expression(value);
        emitter_.emit_variable(Op::kStore, token.line, name, scope_);
        emitter_.land(given);
      } else if (had_default) {
        return fail(token.line, cat("the parameter '", cursor_.text(token),
                                    "' without a default stands behind one with a default"));
      }
      functions_[static_cast<size_t>(function_)].parameters.push_back(parameter);
      if (!cursor_.skip(TokenKind::kComma)) break;
    }
    RETURN_IF_ERROR(cursor_.expect(TokenKind::kRightParen));
    return {};
  }

  Result<void> read_macro(int line) {
    ASSIGN_OR_RETURN(const Token token, cursor_.expect(TokenKind::kName));
    const NameId name = syntax_.name_id(cursor_.text(token));
    scopes_.store(scope_, name);
    Block block = open_function(Block::Kind::kMacro, name, line);
    RETURN_IF_ERROR(read_signature());
    RETURN_IF_ERROR(end_opening_tag());
    return push_block(std::move(block));
  }

  Result<void> read_call(int line) {
    Block block = open_function(Block::Kind::kCall, kNoId, line);
    if (cursor_.is(TokenKind::kLeftParen)) RETURN_IF_ERROR(read_signature());
    const ScopeId inner = scope_;
    enter(block.outer);
    ASSIGN_OR_RETURN(block.call, expressions_.parse({}));
    if (syntax_.node(block.call).kind != NodeKind::kCall) {
      return fail(line, "a call block needs the call of a macro");
    }
    enter(inner);
    RETURN_IF_ERROR(end_opening_tag());
    return push_block(std::move(block));
  }

  void end_function(const Block& block, int line) {
    emitter_.emit(Op::kReturn, line);
    emitter_.land(block.jump_over);
    const Function& function = functions_[static_cast<size_t>(block.function)];
    for (const NameId name : hidden_names()) {
      if (uses_hidden(block.function, name)) scopes_.declare(function.scope, name);
    }
    function_ = block.outer_function;
    enter(block.outer);
    if (block.kind == Block::Kind::kMacro) {
      emitter_.emit(Op::kMakeMacro, block.line, block.function);
      emitter_.emit_variable(Op::kStore, block.line, function.name, scope_);
    } else {
      emitter_.call_with_caller(block.call, block.function);
      emitter_.emit(Op::kEmit, block.line);
    }
  }

  std::vector<NameId> hidden_names() {
    return {syntax_.name_id("caller"), syntax_.name_id("varargs"), syntax_.name_id("kwargs")};
  }
  /// Whether a macro gets one of those without declaring it.
  bool uses_hidden(int32_t function, NameId name) const {
    const auto& parameters = functions_[static_cast<size_t>(function)].parameters;
    const bool declared = std::any_of(parameters.begin(), parameters.end(),
                                      [&](const Parameter& given) { return given.name == name; });
    return !declared && scopes_.mentions(function, name);
  }

  // --- ends

  Result<void> read_middle_or_end(const std::string& tag, int line) {
    if (blocks_.empty()) return fail(line, cat("'", tag.substr(0, 60), "' closes nothing"));
    const Block::Kind kind = blocks_.back().kind;
    if (kind == Block::Kind::kIf && (tag == "elif" || tag == "else")) {
      return read_elif_or_else(tag, line);
    }
    if (kind == Block::Kind::kFor && tag == "else") return read_for_else(line);
    if (tag != end_tag(blocks_.back())) {
      return fail(
          line, cat("found '", tag.substr(0, 60), "' inside the ", tag_name(blocks_.back()),
                    " of line ", blocks_.back().line, ", wanted '", end_tag(blocks_.back()), "'"));
    }
    const Block block = std::move(blocks_.back());
    blocks_.pop_back();
    switch (block.kind) {
      case Block::Kind::kIf:
        end_if(block);
        break;
      case Block::Kind::kFor:
        end_loop_body(block, line, false);
        break;
      case Block::Kind::kForElse:
        emitter_.land(block.next_branch);
        enter(block.outer);
        break;
      case Block::Kind::kMacro:
      case Block::Kind::kCall:
        end_function(block, line);
        break;
      case Block::Kind::kFilter:
        end_filter(block, line);
        break;
      case Block::Kind::kSet:
        end_set(block, line);
        break;
      case Block::Kind::kWith:
      case Block::Kind::kGeneration:
        enter(block.outer);
        break;
    }
    return end_tag_here();
  }

  Code finish(std::string what) {
    scopes_.resolve();
    emitter_.resolve(scopes_);
    Code code;
    code.what = std::move(what);
    code.instructions = emitter_.take_code();
    code.constants = std::move(syntax_.constants);
    code.calls = emitter_.take_calls();
    for (size_t i = 0; i < functions_.size(); ++i) {
      Function& function = functions_[i];
      const auto id = static_cast<int32_t>(i);
      function.num_slots = scopes_.num_slots(id);
      for (Parameter& parameter : function.parameters) {
        parameter.slot = scopes_.find(function.scope, parameter.name).slot;
      }
      if (i == 0) continue;
      int32_t* const slots[] = {&function.caller_slot, &function.varargs_slot,
                                &function.kwargs_slot};
      const std::vector<NameId> names = hidden_names();
      for (size_t n = 0; n < names.size(); ++n) {
        if (uses_hidden(id, names[n])) *slots[n] = scopes_.find(function.scope, names[n]).slot;
      }
    }
    code.functions = std::move(functions_);
    for (ScopeId scope = 0; scope < scopes_.num_scopes(); ++scope) {
      code.scope_starts.push_back(scopes_.starts(scope));
    }
    code.names = std::move(syntax_.names);
    return code;
  }

  TokenCursor cursor_;
  Syntax syntax_;
  ScopeTable scopes_;
  ExpressionParser expressions_;
  Emitter emitter_;
  std::vector<Block> blocks_;
  std::vector<Function> functions_;
  ScopeId scope_ = 0;
  int32_t function_ = 0;
};

}  // namespace

Result<Code> compile_template(std::string_view source, std::string what) {
  ASSIGN_OR_RETURN(const Tokens tokens, tokenize_template(source));
  return Compiler(tokens).run(std::move(what));
}

}  // namespace quern::jinja
