#include "text/template/text_methods.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/cat.h"
#include "text/template/escape.h"
#include "text/template/operations.h"
#include "text/template/percent_format.h"
#include "text/template/search.h"

namespace quern::jinja {

namespace {

using Args = std::span<const Value>;

bool need_text(Runtime& runtime, const Value& value, std::string_view method) {
  if (value.is_text()) return true;
  if (value.is_undefined()) {
    fail_undefined(runtime, value);
  } else {
    runtime.fail(cat(method, "() needs a string, found ", type_name(value.type())));
  }
  return false;
}

/// An integer argument that may be left out.
bool read_integer(Runtime& runtime, const Value& value, int64_t otherwise, int64_t& out) {
  out = otherwise;
  if (value.is_missing()) return true;
  if (value.is_undefined()) {
    fail_undefined(runtime, value);
    return false;
  }
  if (!value.is_integral()) {
    runtime.fail(cat("an integer is needed, found ", type_name(value.type())));
    return false;
  }
  out = value.as_integer();
  return true;
}

/// `value` as it goes into a result next to `subject`: escaped if that one is safe HTML.
Value like_subject(Runtime& runtime, const Value& subject, const Value& value) {
  if (!subject.is_markup() || value.is_markup()) return value;
  TextBuilder out(runtime);
  append_escaped(out, value.traced());
  return out.finish(true);
}

Value piece(Runtime& runtime, const Value& subject, size_t begin, size_t end) {
  return runtime.text(subject.traced().slice(begin, end), subject.is_markup());
}

bool in_set(std::string_view set, std::string_view character) {
  for (size_t at = 0; at < set.size();) {
    const size_t size = code_point_at(set, at).size;
    if (set.substr(at, size) == character) return true;
    at += size;
  }
  return false;
}

/// The characters of a text in order, together with where they stand.
template <typename Visit>
void for_each_character(std::string_view bytes, Visit visit) {
  for (size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    visit(at, c);
    at += c.size;
  }
}

/// Whether the text has a character and all of them pass.
template <typename Passes>
Value all_characters(Runtime& runtime, const Value& text, Passes passes) {
  runtime.spend_bytes(text.bytes().size());
  bool all = !text.bytes().empty();
  for_each_character(text.bytes(),
                     [&](size_t, const CodePoint& c) { all = all && passes(c.value); });
  return Value::boolean(all);
}

void append_lowered(std::string& out, std::string_view bytes, size_t at, uint32_t c) {
  constexpr uint32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2;
  if (c == kCapitalSigma && is_final_sigma(bytes, at)) {
    append_utf8(out, kFinalSigma);
  } else {
    append_cased(out, c, Case::kLower);
  }
}

/// Every character mapped by `map(out, at, code point)`; each result has its character's origin.
template <typename Map>
Value map_characters(Runtime& runtime, const Value& text, Map map) {
  const TracedText& traced = text.traced();
  TextBuilder out(runtime);
  std::string mapped;
  if (traced.edges().empty() || (traced.edges().size() == 1 && traced.edges()[0] == 0)) {
    // One origin: the characters go out together.
    runtime.spend_bytes(traced.size());
    if (!runtime.reserve(static_cast<int64_t>(traced.size()) * 3)) return {};
    for_each_character(traced.bytes(),
                       [&](size_t at, const CodePoint& c) { map(mapped, at, c.value); });
    out.append(mapped, traced.origin_at(0));
    return out.finish(text.is_markup());
  }
  for_each_character(traced.bytes(), [&](size_t at, const CodePoint& c) {
    if (runtime.failed()) return;
    mapped.clear();
    map(mapped, at, c.value);
    out.append(mapped, traced.origin_at(at));
  });
  return out.finish(text.is_markup());
}

bool is_cased(uint32_t c) { return is_lower(c) || is_upper(c) || is_title(c); }

Value title(Runtime& runtime, const Value& self, Args) {
  bool after_cased = false;
  return map_characters(runtime, self, [&](std::string& out, size_t at, uint32_t c) {
    if (after_cased) {
      append_lowered(out, self.bytes(), at, c);
    } else {
      append_cased(out, c, Case::kTitle);
    }
    after_cased = is_cased(c);
  });
}

Value swapcase(Runtime& runtime, const Value& self, Args) {
  return map_characters(runtime, self, [&](std::string& out, size_t at, uint32_t c) {
    if (is_upper(c)) {
      append_lowered(out, self.bytes(), at, c);
    } else {
      append_cased(out, c, is_lower(c) ? Case::kUpper : Case::kLower);
    }
  });
}

Value casefold(Runtime& runtime, const Value& self, Args) {
  return map_characters(runtime, self,
                        [](std::string& out, size_t, uint32_t c) { append_case_folded(out, c); });
}

/// The byte range of characters [start, end) as find() and its kin take them.
struct Window {
  size_t begin = 0, end = 0;
  bool valid = false;  // false also where start lies beyond the end
};

Window window_of(Runtime& runtime, const Value& self, const Value& start, const Value& end) {
  const int64_t size = length(runtime, self);
  const auto bound = [&](const Value& value, int64_t otherwise) -> std::optional<int64_t> {
    int64_t at = otherwise;
    if (!value.is_none() && !read_integer(runtime, value, otherwise, at)) return std::nullopt;
    if (at < 0) at = at < -size ? 0 : at + size;
    return at;
  };
  const auto first = bound(start, 0);
  const auto last = bound(end, size);
  if (!first || !last || *first > size || *first > *last) return {};
  const bool ascii = text_is_ascii(self);
  const auto offset = [&](int64_t at) {
    at = std::min(at, size);
    return ascii ? static_cast<size_t>(at) : offset_of(self.bytes(), at);
  };
  return {.begin = offset(*first), .end = offset(*last), .valid = true};
}

enum class Direction { kForward, kBackward };

/// The character index of the part, -1 if it is not there.
int64_t find_part(Runtime& runtime, const Value& self, Args args, Direction direction) {
  if (!need_text(runtime, args[0], "find")) return -1;
  const Window window = window_of(runtime, self, args[1], args[2]);
  if (!window.valid) return -1;
  runtime.spend_bytes(self.bytes().size());
  const std::string_view searched =
      std::string_view(self.bytes()).substr(window.begin, window.end - window.begin);
  const size_t found = direction == Direction::kForward ? find_first(searched, args[0].bytes())
                                                        : find_last(searched, args[0].bytes());
  if (found == std::string_view::npos) return -1;
  return count_code_points(std::string_view(self.bytes()).substr(0, window.begin + found));
}

Value find(Runtime& runtime, const Value& self, Args args) {
  return Value::integer(find_part(runtime, self, args, Direction::kForward));
}
Value rfind(Runtime& runtime, const Value& self, Args args) {
  return Value::integer(find_part(runtime, self, args, Direction::kBackward));
}
Value index(Runtime& runtime, const Value& self, Args args) {
  const int64_t at = find_part(runtime, self, args, Direction::kForward);
  return at < 0 ? runtime.fail("index() does not find the string") : Value::integer(at);
}
Value rindex(Runtime& runtime, const Value& self, Args args) {
  const int64_t at = find_part(runtime, self, args, Direction::kBackward);
  return at < 0 ? runtime.fail("rindex() does not find the string") : Value::integer(at);
}

Value count(Runtime& runtime, const Value& self, Args args) {
  if (!need_text(runtime, args[0], "count")) return {};
  const Window window = window_of(runtime, self, args[1], args[2]);
  if (!window.valid) return Value::integer(0);
  runtime.spend_bytes(self.bytes().size());
  const std::string_view searched =
      std::string_view(self.bytes()).substr(window.begin, window.end - window.begin);
  const std::string& part = args[0].bytes();
  if (part.empty()) return Value::integer(count_code_points(searched) + 1);
  int64_t found = 0;
  for (size_t at = find_first(searched, part); at != std::string_view::npos;
       at = find_first(searched, part, at + part.size())) {
    ++found;
  }
  return Value::integer(found);
}

/// startswith and endswith take one string or a tuple of them.
Value has_affix(Runtime& runtime, const Value& self, Args args, Direction direction) {
  const Window window = window_of(runtime, self, args[1], args[2]);
  if (runtime.failed()) return {};
  const std::string_view searched =
      std::string_view(self.bytes()).substr(window.begin, window.end - window.begin);
  const auto matches = [&](const Value& affix) {
    if (!need_text(runtime, affix, direction == Direction::kForward ? "startswith" : "endswith")) {
      return false;
    }
    runtime.spend_bytes(affix.bytes().size());
    return window.valid && (direction == Direction::kForward ? searched.starts_with(affix.bytes())
                                                             : searched.ends_with(affix.bytes()));
  };
  if (!args[0].is(Type::kTuple)) return Value::boolean(matches(args[0]));
  for (const Value& affix : args[0].list().items) {
    if (matches(affix)) return Value::boolean(true);
    if (runtime.failed()) return {};
  }
  return Value::boolean(false);
}
Value startswith(Runtime& runtime, const Value& self, Args args) {
  return has_affix(runtime, self, args, Direction::kForward);
}
Value endswith(Runtime& runtime, const Value& self, Args args) {
  return has_affix(runtime, self, args, Direction::kBackward);
}

Value removeprefix(Runtime& runtime, const Value& self, Args args) {
  if (!need_text(runtime, args[0], "removeprefix")) return {};
  runtime.spend_bytes(args[0].bytes().size());
  if (!self.bytes().starts_with(args[0].bytes())) return self;
  return piece(runtime, self, args[0].bytes().size(), self.bytes().size());
}
Value removesuffix(Runtime& runtime, const Value& self, Args args) {
  if (!need_text(runtime, args[0], "removesuffix")) return {};
  runtime.spend_bytes(args[0].bytes().size());
  if (!self.bytes().ends_with(args[0].bytes())) return self;
  return piece(runtime, self, 0, self.bytes().size() - args[0].bytes().size());
}

Value upper(Runtime& runtime, const Value& self, Args) {
  return change_case(runtime, self, Case::kUpper);
}
Value lower(Runtime& runtime, const Value& self, Args) {
  return change_case(runtime, self, Case::kLower);
}
Value capitalize(Runtime& runtime, const Value& self, Args) {
  return capitalize_text(runtime, self);
}
Value strip(Runtime& runtime, const Value& self, Args args) {
  return strip_text(runtime, self, args[0], StripSide::kBoth);
}
Value lstrip(Runtime& runtime, const Value& self, Args args) {
  return strip_text(runtime, self, args[0], StripSide::kLeft);
}
Value rstrip(Runtime& runtime, const Value& self, Args args) {
  return strip_text(runtime, self, args[0], StripSide::kRight);
}

Value replace(Runtime& runtime, const Value& self, Args args) {
  int64_t max_count = -1;
  if (!need_text(runtime, args[0], "replace") || !need_text(runtime, args[1], "replace") ||
      !read_integer(runtime, args[2], -1, max_count)) {
    return {};
  }
  return replace_text(runtime, self, args[0], args[1], max_count);
}

/// split() and rsplit(): at whitespace without a separator, then without empty pieces.
Value split_text(Runtime& runtime, const Value& self, Args args, Direction direction) {
  int64_t max_splits = -1;
  if (!read_integer(runtime, args[1], -1, max_splits)) return {};
  if (max_splits < 0) max_splits = INT64_MAX;
  const std::string_view bytes = self.bytes();
  std::vector<Value> pieces;
  const auto add = [&](size_t begin, size_t end) {
    if (!runtime.reserve_items(static_cast<int64_t>(pieces.size()) + 1)) return;
    pieces.push_back(piece(runtime, self, begin, end));
  };
  const bool forward = direction == Direction::kForward;
  runtime.spend_bytes(bytes.size());

  if (args[0].is_missing() || args[0].is_none()) {
    const auto space_at = [&](size_t at) { return is_space(code_point_at(bytes, at).value); };
    size_t begin = 0, end = bytes.size();
    while (!runtime.failed()) {
      if (forward) {
        while (begin < end && space_at(begin)) begin += code_point_at(bytes, begin).size;
      } else {
        while (begin < end && space_at(previous_start(bytes, end)))
          end = previous_start(bytes, end);
      }
      if (begin >= end) break;
      if (static_cast<int64_t>(pieces.size()) >= max_splits) {
        add(begin, end);
        break;
      }
      if (forward) {
        size_t word_end = begin;
        while (word_end < end && !space_at(word_end))
          word_end += code_point_at(bytes, word_end).size;
        add(begin, word_end);
        begin = word_end;
      } else {
        size_t word_begin = end;
        while (word_begin > begin && !space_at(previous_start(bytes, word_begin))) {
          word_begin = previous_start(bytes, word_begin);
        }
        add(word_begin, end);
        end = word_begin;
      }
    }
  } else {
    if (!need_text(runtime, args[0], "split")) return {};
    const std::string& separator = args[0].bytes();
    if (separator.empty()) return runtime.fail("split() needs a separator that is not empty");
    size_t begin = 0, end = bytes.size();
    while (static_cast<int64_t>(pieces.size()) < max_splits && !runtime.failed()) {
      const std::string_view rest = bytes.substr(begin, end - begin);
      const size_t found = forward ? find_first(rest, separator) : find_last(rest, separator);
      if (found == std::string_view::npos) break;
      if (forward) {
        add(begin, begin + found);
        begin += found + separator.size();
      } else {
        add(begin + found + separator.size(), end);
        end = begin + found;
      }
    }
    add(begin, end);
  }
  if (!forward) std::reverse(pieces.begin(), pieces.end());
  return runtime.list(Type::kList, std::move(pieces));
}
Value split(Runtime& runtime, const Value& self, Args args) {
  return split_text(runtime, self, args, Direction::kForward);
}
Value rsplit(Runtime& runtime, const Value& self, Args args) {
  return split_text(runtime, self, args, Direction::kBackward);
}

/// Calls visit(begin, end of the line, end of its break).
template <typename Visit>
void for_each_line(std::string_view bytes, Visit visit) {
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    const size_t line_end = at;
    at += c.size;
    if (!is_line_break(c.value)) continue;
    if (c.value == '\r' && at < bytes.size() && bytes[at] == '\n') ++at;
    visit(begin, line_end, at);
    begin = at;
  }
  if (begin < bytes.size()) visit(begin, bytes.size(), bytes.size());
}

Value splitlines(Runtime& runtime, const Value& self, Args args) {
  const bool keep_ends = truth(args[0]);
  std::vector<Value> lines;
  runtime.spend_bytes(self.bytes().size());
  for_each_line(self.bytes(), [&](size_t begin, size_t end, size_t break_end) {
    if (runtime.failed()) return;
    lines.push_back(piece(runtime, self, begin, keep_ends ? break_end : end));
  });
  return runtime.list(Type::kList, std::move(lines));
}

Value partition_text(Runtime& runtime, const Value& self, Args args, Direction direction) {
  if (!need_text(runtime, args[0], "partition")) return {};
  const std::string& separator = args[0].bytes();
  if (separator.empty()) return runtime.fail("partition() needs a separator that is not empty");
  runtime.spend_bytes(self.bytes().size());
  const size_t found = direction == Direction::kForward ? find_first(self.bytes(), separator)
                                                        : find_last(self.bytes(), separator);
  const Value empty = runtime.text(TracedText(), self.is_markup());
  if (found == std::string::npos) {
    if (direction == Direction::kForward) return runtime.list(Type::kTuple, {self, empty, empty});
    return runtime.list(Type::kTuple, {empty, empty, self});
  }
  return runtime.list(Type::kTuple,
                      {piece(runtime, self, 0, found), args[0],
                       piece(runtime, self, found + separator.size(), self.bytes().size())});
}
Value partition(Runtime& runtime, const Value& self, Args args) {
  return partition_text(runtime, self, args, Direction::kForward);
}
Value rpartition(Runtime& runtime, const Value& self, Args args) {
  return partition_text(runtime, self, args, Direction::kBackward);
}

Value join(Runtime& runtime, const Value& self, Args args) {
  if (args[0].is_undefined()) return runtime.text("");
  Iterator iterator = iterate(runtime, args[0]);
  TextBuilder out(runtime);
  Value item;
  bool first = true;
  while (next(runtime, iterator, item)) {
    if (!need_text(runtime, item, "join")) return {};
    if (!first) out.append(self.traced());
    first = false;
    out.append(like_subject(runtime, self, item).traced());
  }
  return out.finish(self.is_markup());
}

Value pad(Runtime& runtime, const Value& self, Args args, char align) {
  int64_t width = 0;
  if (!read_integer(runtime, args[0], 0, width)) return {};
  TracedText fill(" ");
  if (!args[1].is_missing()) {
    if (!need_text(runtime, args[1], "center")) return {};
    if (length(runtime, args[1]) != 1) return runtime.fail("the fill must be one character");
    fill = like_subject(runtime, self, args[1]).traced();
  }
  const int64_t size = length(runtime, self);
  const int64_t missing = width > size ? width - size : 0;
  // str.center() puts an odd space on the left where the width is odd too.
  const int64_t before = align == '<'   ? 0
                         : align == '>' ? missing
                                        : missing / 2 + (missing & width & 1);
  TextBuilder out(runtime);
  for (int64_t i = 0; i < before && !runtime.failed(); ++i) out.append(fill);
  out.append(self.traced());
  for (int64_t i = before; i < missing && !runtime.failed(); ++i) out.append(fill);
  return out.finish(self.is_markup());
}
Value center(Runtime& runtime, const Value& self, Args args) {
  return pad(runtime, self, args, '^');
}
Value ljust(Runtime& runtime, const Value& self, Args args) {
  return pad(runtime, self, args, '<');
}
Value rjust(Runtime& runtime, const Value& self, Args args) {
  return pad(runtime, self, args, '>');
}

Value zfill(Runtime& runtime, const Value& self, Args args) {
  int64_t width = 0;
  if (!read_integer(runtime, args[0], 0, width)) return {};
  const bool sign = self.bytes().starts_with('+') || self.bytes().starts_with('-');
  TextBuilder out(runtime);
  if (sign) out.append(self.traced(), 0, 1);
  for (int64_t i = length(runtime, self); i < width && !runtime.failed(); ++i) out.append("0");
  out.append(self.traced(), sign ? 1 : 0, self.bytes().size());
  return out.finish(self.is_markup());
}

Value expandtabs(Runtime& runtime, const Value& self, Args args) {
  int64_t tab_size = 8;
  if (!read_integer(runtime, args[0], 8, tab_size)) return {};
  TextBuilder out(runtime);
  int64_t column = 0;
  for_each_character(self.bytes(), [&](size_t at, const CodePoint& c) {
    if (runtime.failed()) return;
    if (c.value == '\t') {
      const int64_t spaces = tab_size > 0 ? tab_size - column % tab_size : 0;
      for (int64_t i = 0; i < spaces && !runtime.failed(); ++i) out.append(" ");
      column += spaces;
      return;
    }
    out.append(self.traced(), at, at + c.size);
    column = c.value == '\n' || c.value == '\r' ? 0 : column + 1;
  });
  return out.finish(self.is_markup());
}

Value format(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return brace_format(runtime, self, arguments);
}

Value isalpha(Runtime& runtime, const Value& self, Args) {
  return all_characters(runtime, self, is_letter);
}
Value isalnum(Runtime& runtime, const Value& self, Args) {
  return all_characters(runtime, self,
                        [](uint32_t c) { return is_letter(c) || is_digit(c) || is_number(c); });
}
Value isdecimal(Runtime& runtime, const Value& self, Args) {
  return all_characters(runtime, self, is_decimal_digit);
}
Value isdigit(Runtime& runtime, const Value& self, Args) {
  return all_characters(runtime, self, is_digit);
}
Value isspace(Runtime& runtime, const Value& self, Args) {
  return all_characters(runtime, self, is_space);
}
Value isascii(Runtime&, const Value& self, Args) { return Value::boolean(text_is_ascii(self)); }
Value islower(Runtime& runtime, const Value& self, Args) {
  runtime.spend_bytes(self.bytes().size());
  return Value::boolean(text_is_lower(self));
}
Value isupper(Runtime& runtime, const Value& self, Args) {
  runtime.spend_bytes(self.bytes().size());
  return Value::boolean(text_is_upper(self));
}
Value isprintable(Runtime& runtime, const Value& self, Args) {
  return self.bytes().empty() ? Value::boolean(true) : all_characters(runtime, self, is_printable);
}
Value isidentifier(Runtime& runtime, const Value& self, Args) {
  bool first = true;
  return all_characters(runtime, self, [&](uint32_t c) {
    return std::exchange(first, false) ? is_identifier_start(c) : is_identifier_part(c);
  });
}
Value istitle(Runtime& runtime, const Value& self, Args) {
  runtime.spend_bytes(self.bytes().size());
  bool after_cased = false, any = false, valid = true;
  for_each_character(self.bytes(), [&](size_t, const CodePoint& c) {
    const bool starts_word = is_upper(c.value) || is_title(c.value);
    if (starts_word ? after_cased : is_lower(c.value) && !after_cased) valid = false;
    after_cased = is_cased(c.value);
    any = any || after_cased;
  });
  return Value::boolean(valid && any);
}

constexpr Builtin kMethods[] = {
    {"capitalize", {}, 0, capitalize},
    {"casefold", {}, 0, casefold},
    {"center", {"/width", "/fillchar"}, 1, center},
    {"count", {"/sub", "/start", "/end"}, 1, count},
    {"endswith", {"/suffix", "/start", "/end"}, 1, endswith},
    {"expandtabs", {"tabsize"}, 0, expandtabs},
    {"find", {"/sub", "/start", "/end"}, 1, find},
    {"format", {}, 0, nullptr, format},
    {"index", {"/sub", "/start", "/end"}, 1, index},
    {"isalnum", {}, 0, isalnum},
    {"isalpha", {}, 0, isalpha},
    {"isascii", {}, 0, isascii},
    {"isdecimal", {}, 0, isdecimal},
    {"isdigit", {}, 0, isdigit},
    {"isidentifier", {}, 0, isidentifier},
    {"islower", {}, 0, islower},
    {"isprintable", {}, 0, isprintable},
    {"isspace", {}, 0, isspace},
    {"istitle", {}, 0, istitle},
    {"isupper", {}, 0, isupper},
    {"join", {"/iterable"}, 1, join},
    {"ljust", {"/width", "/fillchar"}, 1, ljust},
    {"lower", {}, 0, lower},
    {"lstrip", {"/chars"}, 0, lstrip},
    {"partition", {"/sep"}, 1, partition},
    {"removeprefix", {"/prefix"}, 1, removeprefix},
    {"removesuffix", {"/suffix"}, 1, removesuffix},
    {"replace", {"/old", "/new", "/count"}, 2, replace},
    {"rfind", {"/sub", "/start", "/end"}, 1, rfind},
    {"rindex", {"/sub", "/start", "/end"}, 1, rindex},
    {"rjust", {"/width", "/fillchar"}, 1, rjust},
    {"rpartition", {"/sep"}, 1, rpartition},
    {"rsplit", {"sep", "maxsplit"}, 0, rsplit},
    {"rstrip", {"/chars"}, 0, rstrip},
    {"split", {"sep", "maxsplit"}, 0, split},
    {"splitlines", {"keepends"}, 0, splitlines},
    {"startswith", {"/prefix", "/start", "/end"}, 1, startswith},
    {"strip", {"/chars"}, 0, strip},
    {"swapcase", {}, 0, swapcase},
    {"title", {}, 0, title},
    {"upper", {}, 0, upper},
    {"zfill", {"/width"}, 1, zfill},
};

}  // namespace

std::span<const Builtin> text_methods() { return kMethods; }

Value strip_text(Runtime& runtime, const Value& text, const Value& chars, StripSide side) {
  const bool whitespace = chars.is_missing() || chars.is_none();
  if (!whitespace && !need_text(runtime, chars, "strip")) return {};
  const std::string_view bytes = text.bytes();
  const std::string_view set = whitespace ? std::string_view() : std::string_view(chars.bytes());
  const auto stripped = [&](size_t at) {
    const CodePoint c = code_point_at(bytes, at);
    if (set.size() > 16) runtime.spend(static_cast<int64_t>(set.size() / 16));
    if (runtime.failed()) return false;
    return whitespace ? is_space(c.value) : in_set(set, bytes.substr(at, c.size));
  };
  size_t begin = 0, end = bytes.size();
  if (side != StripSide::kRight) {
    while (begin < end && stripped(begin)) begin += code_point_at(bytes, begin).size;
  }
  if (side != StripSide::kLeft) {
    while (begin < end && stripped(previous_start(bytes, end))) end = previous_start(bytes, end);
  }
  runtime.spend(1 + static_cast<int64_t>((begin + bytes.size() - end) / 16));
  if (begin == 0 && end == bytes.size()) return text;
  return piece(runtime, text, begin, end);
}

Value change_case(Runtime& runtime, const Value& text, Case wanted) {
  return map_characters(runtime, text, [&](std::string& out, size_t at, uint32_t c) {
    if (wanted == Case::kLower) {
      append_lowered(out, text.bytes(), at, c);
    } else {
      append_cased(out, c, wanted);
    }
  });
}

Value capitalize_text(Runtime& runtime, const Value& text) {
  return map_characters(runtime, text, [&](std::string& out, size_t at, uint32_t c) {
    if (at == 0) {
      append_cased(out, c, Case::kTitle);
    } else {
      append_lowered(out, text.bytes(), at, c);
    }
  });
}

Value replace_text(Runtime& runtime, const Value& text, const Value& old_part,
                   const Value& new_part, int64_t max_count) {
  const std::string_view bytes = text.bytes();
  const Value wanted = like_subject(runtime, text, old_part);
  const Value inserted = like_subject(runtime, text, new_part);
  const std::string& old_bytes = wanted.bytes();
  if (max_count < 0) max_count = INT64_MAX;
  runtime.spend_bytes(bytes.size());
  TextBuilder out(runtime);
  size_t begin = 0;
  if (old_bytes.empty()) {
    // In front of every character and at the end.
    for (; max_count > 0 && !runtime.failed(); --max_count) {
      out.append(inserted.traced());
      if (begin == bytes.size()) break;
      const size_t end = begin + code_point_at(bytes, begin).size;
      out.append(text.traced(), begin, end);
      begin = end;
    }
  } else {
    for (; max_count > 0 && !runtime.failed(); --max_count) {
      const size_t found = find_first(bytes, old_bytes, begin);
      if (found == std::string_view::npos) break;
      out.append(text.traced(), begin, found);
      out.append(inserted.traced());
      begin = found + old_bytes.size();
    }
    if (begin == 0) return text;
  }
  out.append(text.traced(), begin, bytes.size());
  return out.finish(text.is_markup());
}

Value center_text(Runtime& runtime, const Value& text, int64_t width) {
  const std::array<Value, 2> args = {Value::integer(width), Value()};
  return pad(runtime, text, args, '^');
}

std::vector<TracedText> split_lines(Runtime& runtime, const TracedText& text) {
  std::vector<TracedText> lines;
  runtime.spend_bytes(text.size());
  int64_t held = 0;
  for_each_line(text.bytes(), [&](size_t begin, size_t end, size_t) {
    runtime.spend(1);
    held += static_cast<int64_t>(sizeof(TracedText) + end - begin);
    if (runtime.reserve(held)) lines.push_back(text.slice(begin, end));
  });
  return lines;
}

bool text_is_lower(const Value& text) {
  bool any = false, other = false;
  for_each_character(text.bytes(), [&](size_t, const CodePoint& c) {
    if (is_upper(c.value) || is_title(c.value)) other = true;
    any = any || is_lower(c.value);
  });
  return any && !other;
}

bool text_is_upper(const Value& text) {
  bool any = false, other = false;
  for_each_character(text.bytes(), [&](size_t, const CodePoint& c) {
    if (is_lower(c.value) || is_title(c.value)) other = true;
    any = any || is_upper(c.value);
  });
  return any && !other;
}

}  // namespace quern::jinja
