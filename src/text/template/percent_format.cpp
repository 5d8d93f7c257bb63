#include "text/template/percent_format.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "base/cat.h"
#include "base/numbers.h"
#include "text/template/code_points.h"
#include "text/template/escape.h"
#include "text/template/number_format.h"
#include "text/template/operations.h"
#include "text/template/printing.h"

namespace quern::jinja {

namespace {

/// The values that a % format asks for one after the other.
class PercentArguments {
 public:
  PercentArguments(Runtime& runtime, const Value& arguments)
      : runtime_(runtime), arguments_(arguments) {}

  Value take() {
    const size_t at = next_++;
    if (arguments_.is(Type::kTuple)) {
      if (at < arguments_.list().items.size()) return arguments_.list().items[at];
    } else if (at == 0) {
      return arguments_;
    }
    return runtime_.fail("not enough values for the % format");
  }
  Value named(std::string_view name) {
    used_names_ = true;
    if (!arguments_.is(Type::kDict)) return runtime_.fail("a % format with names needs a dict");
    const Value* value = dict_find(arguments_.dict(), name);
    if (value == nullptr) return runtime_.fail(cat("the % format finds no '", name, "'"));
    return *value;
  }
  /// Python allows values that are left only in a dict or a list.
  void check_all_used() {
    if (used_names_ || arguments_.is(Type::kDict) || arguments_.is(Type::kList)) return;
    const size_t count = arguments_.is(Type::kTuple) ? arguments_.list().items.size() : 1;
    if (next_ < count) runtime_.fail("more values than the % format uses");
  }

 private:
  Runtime& runtime_;
  const Value& arguments_;
  size_t next_ = 0;
  bool used_names_ = false;
};

/// int(value) for %d: floats are cut.
std::optional<int64_t> whole_number(Runtime& runtime, const Value& value) {
  if (value.is_integral()) return value.as_integer();
  if (value.is(Type::kFloat) && std::fabs(value.as_number()) < 9.2e18) {
    return static_cast<int64_t>(value.as_number());
  }
  if (value.is_undefined()) {
    fail_undefined(runtime, value);
  } else {
    runtime.fail(cat("the % format needs a number, found ", type_name(value.type())));
  }
  return std::nullopt;
}

void append_conversion(Runtime& runtime, TextBuilder& out, const Value& value, char conversion,
                       FormatSpec spec, bool markup) {
  switch (conversion) {
    case 's':
    case 'r':
    case 'a': {
      TextBuilder text(runtime);
      if (conversion == 's') {
        append_text(runtime, text, value);
      } else {
        append_repr(runtime, text, value);
      }
      TracedText whole = text.take();
      if (markup && !value.is_markup()) {
        TextBuilder escaped(runtime);
        append_escaped(escaped, whole);
        whole = escaped.take();
      }
      const size_t end =
          spec.precision < 0 ? whole.size() : offset_of(whole.bytes(), spec.precision);
      if (spec.align == '=') spec = {.align = '>', .width = spec.width};
      append_padded(runtime, out, whole.slice(0, end), spec, '>');
      return;
    }
    case 'c':
      if (value.is_text()) {
        append_padded(runtime, out, value.traced(), spec, '>');
        return;
      }
      [[fallthrough]];
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X': {
      const auto whole = whole_number(runtime, value);
      if (!whole) return;
      spec.type = conversion == 'i' || conversion == 'u' ? 'd' : conversion;
      spec.precision = -1;
      append_formatted(runtime, out, Value::integer(*whole), spec);
      return;
    }
    default:
      if (!value.is_number()) {
        whole_number(runtime, value);
        return;
      }
      spec.type = conversion;
      append_formatted(runtime, out, Value::number(value.as_number()), spec);
  }
}

/// "0", "name", then ".attribute" and "[key]" parts.
Value look_up_field(Runtime& runtime, std::string_view field, const Arguments& arguments,
                    size_t& next_positional, bool& numbered, bool& automatic) {
  const size_t first_end = std::min(field.find_first_of(".["), field.size());
  const std::string_view first = field.substr(0, first_end);
  Value value;
  const auto index = parse_integer<uint32_t>(first);
  if (first.empty() || index) {
    (first.empty() ? automatic : numbered) = true;
    if (automatic && numbered) return runtime.fail("format() cannot mix {} and {0}");
    const size_t at = first.empty() ? next_positional++ : *index;
    if (at >= arguments.positional.size()) return runtime.fail("not enough values for format()");
    value = arguments.positional[at];
  } else {
    for (const KeywordValue& keyword : arguments.keywords) {
      if (keyword.name == first) value = keyword.value;
    }
    if (value.is_missing()) return runtime.fail(cat("format() finds no '", first, "'"));
  }
  std::string_view rest = field.substr(first_end);
  while (!rest.empty() && !runtime.failed()) {
    if (rest[0] == '.') {
      const size_t end = std::min(rest.find_first_of(".[", 1), rest.size());
      value = get_attribute(runtime, value, rest.substr(1, end - 1), -1);
      rest.remove_prefix(end);
    } else {
      const size_t close = rest.find(']');
      if (close == std::string_view::npos) return runtime.fail("format() misses a ']'");
      const std::string_view key = rest.substr(1, close - 1);
      const auto number = parse_integer<uint32_t>(key);
      value = get_item(runtime, value, number ? Value::integer(*number) : runtime.text(key));
      rest.remove_prefix(close + 1);
    }
  }
  return value;
}

}  // namespace

Value percent_format(Runtime& runtime, const Value& format, const Value& arguments) {
  const TracedText& text = format.traced();
  const std::string_view bytes = text.bytes();
  PercentArguments values(runtime, arguments);
  TextBuilder out(runtime);
  size_t at = 0;
  while (!runtime.failed()) {
    const size_t percent = std::min(bytes.find('%', at), bytes.size());
    out.append(text, at, percent);
    if (percent == bytes.size()) break;
    at = percent + 1;
    const auto peek = [&] { return at < bytes.size() ? bytes[at] : '\0'; };
    FormatSpec spec;
    std::optional<Value> named;
    if (peek() == '(') {
      const size_t close = bytes.find(')', at);
      if (close == std::string_view::npos) return runtime.fail("the % format misses a ')'");
      named = values.named(bytes.substr(at + 1, close - at - 1));
      at = close + 1;
    }
    bool left = false;
    for (bool flags = true; flags;) {
      switch (peek()) {
        case '-':
          left = true;
          break;
        case '+':
          spec.sign = '+';
          break;
        case ' ':
          if (spec.sign != '+') spec.sign = ' ';
          break;
        case '#':
          spec.alternate = true;
          break;
        case '0':
          spec.fill.assign(1, '0');
          spec.align = '=';
          break;
        default:
          flags = false;
          continue;
      }
      ++at;
    }
    const auto number = [&]() -> int64_t {
      if (peek() == '*') {
        ++at;
        const Value value = values.take();
        if (!value.is_integral()) {
          runtime.fail("'*' in a % format needs an integer");
          return 0;
        }
        return value.as_integer();
      }
      int64_t value = 0;
      while (peek() >= '0' && peek() <= '9' && value < (1 << 26))
        value = value * 10 + (bytes[at++] - '0');
      return value;
    };
    spec.width = number();
    if (spec.width < 0) {
      left = true;
      spec.width = spec.width < -(1 << 26) ? 1 << 26 : -spec.width;
    }
    if (left) {
      spec.fill.assign(1, ' ');
      spec.align = '<';
    }
    if (peek() == '.') {
      ++at;
      const int64_t precision = number();
      if (precision > 1000) return runtime.fail("the precision of a % format is at most 1000");
      spec.precision = static_cast<int>(std::max<int64_t>(precision, 0));
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++at;
    const char conversion = peek();
    ++at;
    if (conversion == '%') {
      out.append("%");
      continue;
    }
    constexpr std::string_view kConversions = "diouxXeEfFgGcrsa";
    if (conversion == '\0' || kConversions.find(conversion) == std::string_view::npos) {
      return runtime.fail("the % format has an unknown conversion");
    }
    const Value value = named ? *named : values.take();
    if (runtime.failed()) break;
    append_conversion(runtime, out, value, conversion, spec, format.is_markup());
  }
  values.check_all_used();
  return out.finish(format.is_markup());
}

Value brace_format(Runtime& runtime, const Value& format, const Arguments& arguments) {
  const TracedText& text = format.traced();
  const std::string_view bytes = text.bytes();
  TextBuilder out(runtime);
  size_t next_positional = 0;
  bool numbered = false, automatic = false;
  for (size_t at = 0; at < bytes.size() && !runtime.failed();) {
    const size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
    out.append(text, at, brace);
    if (brace == bytes.size()) break;
    at = brace + 1;
    if (at < bytes.size() && bytes[at] == bytes[brace]) {
      out.append(text, brace, at);
      ++at;
      continue;
    }
    if (bytes[brace] == '}') return runtime.fail("format() met a single '}'");
    const size_t close = bytes.find('}', at);
    if (close == std::string_view::npos) return runtime.fail("format() met a single '{'");
    std::string_view field = bytes.substr(at, close - at);
    at = close + 1;
    if (field.find('{') != std::string_view::npos) {
      return runtime.fail("format() with fields inside a specification is not supported");
    }
    const size_t colon = field.find(':');
    const std::string_view spec_text =
        colon == std::string_view::npos ? std::string_view() : field.substr(colon + 1);
    field = field.substr(0, colon);
    char conversion = 0;
    if (field.size() >= 2 && field[field.size() - 2] == '!') {
      conversion = field.back();
      field.remove_suffix(2);
      if (conversion != 'r' && conversion != 's') {
        return runtime.fail("format() knows the conversions !r and !s");
      }
    }
    Value value = look_up_field(runtime, field, arguments, next_positional, numbered, automatic);
    if (runtime.failed()) break;
    if (conversion != 0) {
      TextBuilder converted(runtime);
      if (conversion == 'r') {
        append_repr(runtime, converted, value);
      } else {
        append_text(runtime, converted, value);
      }
      value = converted.finish();
    }
    if (format.is_markup() && value.is_text() && !value.is_markup()) {
      TextBuilder escaped(runtime);
      append_escaped(escaped, value.traced());
      value = escaped.finish(true);
    }
    const auto spec = parse_format_spec(runtime, spec_text);
    if (!spec || runtime.failed()) break;
    append_formatted(runtime, out, value, *spec);
  }
  return out.finish(format.is_markup());
}

}  // namespace quern::jinja
