#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/ensure.h"
#include "text/pattern_syntax.h"
#include "text/utf8.h"

namespace quern {

namespace {

// Steps of backtracking. Patterns of real tokenizers need a few for each match, and in the worst
// case as many as a run of spaces is long; a search that needs more than the first is expensive.
constexpr uint32_t kCheapMatchLimit = 1'000;
constexpr uint32_t kMatchLimit = 200'000;
constexpr size_t kMaxRun = 100'000'000;
// How far a search looks ahead for nothing: longer than almost every word. Further costs fuel, or
// a pattern that looks to the end of the text from everywhere would take quadratic time.
constexpr size_t kWindowBytes = 256;
constexpr uint32_t kMaxLookbehind = 255;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kJitStackBytes = 512 * 1024;

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
  Code anchored;  // the same, only at the place where the search starts
  bool has_jit = false;
};

/// One text searched with one pattern, again and again.
class Pattern::Search {
 public:
  Search(const Compiled& compiled, std::string_view text, PatternFuel& fuel)
      : compiled_(compiled),
        text_(text),
        fuel_(fuel),
        data_(pcre2_match_data_create_from_pattern(compiled.code.get(), nullptr)),
        context_(pcre2_match_context_create(nullptr)) {
    ENSURE(data_ != nullptr && context_ != nullptr);
    pcre2_set_heap_limit(context_.get(), kHeapLimitKib);
    pcre2_set_match_limit(context_.get(), kCheapMatchLimit);
  }

  /// Finds the first match at `at` or later: PCRE2's return value.
  int from(size_t at) {
    while (true) {
      const size_t end = window_end(at, kWindowBytes);
      const int found = cheaply(*compiled_.code, at, end);
      if (found == PCRE2_ERROR_NOMATCH && end < text_.size()) {
        at = end;
        continue;
      }
      size_t last = at;  // the places up to here are tried one by one
      if (found == PCRE2_ERROR_PARTIAL) {
        at = last = std::max(at, match().begin);
      } else if (found == PCRE2_ERROR_MATCHLIMIT) {
        last = end;
      } else {
        return found;
      }
      while (at <= last) {
        const int here = only_at(at);
        if (here != PCRE2_ERROR_NOMATCH || at >= text_.size()) return here;
        at += read_utf8(text_, at).size;
      }
    }
  }
  TextSpan match() const {
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_.get());
    return {bounds[0], bounds[1]};
  }

 private:
  /// Where a window of about `bytes` from `at` ends, between two characters.
  size_t window_end(size_t at, size_t bytes) const {
    if (text_.size() - at <= bytes) return text_.size();
    size_t end = at + bytes;
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80) ++end;
    return end;
  }

  /// Searches as if the text ended at `end`; PCRE2_ERROR_PARTIAL where what follows would matter.
  int run(const pcre2_code& code, size_t at, size_t end, uint32_t options) {
    if (end < text_.size()) options |= PCRE2_PARTIAL_HARD;
    return pcre2_match(&code, reinterpret_cast<PCRE2_SPTR>(text_.data()), end, at,
                       PCRE2_NO_UTF_CHECK | options, data_.get(), context_.get());
  }

  int cheaply(const pcre2_code& code, size_t at, size_t end) {
    if (!compiled_.has_jit) return run(code, at, end, PCRE2_NO_JIT);
    int found = run(code, at, end, 0);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && stack_ == nullptr) {
      stack_.reset(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr));
      pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
      found = run(code, at, end, 0);
    }
    // The interpreter keeps its state on the heap, up to the heap limit.
    return found == PCRE2_ERROR_JIT_STACKLIMIT ? run(code, at, end, PCRE2_NO_JIT) : found;
  }

  /// Tries this one place, with as wide a window and as many steps as it needs. PCRE2's limit of
  /// steps counts anew at each place, so each expensive one takes fuel, and so does each window.
  int only_at(size_t at) {
    for (size_t bytes = kWindowBytes;; bytes *= 4) {
      const size_t end = window_end(at, bytes);
      if (bytes > kWindowBytes && !fuel_.take(end - at)) return PCRE2_ERROR_MATCHLIMIT;
      int found = cheaply(*compiled_.anchored, at, end);
      const auto longest_run = static_cast<uint32_t>(std::min(end - at, kMaxRun));
      for (const uint32_t steps : {kMatchLimit, 4 * longest_run}) {
        if (found != PCRE2_ERROR_MATCHLIMIT || steps < kMatchLimit || !fuel_.take(steps)) break;
        pcre2_set_match_limit(context_.get(), steps);
        found = run(*compiled_.anchored, at, end, PCRE2_NO_JIT);
        pcre2_set_match_limit(context_.get(), kCheapMatchLimit);
      }
      if (found != PCRE2_ERROR_PARTIAL) return found;
    }
  }

  const Compiled& compiled_;
  std::string_view text_;
  PatternFuel& fuel_;
  MatchData data_;
  MatchContext context_;
  JitStack stack_;  // made when the 32 KiB that JIT code has of itself are not enough
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
  const auto compile = [&](uint32_t options) {
    return Code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                                  PCRE2_NO_UTF_CHECK | options,
                              &code, &offset, context.get()));
  };
  compiled->code = compile(0);
  if (compiled->code == nullptr) {
    const bool unknown_property = code == PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY;
    return Error{.code = unknown_property ? ErrorCode::kUnsupported : ErrorCode::kBadFile,
                 .message = cat(what, ": the pattern \"", expression.substr(0, 200),
                                "\" is no regular expression: ", pcre2_message(code)),
                 .what = std::string(what),
                 .found = std::string(expression.substr(0, 200)),
                 .wanted = "a regular expression"};
  }
  uint32_t lookbehind = 0;
  pcre2_pattern_info(compiled->code.get(), PCRE2_INFO_MAXLOOKBEHIND, &lookbehind);
  if (lookbehind > kMaxLookbehind) {
    return Error{
        .code = ErrorCode::kUnsupported,
        .message = cat(what, ": the pattern \"", expression.substr(0, 200), "\" looks back over ",
                       lookbehind, " characters, supported are up to ", kMaxLookbehind),
        .what = std::string(what),
        .found = std::string(expression.substr(0, 200))};
  }
  compiled->anchored = compile(PCRE2_ANCHORED);
  ENSURE(compiled->anchored != nullptr, pcre2_message(code));
  // Without JIT (a machine that forbids writable code) the interpreter does the same, slower.
  constexpr uint32_t kJitOptions = PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD;
  compiled->has_jit = pcre2_jit_compile(compiled->code.get(), kJitOptions) == 0 &&
                      pcre2_jit_compile(compiled->anchored.get(), kJitOptions) == 0;
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

Result<void> Pattern::find_all(std::string_view text, PatternFuel& fuel,
                               std::vector<TextSpan>& matches) const {
  if (compiled_ == nullptr) {
    for (size_t at = text.find(text_); at != std::string_view::npos;
         at = text.find(text_, at + text_.size())) {
      matches.push_back({at, at + text_.size()});
    }
    return {};
  }
  Search search(*compiled_, text, fuel);
  size_t at = 0;
  size_t last_end = std::string_view::npos;
  while (at <= text.size()) {
    const int found = search.from(at);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return Error{.code = ErrorCode::kBadInput,
                   .message = cat("the tokenizer's pattern \"", text_.substr(0, 200),
                                  "\" takes too much work on this text of ", text.size(),
                                  " bytes: ", pcre2_message(found), "; shorten the text"),
                   .what = "pattern",
                   .try_next = "shorten the text"};
    }
    const TextSpan match = search.match();
    if (match.begin == match.end && match.end == last_end) {
      if (at >= text.size()) break;
      at += read_utf8(text, at).size;
      continue;
    }
    // Only \K could make a match begin before the search did; it is not accepted.
    ENSURE(match.begin >= at && match.begin <= match.end, "a match runs forward");
    matches.push_back(match);
    at = match.end;
    last_end = match.end;
  }
  return {};
}

}  // namespace quern
