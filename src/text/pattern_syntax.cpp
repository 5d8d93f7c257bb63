#include "text/pattern_syntax.h"

#include <array>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace quern {

namespace {

constexpr size_t kMaxExpressionBytes = 32 * 1024;

constexpr std::string_view kSpaces =
    "\\t-\\r\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"
    "\\x{3000}";
constexpr std::string_view kNotSpaces =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"
    "\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}";
constexpr std::string_view kWordCategories = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}";

void append_hex(std::string& out, char32_t value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string digits;
  do {
    digits.insert(digits.begin(), kDigits[value & 15]);
    value >>= 4;
  } while (value != 0);
  out += "\\x{" + digits + "}";
}

void append_ranges(std::string& out, const CodePointRange* first, const CodePointRange* last) {
  for (; first != last; ++first) {
    append_hex(out, first->first);
    if (first->last == first->first) continue;
    out += '-';
    append_hex(out, first->last);
  }
}

/// \w as a member of a class; by itself it has six characters more.
std::string word_set(bool inside_class) {
  std::string out(kWordCategories);
  append_ranges(out, std::begin(kNewInWord), std::end(kNewInWord));
  if (!inside_class) {
    append_ranges(out, std::begin(kWordOutsideClasses), std::end(kWordOutsideClasses));
  }
  return out;
}

bool is_hex_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// Reads the pattern from left to right with one explicit stack for nested classes.
class Translator {
 public:
  Translator(std::string_view expression, std::string_view what) : in_(expression), what_(what) {}

  Result<std::string> run() {
    if (in_.size() > kMaxExpressionBytes) {
      return refuse(cat("is ", in_.size(), " bytes long, the limit is ", kMaxExpressionBytes));
    }
    while (at_ < in_.size()) {
      const char c = in_[at_];
      Result<void> done;
      if (c == '\\') {
        done = escape_outside();
      } else if (c == '[') {
        done = character_class();
      } else if (c == '(') {
        done = group();
      } else if (c == '{') {
        done = interval();
      } else if (c == '.') {
        out_ += c;
        ++at_;
      } else {
        out_ += c;
        ++at_;
      }
      RETURN_IF_ERROR(std::move(done));
    }
    return std::move(out_);
  }

 private:
  Error refuse(std::string_view why) const {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat(what_, ": the pattern \"", in_.substr(0, 200), "\" ", why),
                 .what = std::string(what_),
                 .found = std::string(in_.substr(0, 200))};
  }

  bool starts_with(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  char peek(size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  /// \p{Name}, \P{Name}, \p{^Name}; `at_` is on the backslash. Moves behind it.
  Result<std::pair<std::string_view, bool>> property() {
    bool negative = in_[at_ + 1] == 'P';
    if (peek(2) != '{') return refuse("has \\p without a name in braces");
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) return refuse("has \\p{ without }");
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    if (name.starts_with('^')) {
      negative = !negative;
      name.remove_prefix(1);
    }
    // Oniguruma's names of the POSIX classes, which mean other sets in PCRE2.
    constexpr std::string_view kPosix =
        " alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit ";
    std::string lower(name);
    for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    if (name.size() > 2 && kPosix.find(cat(" ", lower, " ")) != std::string_view::npos) {
      return refuse(cat("uses \\p{", name, "}, which is not supported"));
    }
    for (const char c : name) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
      if (!letter) return refuse("has a property that is no plain name");
    }
    at_ = end + 1;
    return std::pair{name, negative};
  }

  /// The members of a property as they stand inside a class.
  static std::string property_set(std::string_view name) {
    std::string set = cat("\\p{", name, "}");
    for (const PropertyDifference& difference : kPropertyDifferences) {
      if (name == difference.name) append_ranges(set, difference.first, difference.last);
    }
    return set;
  }

  /// Escapes that mean one character in both; `at_` is on the backslash. Appends and moves on, or
  /// returns false without moving.
  Result<bool> literal_escape() {
    const char c = peek(1);
    if (c == 'u') {
      for (size_t i = 2; i < 6; ++i) {
        if (!is_hex_digit(peek(i))) return refuse("has \\u without four hexadecimal digits");
      }
      out_ += cat("\\x{", in_.substr(at_ + 2, 4), "}");
      at_ += 6;
      return true;
    }
    if (c == 'x') {
      if (peek(2) == '{') {
        const size_t end = in_.find('}', at_);
        if (end == std::string_view::npos) return refuse("has \\x{ without }");
        out_ += in_.substr(at_, end + 1 - at_);
        at_ = end + 1;
        return true;
      }
      // Two digits name a byte in Oniguruma; below 0x80 that is also the character.
      if (!is_hex_digit(peek(2)) || !is_hex_digit(peek(3)) || peek(2) > '7') {
        return refuse("names a byte with \\x; write \\x{...}");
      }
      out_ += in_.substr(at_, 4);
      at_ += 4;
      return true;
    }
    constexpr std::string_view kControls = "tnrfvae";
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    if (letter && kControls.find(c) != std::string_view::npos) {
      // \v is one character in Oniguruma and a set in PCRE2.
      out_ += c == 'v' ? std::string("\\x0b") : std::string{'\\', c};
      at_ += 2;
      return true;
    }
    if (letter || digit || c == '\0') return false;
    const Utf8Step step = read_utf8(in_, at_ + 1);
    if (step.size == 1) out_ += '\\';
    out_ += in_.substr(at_ + 1, step.size);
    at_ += 1 + step.size;
    return true;
  }

  Result<void> escape_outside() {
    ASSIGN_OR_RETURN(const bool literal, literal_escape());
    if (literal) return {};
    const char c = peek(1);
    if (c == 'p' || c == 'P') {
      ASSIGN_OR_RETURN(const auto named, property());
      out_ += cat(named.second ? "[^" : "[", property_set(named.first), "]");
      return {};
    }
    const std::string word = word_set(false);
    std::string replacement;
    switch (c) {
      case 's':
        replacement = cat("[", kSpaces, "]");
        break;
      case 'S':
        replacement = cat("[^", kSpaces, "]");
        break;
      case 'w':
        replacement = cat("[", word, "]");
        break;
      case 'W':
        replacement = cat("[^", word, "]");
        break;
      case 'd':
        replacement = cat("[", property_set("Nd"), "]");
        break;
      case 'D':
        replacement = cat("[^", property_set("Nd"), "]");
        break;
      case 'h':
        replacement = "[0-9a-fA-F]";
        break;
      case 'H':
        replacement = "[^0-9a-fA-F]";
        break;
      case 'b':
        replacement =
            cat("(?:(?<=[", word, "])(?![", word, "])|(?<![", word, "])(?=[", word, "]))");
        break;
      case 'B':
        replacement =
            cat("(?:(?<=[", word, "])(?=[", word, "])|(?<![", word, "])(?![", word, "]))");
        break;
      case 'A':
      case 'z':
      case 'Z':
      case 'R':
        replacement = std::string{'\\', c};
        break;
      case '0':
        if (peek(2) >= '0' && peek(2) <= '9') return refuse("has an octal escape; write \\x{...}");
        replacement = "\\x00";
        break;
      default:
        return refuse(
            cat("uses \\", std::string(c == '\0' ? 0u : 1u, c), ", which is not supported"));
    }
    out_ += replacement;
    at_ += 2;
    return {};
  }

  Result<void> escape_inside() {
    ASSIGN_OR_RETURN(const bool literal, literal_escape());
    if (literal) return {};
    const char c = peek(1);
    if (c == 'p' || c == 'P') {
      ASSIGN_OR_RETURN(const auto named, property());
      // Letters newer than Unicode 14 stay in a negated property: nobody's text has shown them.
      out_ += named.second ? cat("\\P{", named.first, "}") : property_set(named.first);
      return {};
    }
    switch (c) {
      case 's':
        out_ += kSpaces;
        break;
      case 'S':
        out_ += kNotSpaces;
        break;
      case 'w':
        out_ += word_set(true);
        break;
      case 'd':
        out_ += property_set("Nd");
        break;
      case 'D':
        out_ += "\\P{Nd}";
        break;
      case 'h':
        out_ += "0-9a-fA-F";
        break;
      case 'b':
        out_ += "\\x08";
        break;
      case '0':
        if (peek(2) >= '0' && peek(2) <= '9') return refuse("has an octal escape; write \\x{...}");
        out_ += "\\x00";
        break;
      default:
        return refuse(cat("uses \\", std::string(c == '\0' ? 0u : 1u, c),
                          " inside [], which is not supported"));
    }
    at_ += 2;
    return {};
  }

  /// [...]: a class inside a class is a union, written flat.
  Result<void> character_class() {
    out_ += '[';
    ++at_;
    if (peek(0) == '^') {
      out_ += '^';
      ++at_;
    }
    int depth = 1;
    bool first = true;  // a ] that stands first is itself
    while (depth > 0) {
      if (at_ >= in_.size()) return refuse("has [ without ]");
      const char c = in_[at_];
      if (c == '\\') {
        RETURN_IF_ERROR(escape_inside());
      } else if (c == ']' && first) {
        out_ += "\\]";
        ++at_;
      } else if (c == ']') {
        ++at_;
        --depth;
      } else if (starts_with("[:")) {
        const size_t end = in_.find(":]", at_);
        if (end == std::string_view::npos) return refuse("has [: without :]");
        const std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
        if (name == "space") {
          out_ += kSpaces;
        } else if (name == "digit") {
          out_ += property_set("Nd");
        } else if (name == "word") {
          out_ += word_set(true);
        } else if (name == "xdigit") {
          out_ += "0-9a-fA-F";
        } else {
          return refuse(cat("uses [:", name, ":], which is not supported"));
        }
        at_ = end + 2;
      } else if (c == '[') {
        if (peek(1) == '^') return refuse("negates a class inside a class, which is not supported");
        ++at_;
        ++depth;
        first = true;
        continue;
      } else if (starts_with("&&")) {
        return refuse("intersects classes with &&, which is not supported");
      } else {
        out_ += c;
        ++at_;
      }
      first = false;
    }
    out_ += ']';
    return {};
  }

  /// ( and what follows it: only kinds of groups that mean the same.
  Result<void> group() {
    if (peek(1) == '*') return refuse("uses (*, which is not supported");
    if (peek(1) != '?') {
      out_ += '(';
      ++at_;
      return {};
    }
    if (starts_with("(?#")) {
      const size_t end = in_.find(')', at_);
      if (end == std::string_view::npos) return refuse("has (?# without )");
      at_ = end + 1;
      return {};
    }
    constexpr std::array<std::string_view, 6> kSame = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    for (const std::string_view opening : kSame) {
      if (!starts_with(opening)) continue;
      out_ += opening;
      at_ += opening.size();
      return {};
    }
    // Options: i means the same, m is PCRE2's s, x the same.
    size_t end = at_ + 2;
    std::string options;
    while (end < in_.size() && (in_[end] == 'i' || in_[end] == 'm' || in_[end] == '-')) {
      options += in_[end] == 'm' ? 's' : in_[end];
      ++end;
    }
    if (!options.empty() && end < in_.size() && (in_[end] == ':' || in_[end] == ')')) {
      out_ += cat("(?", options, in_[end]);
      at_ = end + 1;
      return {};
    }
    return refuse(cat("uses the group ", in_.substr(at_, 4), "..., which is not supported"));
  }

  /// {n}, {n,}, {,m}, {n,m}, {n,m}?; any other { is itself.
  Result<void> interval() {
    size_t end = at_ + 1;
    bool comma = false, low = false, high = false;
    for (; end < in_.size() && in_[end] != '}'; ++end) {
      if (in_[end] == ',' && !comma) {
        comma = true;
      } else if (in_[end] >= '0' && in_[end] <= '9') {
        (comma ? high : low) = true;
      } else {
        break;
      }
    }
    const bool closed = end < in_.size() && in_[end] == '}';
    if (!closed || (!low && !high)) {
      out_ += "\\{";
      ++at_;
      return {};
    }
    const char after = end + 1 < in_.size() ? in_[end + 1] : '\0';
    if (after == '+' || (after == '?' && !comma)) {
      return refuse(cat("uses {..}", std::string(1, after), ", which is not supported"));
    }
    out_ += '{';
    if (!low) out_ += '0';
    out_ += in_.substr(at_ + 1, end - at_);
    at_ = end + 1;
    return {};
  }

  std::string_view in_;
  std::string_view what_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> to_pcre2_syntax(std::string_view expression, std::string_view what) {
  return Translator(expression, what).run();
}

}  // namespace quern
