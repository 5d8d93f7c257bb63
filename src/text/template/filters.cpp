#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/cat.h"
#include "text/template/builtins.h"
#include "text/template/code_points.h"
#include "text/template/escape.h"
#include "text/template/operations.h"
#include "text/template/percent_format.h"
#include "text/template/printing.h"
#include "text/template/sequence_filters.h"
#include "text/template/syntax.h"
#include "text/template/text_methods.h"

namespace quern::jinja {

namespace {

using Args = std::span<const Value>;

bool read_integer(Runtime& runtime, const Value& value, int64_t otherwise, int64_t& out) {
  out = otherwise;
  if (value.is_missing()) return true;
  if (!value.is_integral()) {
    runtime.fail(cat("the filter needs an integer, found ", type_name(value.type())));
    return false;
  }
  out = value.as_integer();
  return true;
}

/// What a filter for strings sees: str(value), safe HTML stays so.
Value as_text(Runtime& runtime, const Value& value) { return to_text(runtime, value); }

// --- strings

Value upper(Runtime& runtime, const Value& value, Args) {
  return change_case(runtime, as_text(runtime, value), Case::kUpper);
}
Value lower(Runtime& runtime, const Value& value, Args) {
  return change_case(runtime, as_text(runtime, value), Case::kLower);
}
Value capitalize(Runtime& runtime, const Value& value, Args) {
  return capitalize_text(runtime, as_text(runtime, value));
}
Value trim(Runtime& runtime, const Value& value, Args args) {
  return strip_text(runtime, as_text(runtime, value), args[0], StripSide::kBoth);
}
Value string(Runtime& runtime, const Value& value, Args) { return as_text(runtime, value); }

Value center(Runtime& runtime, const Value& value, Args args) {
  int64_t width = 80;
  if (!read_integer(runtime, args[0], 80, width)) return {};
  return center_text(runtime, as_text(runtime, value), width);
}

/// Unlike str.title(): a word starts behind whitespace and opening brackets only.
Value title(Runtime& runtime, const Value& value, Args) {
  const Value text = as_text(runtime, value);
  const std::string_view bytes = text.bytes();
  TextBuilder out(runtime);
  bool starts_word = true;
  std::string mapped;
  for (size_t at = 0; at < bytes.size() && !runtime.failed();) {
    const CodePoint c = code_point_at(bytes, at);
    const bool separates =
        is_space(c.value) ||
        (c.value < 0x80 &&
         std::string_view("-({[<").find(static_cast<char>(c.value)) != std::string_view::npos);
    mapped.clear();
    append_cased(mapped, c.value, starts_word && !separates ? Case::kUpper : Case::kLower);
    out.append(mapped, text.traced().origin_at(at));
    starts_word = separates;
    at += c.size;
  }
  return out.finish();
}

Value plain_text(Runtime& runtime, const Value& value) {
  const Value text = as_text(runtime, value);
  return text.is_markup() ? runtime.text(text.traced()) : text;
}

Value replace(Runtime& runtime, const Value& value, Args args) {
  int64_t max_count = -1;
  if (!args[2].is_none() && !read_integer(runtime, args[2], -1, max_count)) return {};
  return replace_text(runtime, plain_text(runtime, value), plain_text(runtime, args[0]),
                      plain_text(runtime, args[1]), max_count);
}

Value indent(Runtime& runtime, const Value& value, Args args) {
  if (!value.is_text()) {
    if (value.is_undefined()) return fail_undefined(runtime, value);
    return runtime.fail(cat("the filter 'indent' needs a string, found ", type_name(value.type())));
  }
  TracedText indention;
  if (args[0].is_text()) {
    indention = args[0].traced();
  } else {
    int64_t width = 4;
    if (!read_integer(runtime, args[0], 4, width)) return {};
    if (!runtime.reserve(std::max<int64_t>(width, 0))) return {};
    indention = TracedText(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '));
  }
  const bool first = truth(args[1]);
  const bool blank = truth(args[2]);
  // Jinja adds a newline before it cuts into lines, so that a final line break keeps its line.
  TracedText whole = value.traced();
  whole.append("\n");
  const std::vector<TracedText> lines = split_lines(runtime, whole);
  TextBuilder out(runtime);
  for (size_t i = 0; i < lines.size() && !runtime.failed(); ++i) {
    if (i > 0) out.append("\n");
    const bool indents = i == 0 ? first : blank || !lines[i].empty();
    if (indents) out.append(indention);
    out.append(lines[i]);
  }
  return out.finish(value.is_markup());
}

Value truncate(Runtime& runtime, const Value& value, Args args) {
  int64_t limit = 255, leeway = 5;
  if (!read_integer(runtime, args[0], 255, limit)) return {};
  if (!args[3].is_none() && !read_integer(runtime, args[3], 5, leeway)) return {};
  const Value end = args[2].is_missing() ? runtime.text("...") : args[2];
  if (!end.is_text()) return runtime.fail("the filter 'truncate' needs a string as its end");
  const int64_t end_size = length(runtime, end);
  if (limit < end_size || leeway < 0) {
    return runtime.fail("the filter 'truncate' needs a length that its end fits in");
  }
  if (length(runtime, value) - leeway <= limit || runtime.failed()) return value;
  if (!value.is_text()) {
    return runtime.fail(cat("the filter 'truncate' cannot shorten ", type_name(value.type())));
  }
  const TracedText& text = value.traced();
  size_t cut = offset_of(text.bytes(), limit - end_size);
  if (!truth(args[1])) {
    // Back to the last space: the word that the cut goes through is dropped.
    const size_t space = std::string_view(text.bytes()).substr(0, cut).rfind(' ');
    if (space != std::string_view::npos) cut = space;
  }
  TextBuilder out(runtime);
  out.append(text, 0, cut);
  out.append(end.traced());
  return out.finish();
}

Value wordcount(Runtime& runtime, const Value& value, Args) {
  const Value text = as_text(runtime, value);
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.bytes().size();) {
    const CodePoint c = code_point_at(text.bytes(), at);
    const bool word = is_letter(c.value) || is_number(c.value) || c.value == '_';
    if (word && !inside) ++words;
    inside = word;
    at += c.size;
  }
  runtime.spend_bytes(text.bytes().size());
  return Value::integer(words);
}

Value urlencode(Runtime& runtime, const Value& value, Args) {
  if (value.is(Type::kDict) || value.is_sequence_object()) {
    return runtime.fail("the filter 'urlencode' is supported for strings only");
  }
  const Value text = as_text(runtime, value);
  TextBuilder out(runtime);
  for (size_t at = 0; at < text.bytes().size() && !runtime.failed(); ++at) {
    const char c = text.bytes()[at];
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("_.-~/").find(c) != std::string_view::npos;
    if (plain) {
      out.append(text.traced(), at, at + 1);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    constexpr std::string_view kHex = "0123456789ABCDEF";
    const char escaped[] = {'%', kHex[byte >> 4], kHex[byte & 15]};
    out.append(std::string_view(escaped, 3), text.traced().origin_at(at));
  }
  return out.finish();
}

Value escape_value(Runtime& runtime, const Value& value, Args) {
  if (value.is_markup()) return value;
  TextBuilder out(runtime);
  append_escaped(out, as_text(runtime, value).traced());
  return out.finish(true);
}
Value forceescape(Runtime& runtime, const Value& value, Args) {
  TextBuilder out(runtime);
  append_escaped(out, as_text(runtime, value).traced());
  return out.finish(true);
}
Value safe(Runtime& runtime, const Value& value, Args) {
  const Value text = as_text(runtime, value);
  return text.is_markup() ? text : runtime.text(text.traced(), true);
}

Value format(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value text = as_text(runtime, value);
  if (arguments.keywords.empty()) {
    return percent_format(runtime, text, runtime.list(Type::kTuple, arguments.positional));
  }
  if (!arguments.positional.empty()) {
    return runtime.fail("the filter 'format' takes values or names, not both");
  }
  DictObject* dict = runtime.new_dict();
  for (const KeywordValue& keyword : arguments.keywords) {
    dict_set(runtime, *dict, runtime.text(keyword.name), keyword.value);
  }
  return percent_format(runtime, text, Value::object(Type::kDict, dict));
}

Value tojson(Runtime& runtime, const Value& value, Args args) {
  JsonStyle style;
  style.ensure_ascii = truth(args[0]);
  if (args[1].is_text()) {
    style.indent = args[1].bytes();
  } else if (args[1].is_integral()) {
    const int64_t width = std::max<int64_t>(args[1].as_integer(), 0);
    if (!runtime.reserve(width)) return {};
    style.indent = std::string(static_cast<size_t>(width), ' ');
  } else if (!args[1].is_missing() && !args[1].is_none()) {
    return runtime.fail(
        cat("tojson takes an integer or a string as indent, found ", type_name(args[1].type())));
  }
  if (style.indent) style.item_separator.assign(1, ',');
  if (!args[2].is_missing() && !args[2].is_none()) {
    const bool pair = (args[2].is(Type::kList) || args[2].is(Type::kTuple)) &&
                      args[2].list().items.size() == 2 && args[2].list().items[0].is_text() &&
                      args[2].list().items[1].is_text();
    if (!pair) return runtime.fail("tojson takes two strings as separators");
    style.item_separator = args[2].list().items[0].bytes();
    style.key_separator = args[2].list().items[1].bytes();
  }
  style.sort_keys = truth(args[3]);
  TextBuilder out(runtime);
  append_json(runtime, out, value, style);
  return out.finish();
}

// --- numbers

/// Python's int(text, base): whitespace around, a sign, single underscores between digits.
std::optional<int64_t> parse_python_integer(std::string_view text, int64_t base) {
  while (!text.empty() && is_space(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_space(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int64_t marked = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) {
      base = marked;
      text.remove_prefix(2);
    }
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) return std::nullopt;
  std::string digits = negative ? "-" : "";
  for (size_t i = 0; i < text.size(); ++i) {
    const bool between = i > 0 && i + 1 < text.size() && text[i - 1] != '_';
    if (text[i] == '_' && between) continue;
    digits += text[i];
  }
  int64_t value = 0;
  const auto read =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, static_cast<int>(base));
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size() || text.empty() ||
      text[0] == '-') {
    return std::nullopt;
  }
  return value;
}

std::optional<double> parse_python_float(std::string_view text) {
  while (!text.empty() && is_space(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_space(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] == '-' || text[0] == '+') return std::nullopt;
  double value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ptr != text.data() + text.size() || text.find('(') != std::string_view::npos) {
    return std::nullopt;
  }
  // Beyond the range: to infinity, or to zero from an exponent below.
  if (read.ec == std::errc::result_out_of_range) {
    const size_t exponent = text.find_first_of("eE");
    const bool tiny =
        exponent != std::string_view::npos && text.substr(exponent + 1).starts_with('-');
    value = tiny ? 0.0 : HUGE_VAL;
  }
  return negative ? -value : value;
}

Value integer_of(double number, const Value& otherwise) {
  if (std::isnan(number) || std::isinf(number)) return otherwise;
  if (std::fabs(number) >= 9223372036854775808.0) return {};
  return Value::integer(static_cast<int64_t>(number));
}

Value to_integer(Runtime& runtime, const Value& value, Args args) {
  const Value otherwise = args[0].is_missing() ? Value::integer(0) : args[0];
  int64_t base = 10;
  if (!read_integer(runtime, args[1], 10, base)) return {};
  if (value.is_integral()) return Value::integer(value.as_integer());
  std::optional<double> number;
  if (value.is(Type::kFloat)) number = value.as_number();
  if (value.is_text()) {
    runtime.spend_bytes(value.bytes().size());
    if (const auto integer = parse_python_integer(value.bytes(), base)) {
      return Value::integer(*integer);
    }
    number = parse_python_float(value.bytes());
  }
  if (value.is_undefined()) return fail_undefined(runtime, value);
  if (!number) return otherwise;
  Value out = integer_of(*number, otherwise);
  return out.is_missing() ? runtime.fail("the integer does not fit in 64 bits") : out;
}

Value to_float(Runtime& runtime, const Value& value, Args args) {
  const Value otherwise = args[0].is_missing() ? Value::number(0) : args[0];
  if (value.is_number()) return Value::number(value.as_number());
  if (value.is_undefined()) return fail_undefined(runtime, value);
  if (!value.is_text()) return otherwise;
  runtime.spend_bytes(value.bytes().size());
  const auto number = parse_python_float(value.bytes());
  return number ? Value::number(*number) : otherwise;
}

Value absolute(Runtime& runtime, const Value& value, Args) {
  if (value.is_number() && value.as_number() >= 0) return plus(runtime, value);
  if (value.is(Type::kFloat)) return Value::number(std::fabs(value.as_number()));
  return negate(runtime, value);
}

/// Round half to even in decimal, on the exact value of the float: its shortest fixed form with
/// that many digits is what Python's round() gives.
double round_to(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 320) return value;
  if (digits < -310) return std::copysign(0.0, value);
  if (digits >= 0) {
    char buffer[800];
    const auto written = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                       std::chars_format::fixed, static_cast<int>(digits));
    double out = value;
    if (written.ec == std::errc()) std::from_chars(buffer, written.ptr, out);
    return out;
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

Value round_number(Runtime& runtime, const Value& value, Args args) {
  int64_t digits = 0;
  if (!read_integer(runtime, args[0], 0, digits)) return {};
  const std::string method = args[1].is_text() ? args[1].bytes() : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    return runtime.fail("the filter 'round' knows the methods common, ceil and floor");
  }
  if (!value.is_number()) {
    if (value.is_undefined()) return fail_undefined(runtime, value);
    return runtime.fail(cat("the filter 'round' needs a number, found ", type_name(value.type())));
  }
  if (method == "common") {
    if (value.is(Type::kFloat)) return Value::number(round_to(value.as_number(), digits));
    if (digits >= 0) return Value::integer(value.as_integer());
    return runtime.fail("the filter 'round' takes no negative precision for an integer");
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = value.as_number() * scale;
  return Value::number((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

// --- any value

Value default_value(Runtime& runtime, const Value& value, Args args) {
  const bool replaced = value.is_undefined() || (truth(args[1]) && !truth(value));
  if (!replaced) return value;
  return args[0].is_missing() ? runtime.text("") : args[0];
}

Value attribute(Runtime& runtime, const Value& value, Args args) {
  if (!args[0].is_text()) return runtime.fail("the filter 'attr' needs a name");
  if (value.is_undefined()) return fail_undefined(runtime, value);
  if (const auto found = find_attribute(runtime, value, args[0].bytes(), -1)) return *found;
  return Value::undefined(Absence::kMember, -1, value.type());
}

Value count(Runtime& runtime, const Value& value, Args) {
  if (value.is(Type::kLoop)) return Value::integer(loop_length(runtime, value.loop()));
  return Value::integer(length(runtime, value));
}

constexpr Builtin kFilters[] = {
    {"abs", {}, 0, absolute},
    {"attr", {"name"}, 1, attribute},
    {"batch", {"linecount", "fill_with"}, 1, filter_batch},
    {"capitalize", {}, 0, capitalize},
    {"center", {"width"}, 0, center},
    {"count", {}, 0, count},
    {"d", {"default_value", "boolean"}, 0, default_value},
    {"default", {"default_value", "boolean"}, 0, default_value},
    {"dictsort", {"case_sensitive", "by", "reverse"}, 0, filter_dictsort},
    {"e", {}, 0, escape_value},
    {"escape", {}, 0, escape_value},
    {"first", {}, 0, filter_first},
    {"float", {"default"}, 0, to_float},
    {"forceescape", {}, 0, forceescape},
    {"format", {}, 0, nullptr, format},
    {"indent", {"width", "first", "blank"}, 0, indent},
    {"int", {"default", "base"}, 0, to_integer},
    {"items", {}, 0, filter_items},
    {"join", {"d", "attribute"}, 0, filter_join},
    {"last", {}, 0, filter_last},
    {"length", {}, 0, count},
    {"list", {}, 0, filter_list},
    {"lower", {}, 0, lower},
    {"map", {}, 0, nullptr, filter_map},
    {"max", {"case_sensitive", "attribute"}, 0, filter_max},
    {"min", {"case_sensitive", "attribute"}, 0, filter_min},
    {"reject", {}, 0, nullptr, filter_reject},
    {"rejectattr", {}, 0, nullptr, filter_rejectattr},
    {"replace", {"old", "new", "count"}, 2, replace},
    {"reverse", {}, 0, filter_reverse},
    {"round", {"precision", "method"}, 0, round_number},
    {"safe", {}, 0, safe},
    {"select", {}, 0, nullptr, filter_select},
    {"selectattr", {}, 0, nullptr, filter_selectattr},
    {"slice", {"slices", "fill_with"}, 1, filter_slice},
    {"sort", {"reverse", "case_sensitive", "attribute"}, 0, filter_sort},
    {"string", {}, 0, string},
    {"sum", {"attribute", "start"}, 0, filter_sum},
    {"title", {}, 0, title},
    {"tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, tojson},
    {"trim", {"chars"}, 0, trim},
    {"truncate", {"length", "killwords", "end", "leeway"}, 0, truncate},
    {"unique", {"case_sensitive", "attribute"}, 0, filter_unique},
    {"upper", {}, 0, upper},
    {"urlencode", {}, 0, urlencode},
    {"wordcount", {}, 0, wordcount},
};

/// They serve HTML pages and debugging.
constexpr std::string_view kMissingFilters[] = {"filesizeformat", "groupby", "pprint",   "random",
                                                "striptags",      "urlize",  "wordwrap", "xmlattr"};

}  // namespace

bool is_missing_filter(std::string_view name) {
  return std::find(std::begin(kMissingFilters), std::end(kMissingFilters), name) !=
         std::end(kMissingFilters);
}

std::span<const Builtin> filters() { return kFilters; }

}  // namespace quern::jinja
