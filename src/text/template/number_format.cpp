#include "text/template/number_format.h"

#include <array>
#include <charconv>
#include <cmath>

#include "base/cat.h"
#include "text/template/code_points.h"
#include "text/template/operations.h"
#include "text/template/printing.h"

namespace quern::jinja {

namespace {

constexpr int kMaxPrecision = 1000;
constexpr int64_t kMaxWidth = int64_t{1} << 26;

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

/// Digits with a separator after every `group` of them, counted from the right.
std::string grouped(std::string_view digits, char separator, size_t group) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out;
}

std::string sign_of(bool negative, char wanted) {
  if (negative) return "-";
  return wanted == '+' || wanted == ' ' ? std::string(1, wanted) : std::string();
}

/// Puts sign, prefix and digits into the width; '=' pads between the prefix and the digits.
void append_number(Runtime& runtime, TextBuilder& out, const std::string& sign_and_prefix,
                   std::string digits, const FormatSpec& spec) {
  if (spec.grouping != 0) {
    const bool decimal =
        spec.type != 'x' && spec.type != 'X' && spec.type != 'o' && spec.type != 'b';
    const size_t whole =
        std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
    const size_t end =
        decimal ? std::min(digits.find_first_not_of("0123456789"), digits.size()) : whole;
    digits = grouped(digits.substr(0, end), spec.grouping, decimal ? 3 : 4) + digits.substr(end);
  }
  if (spec.align != '=') {
    append_padded(runtime, out, TracedText(sign_and_prefix + digits), spec, '>');
    return;
  }
  const auto size = static_cast<int64_t>(sign_and_prefix.size() + digits.size());
  out.append(sign_and_prefix);
  for (int64_t i = size; i < spec.width && !runtime.failed(); ++i) out.append(spec.fill);
  out.append(digits);
}

void append_integer(Runtime& runtime, TextBuilder& out, int64_t value, const FormatSpec& spec) {
  if (spec.precision >= 0) {
    runtime.fail("an integer has no precision in a format");
    return;
  }
  if (spec.type == 'c') {
    if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      runtime.fail(cat(value, " is no character"));
      return;
    }
    std::string character;
    append_utf8(character, static_cast<uint32_t>(value));
    append_padded(runtime, out, TracedText(character), spec, '<');
    return;
  }
  const bool negative = value < 0;
  const uint64_t magnitude =
      negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  int base = 10;
  std::string_view prefix;
  switch (spec.type) {
    case 'b':
      base = 2;
      prefix = "0b";
      break;
    case 'o':
      base = 8;
      prefix = "0o";
      break;
    case 'x':
      base = 16;
      prefix = "0x";
      break;
    case 'X':
      base = 16;
      prefix = "0X";
      break;
    default:
      break;
  }
  std::array<char, 72> buffer;
  const char* end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), magnitude, base).ptr;
  std::string digits(buffer.data(), static_cast<size_t>(end - buffer.data()));
  if (spec.type == 'X') {
    for (char& c : digits) c = c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c;
  }
  std::string sign_and_prefix = sign_of(negative, spec.sign);
  if (spec.alternate) sign_and_prefix += prefix;
  append_number(runtime, out, sign_and_prefix, digits, spec);
}

void append_float(Runtime& runtime, TextBuilder& out, double value, const FormatSpec& spec) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  const double magnitude = std::fabs(value);
  const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  const char type = upper ? static_cast<char>(spec.type + 32) : spec.type;
  std::string digits;
  if (!std::isfinite(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
  } else if (type == 0 && spec.precision < 0) {
    digits = format_number(magnitude);
  } else {
    std::array<char, 512 + kMaxPrecision> buffer;
    const int precision = spec.precision < 0 ? 6 : spec.precision;
    const double scaled = type == '%' ? magnitude * 100 : magnitude;
    const bool general = type == 'g' || type == 0 || type == 'n';
    const auto format = type == 'e' ? std::chars_format::scientific
                        : general   ? std::chars_format::general
                                    : std::chars_format::fixed;
    const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), scaled, format,
                                       general && precision == 0 ? 1 : precision);
    digits.assign(buffer.data(), written.ptr);
    // Without a type a float keeps one digit behind the point.
    if (type == 0 && digits.find_first_of(".e") == std::string::npos) digits += ".0";
    if (type == '%') digits += '%';
  }
  if (upper) {
    for (char& c : digits) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  }
  append_number(runtime, out, sign_of(negative, spec.sign), digits, spec);
}

}  // namespace

std::optional<FormatSpec> parse_format_spec(Runtime& runtime, std::string_view text) {
  FormatSpec spec;
  const std::string_view whole = text;
  const auto refuse = [&] {
    runtime.fail(cat("'", whole.substr(0, 40), "' is no format specification"));
    return std::nullopt;
  };
  if (!text.empty()) {
    const size_t fill_size = code_point_at(text, 0).size;
    if (text.size() > fill_size && is_align(text[fill_size])) {
      spec.fill = text.substr(0, fill_size);
      spec.align = text[fill_size];
      text.remove_prefix(fill_size + 1);
    } else if (is_align(text[0])) {
      spec.align = text[0];
      text.remove_prefix(1);
    }
  }
  const auto skip = [&](char c) {
    if (!text.starts_with(c)) return false;
    text.remove_prefix(1);
    return true;
  };
  const auto number = [&](int64_t limit) -> std::optional<int64_t> {
    int64_t value = 0;
    while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
      value = value * 10 + (text[0] - '0');
      if (value > limit) return std::nullopt;
      text.remove_prefix(1);
    }
    return value;
  };
  if (text.starts_with('+') || text.starts_with('-') || text.starts_with(' ')) {
    spec.sign = text[0];
    text.remove_prefix(1);
  }
  spec.alternate = skip('#');
  if (skip('0') && spec.align == 0) {
    spec.fill.assign(1, '0');
    spec.align = '=';
  }
  const auto width = number(kMaxWidth);
  if (!width) return refuse();
  spec.width = *width;
  if (text.starts_with(',') || text.starts_with('_')) {
    spec.grouping = text[0];
    text.remove_prefix(1);
  }
  if (skip('.')) {
    if (text.empty() || text[0] < '0' || text[0] > '9') return refuse();
    const auto precision = number(kMaxPrecision);
    if (!precision) return refuse();
    spec.precision = static_cast<int>(*precision);
  }
  if (!text.empty()) {
    spec.type = text[0];
    text.remove_prefix(1);
  }
  constexpr std::string_view kTypes = "bcdeEfFgGosxX%";
  if (!text.empty() || (spec.type != 0 && kTypes.find(spec.type) == std::string_view::npos)) {
    return refuse();
  }
  return spec;
}

void append_padded(Runtime& runtime, TextBuilder& out, const TracedText& text,
                   const FormatSpec& spec, char default_align) {
  const int64_t missing = std::max<int64_t>(spec.width - count_code_points(text.bytes()), 0);
  const char align = spec.align == 0 ? default_align : spec.align;
  const int64_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  for (int64_t i = 0; i < before && !runtime.failed(); ++i) out.append(spec.fill);
  out.append(text);
  for (int64_t i = before; i < missing && !runtime.failed(); ++i) out.append(spec.fill);
}

void append_formatted(Runtime& runtime, TextBuilder& out, const Value& value,
                      const FormatSpec& spec) {
  const auto refuse = [&] {
    runtime.fail(cat("the format '", spec.type == 0 ? std::string() : std::string(1, spec.type),
                     "' does not fit ", type_name(value.type())));
  };
  constexpr std::string_view kFloatTypes = "eEfFgG%";
  const bool float_type = spec.type != 0 && kFloatTypes.find(spec.type) != std::string_view::npos;
  if (value.is_text()) {
    if ((spec.type != 0 && spec.type != 's') || spec.align == '=' || spec.grouping != 0 ||
        spec.sign != '-' || spec.alternate) {
      return refuse();
    }
    const TracedText& text = value.traced();
    const size_t end = spec.precision < 0 ? text.size() : offset_of(text.bytes(), spec.precision);
    append_padded(runtime, out, text.slice(0, end), spec, '<');
  } else if (value.is(Type::kFloat)) {
    if (spec.type != 0 && !float_type) return refuse();
    append_float(runtime, out, value.as_number(), spec);
  } else if (value.is_integral()) {
    if (spec.type == 's') return refuse();
    if (float_type) {
      append_float(runtime, out, value.as_number(), spec);
    } else if (value.is(Type::kBool) && spec.type == 0 && spec.width == 0) {
      out.append(value.as_bool() ? "True" : "False");
    } else {
      append_integer(runtime, out, value.as_integer(), spec);
    }
  } else {
    if (spec.width != 0 || spec.type != 0 || spec.precision >= 0) return refuse();
    append_text(runtime, out, value);
  }
}

}  // namespace quern::jinja
