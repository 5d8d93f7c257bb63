#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

#include "base/clock.h"
#include "base/ensure.h"
#include "text/pattern_syntax.h"
#include "text/utf8.h"

namespace quern {

namespace {

// What one match may take. Patterns of real tokenizers need a few steps for each character.
constexpr uint32_t kMatchLimit = 2'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kJitStackBytes = 512 * 1024;
// What all matches in one text may take, for patterns that are slow without passing a limit.
constexpr int64_t kTimeLimitNs = 10'000'000'000;

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Code = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Freed<pcre2_compile_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack_free>>;

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct Pattern::Compiled {
  Code code;
  bool has_jit = false;
};

Result<Pattern> Pattern::expression(std::string_view expression, std::string_view what) {
  ASSIGN_OR_RETURN(const std::string translated, to_pcre2_syntax(expression, what));
  const CompileContext context(pcre2_compile_context_create(nullptr));
  ENSURE(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 500);

  int code = 0;
  PCRE2_SIZE offset = 0;
  auto compiled = std::make_shared<Compiled>();
  compiled->code.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_UTF_CHECK, &code,
      &offset, context.get()));
  if (compiled->code == nullptr) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what, ": the pattern \"", expression.substr(0, 200),
                                "\" is no regular expression: ", pcre2_message(code)),
                 .what = std::string(what),
                 .found = std::string(expression.substr(0, 200)),
                 .wanted = "a regular expression"};
  }
  // Without JIT (a machine that forbids writable code) the interpreter does the same, slower.
  compiled->has_jit = pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE) == 0;
  Pattern pattern;
  pattern.compiled_ = std::move(compiled);
  pattern.text_ = std::string(expression);
  return pattern;
}

Pattern Pattern::literal(std::string_view text) {
  ENSURE(!text.empty(), "a literal pattern needs text");
  Pattern pattern;
  pattern.text_ = std::string(text);
  return pattern;
}

Result<void> Pattern::find_all(std::string_view text, std::vector<TextSpan>& matches) const {
  if (compiled_ == nullptr) {
    for (size_t at = text.find(text_); at != std::string_view::npos;
         at = text.find(text_, at + text_.size())) {
      matches.push_back({at, at + text_.size()});
    }
    return {};
  }
  const MatchData data(pcre2_match_data_create_from_pattern(compiled_->code.get(), nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  ENSURE(data != nullptr && context != nullptr);
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_heap_limit(context.get(), kHeapLimitKib);
  JitStack stack;  // made when the 32 KiB that JIT code has of itself are not enough

  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto match_at = [&](size_t at) {
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (compiled_->has_jit) {
      found = pcre2_match(compiled_->code.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                          data.get(), context.get());
      if (found == PCRE2_ERROR_JIT_STACKLIMIT && stack == nullptr) {
        stack.reset(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr));
        pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
        found = pcre2_match(compiled_->code.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                            data.get(), context.get());
      }
    }
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      // The interpreter keeps its state on the heap, up to the heap limit.
      found = pcre2_match(compiled_->code.get(), subject, text.size(), at,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(), context.get());
    }
    return found;
  };

  const int64_t start_ns = steady_clock().now_ns();
  uint32_t tries = 0;
  size_t at = 0;
  size_t last_end = std::string_view::npos;
  while (at <= text.size()) {
    const int found = match_at(at);
    if (found == PCRE2_ERROR_NOMATCH) break;
    const bool slow = (++tries % 16 == 0) && steady_clock().now_ns() - start_ns > kTimeLimitNs;
    if (found < 0 || slow) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("the tokenizer's pattern \"", text_.substr(0, 200),
                                  "\" takes too much work on this text of ", text.size(), " bytes",
                                  slow ? std::string() : cat(": ", pcre2_message(found)),
                                  "; shorten the text"),
                   .what = "pattern",
                   .try_next = "shorten the text"};
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    const TextSpan match{bounds[0], bounds[1]};
    if (match.begin == match.end && match.end == last_end) {
      if (at >= text.size()) break;
      at += read_utf8(text, at).size;
      continue;
    }
    // A lookbehind with \K could start before the end of the last match; \K is not accepted.
    ENSURE(match.begin >= at && match.begin <= match.end, "a match runs forward");
    matches.push_back(match);
    at = match.end;
    last_end = match.end;
  }
  return {};
}

}  // namespace quern
