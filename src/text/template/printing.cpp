#include "text/template/printing.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/cat.h"
#include "text/template/code_points.h"
#include "text/template/operations.h"

namespace quern::jinja {

namespace {

std::string hex(uint32_t value, int num_digits) {
  std::string out;
  for (int shift = 4 * (num_digits - 1); shift >= 0; shift -= 4) {
    out += "0123456789abcdef"[(value >> shift) & 15];
  }
  return out;
}

/// repr(str): quotes chosen so that fewer need a backslash, what cannot be printed as an escape.
void append_quoted(TextBuilder& out, const TracedText& text) {
  const std::string& bytes = text.bytes();
  const bool double_quotes =
      bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos;
  const char quote = double_quotes ? '"' : '\'';
  out.append(std::string_view(&quote, 1));
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    std::string escape;
    if (c.value == static_cast<uint32_t>(quote) || c.value == '\\') {
      escape = cat('\\', static_cast<char>(c.value));
    } else if (c.value == '\n') {
      escape = "\\n";
    } else if (c.value == '\r') {
      escape = "\\r";
    } else if (c.value == '\t') {
      escape = "\\t";
    } else if (c.value < 0x20 || c.value == 0x7F || (c.value > 0x7F && !is_printable(c.value))) {
      escape = c.value < 0x100     ? cat("\\x", hex(c.value, 2))
               : c.value < 0x10000 ? cat("\\u", hex(c.value, 4))
                                   : cat("\\U", hex(c.value, 8));
    }
    if (!escape.empty()) {
      out.append(text, begin, at);
      out.append(escape, text.origin_at(at));
      begin = at + c.size;
    }
    at += c.size;
  }
  out.append(text, begin, bytes.size());
  out.append(std::string_view(&quote, 1));
}

void append_json_string(TextBuilder& out, const TracedText& text, bool ensure_ascii) {
  const std::string& bytes = text.bytes();
  out.append("\"");
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size();) {
    const auto byte = static_cast<unsigned char>(bytes[at]);
    std::string escape;
    size_t size = 1;
    switch (byte) {
      case '"':
        escape = "\\\"";
        break;
      case '\\':
        escape = "\\\\";
        break;
      case '\n':
        escape = "\\n";
        break;
      case '\r':
        escape = "\\r";
        break;
      case '\t':
        escape = "\\t";
        break;
      case '\f':
        escape = "\\f";
        break;
      case '\b':
        escape = "\\b";
        break;
      default:
        if (byte < 0x20 || (ensure_ascii && byte == 0x7F)) {
          escape = cat("\\u", hex(byte, 4));
        } else if (ensure_ascii && byte >= 0x80) {
          const CodePoint c = code_point_at(bytes, at);
          size = c.size;
          escape = c.value < 0x10000 ? cat("\\u", hex(c.value, 4))
                                     : cat("\\u", hex(0xD800 + ((c.value - 0x10000) >> 10), 4),
                                           "\\u", hex(0xDC00 + ((c.value - 0x10000) & 0x3FF), 4));
        }
    }
    if (!escape.empty()) {
      out.append(text, begin, at);
      out.append(escape, text.origin_at(at));
      begin = at + size;
    }
    at += size;
  }
  out.append(text, begin, bytes.size());
  out.append("\"");
}

/// A container that is being printed.
struct Printed {
  Value container;
  size_t next = 0;
  bool in_value = false;           // of a dict: the key is out, its value comes
  std::vector<size_t> order = {};  // of a dict whose keys are sorted
};

bool too_deep(Runtime& runtime, size_t depth) {
  if (depth < static_cast<size_t>(runtime.depth_limit())) return false;
  runtime.fail(cat("values nest deeper than ", runtime.depth_limit(), " levels"));
  return true;
}

DictObject* printed_dict(const Value& value) {
  if (value.is(Type::kDict)) return &value.dict();
  if (value.is(Type::kNamespace)) return value.namespace_object().members;
  return nullptr;
}

size_t num_items(const Value& container) {
  if (const DictObject* dict = printed_dict(container)) return dict->entries.size();
  if (container.is(Type::kDictView)) return container.dict_view().dict->entries.size();
  return container.list().items.size();
}

std::string_view opening(const Value& value) {
  switch (value.type()) {
    case Type::kList:
      return "[";
    case Type::kTuple:
      return "(";
    case Type::kDict:
      return "{";
    case Type::kNamespace:
      return "<Namespace {";
    default:
      switch (value.dict_view().part) {
        case DictViewObject::Part::kKeys:
          return "dict_keys([";
        case DictViewObject::Part::kValues:
          return "dict_values([";
        case DictViewObject::Part::kItems:
          return "dict_items([";
      }
  }
  return "";
}

std::string_view closing(const Value& value) {
  switch (value.type()) {
    case Type::kList:
      return "]";
    case Type::kTuple:
      return value.list().items.size() == 1 ? ",)" : ")";
    case Type::kDict:
      return "}";
    case Type::kNamespace:
      return "}>";
    default:
      return "])";
  }
}

bool is_printed_container(const Value& value) {
  switch (value.type()) {
    case Type::kList:
    case Type::kTuple:
    case Type::kDict:
    case Type::kNamespace:
    case Type::kDictView:
      return true;
    default:
      return false;
  }
}

/// repr() of what holds no other values.
void append_leaf(Runtime& runtime, TextBuilder& out, const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      out.append("Undefined");
      break;
    case Type::kNone:
      out.append("None");
      break;
    case Type::kBool:
      out.append(value.as_bool() ? "True" : "False");
      break;
    case Type::kInteger:
      out.append(cat(value.as_integer()));
      break;
    case Type::kFloat:
      out.append(format_number(value.as_number()));
      break;
    case Type::kText:
      if (value.is_markup()) out.append("Markup(");
      append_quoted(out, value.traced());
      if (value.is_markup()) out.append(")");
      break;
    case Type::kRange: {
      const RangeObject& range = value.range();
      out.append(cat("range(", range.start, ", ", range.stop));
      if (range.step != 1) out.append(cat(", ", range.step));
      out.append(")");
      break;
    }
    case Type::kLoop: {
      LoopObject& loop = value.loop();
      out.append(cat("<LoopContext ", loop.index0 + 1, "/", loop_length(runtime, loop), ">"));
      break;
    }
    default:
      runtime.fail(
          cat(type_name(value.type()), " cannot be written as text",
              value.is(Type::kGenerator) ? "; make it a list with the filter 'list'" : ""));
  }
}

struct JsonPrinter {
  Runtime& runtime;
  TextBuilder& out;
  const JsonStyle& style;
  std::vector<Printed> open;

  void new_line() {
    if (!style.indent) return;
    std::string line = "\n";
    for (size_t i = 0; i < open.size(); ++i) line += *style.indent;
    out.append(line);
  }

  void key(const Value& value) {
    switch (value.type()) {
      case Type::kText:
        append_json_string(out, value.traced(), style.ensure_ascii);
        break;
      case Type::kNone:
        out.append("\"null\"");
        break;
      case Type::kBool:
        out.append(value.as_bool() ? "\"true\"" : "\"false\"");
        break;
      case Type::kInteger:
        out.append(cat('"', value.as_integer(), '"'));
        break;
      case Type::kFloat:
        out.append(cat('"', json_number(value.as_number()), '"'));
        break;
      default:
        runtime.fail(cat(type_name(value.type()), " cannot be a key in JSON"));
    }
    out.append(style.key_separator);
  }

  static std::string json_number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return format_number(value);
  }

  /// Prints a leaf or opens a container.
  void begin(const Value& value) {
    switch (value.type()) {
      case Type::kNone:
        out.append("null");
        return;
      case Type::kBool:
        out.append(value.as_bool() ? "true" : "false");
        return;
      case Type::kInteger:
        out.append(cat(value.as_integer()));
        return;
      case Type::kFloat:
        out.append(json_number(value.as_number()));
        return;
      case Type::kText:
        append_json_string(out, value.traced(), style.ensure_ascii);
        return;
      case Type::kList:
      case Type::kTuple:
      case Type::kDict:
        break;
      case Type::kUndefined:
        fail_undefined(runtime, value);
        return;
      default:
        runtime.fail(cat(type_name(value.type()), " cannot be written as JSON"));
        return;
    }
    const bool is_dict = value.is(Type::kDict);
    if (num_items(value) == 0) {
      out.append(is_dict ? "{}" : "[]");
      return;
    }
    if (too_deep(runtime, open.size())) return;
    out.append(is_dict ? "{" : "[");
    Printed printed{.container = value};
    if (is_dict && style.sort_keys) printed.order = sorted_keys(value.dict());
    open.push_back(std::move(printed));
  }

  std::vector<size_t> sorted_keys(DictObject& dict) {
    std::vector<size_t> order(dict.entries.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      runtime.spend(1);
      return !runtime.failed() &&
             ordered(runtime, CompareOp::kLess, dict.entries[a].key, dict.entries[b].key);
    });
    return order;
  }

  void run(const Value& value) {
    begin(value);
    while (!open.empty() && !runtime.failed()) {
      runtime.spend(1);
      Printed& top = open.back();
      const Value container = top.container;
      const bool is_dict = container.is(Type::kDict);
      if (top.next == num_items(container)) {
        open.pop_back();
        new_line();
        out.append(is_dict ? "}" : "]");
        continue;
      }
      if (top.next > 0) out.append(style.item_separator);
      new_line();
      const size_t at = top.order.empty() ? top.next : top.order[top.next];
      ++top.next;
      if (is_dict) {
        const DictObject::Entry& entry = container.dict().entries[at];
        key(entry.key);
        begin(entry.value);
      } else {
        begin(container.list().items[at]);
      }
    }
  }
};

}  // namespace

std::string format_number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // "d.ddde+XX", the shortest digits; Python writes exponents from -4 to 15 in plain.
  std::array<char, 64> buffer;
  const char* end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                  std::chars_format::scientific)
                        .ptr;
  std::string_view text(buffer.data(), static_cast<size_t>(end - buffer.data()));
  std::string out;
  if (text.starts_with('-')) {
    out = "-";
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  int exponent = 0;
  const char* exponent_begin = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(exponent_begin, text.data() + text.size(), exponent);
  const auto num_digits = static_cast<int>(digits.size());

  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (num_digits > 1) out += cat('.', std::string_view(digits).substr(1));
    const int magnitude = std::abs(exponent);
    out += cat('e', exponent < 0 ? '-' : '+', magnitude < 10 ? "0" : "", magnitude);
  } else if (exponent < 0) {
    out += cat("0.", std::string(static_cast<size_t>(-exponent - 1), '0'), digits);
  } else if (num_digits <= exponent + 1) {
    out += cat(digits, std::string(static_cast<size_t>(exponent + 1 - num_digits), '0'), ".0");
  } else {
    const auto whole = static_cast<size_t>(exponent + 1);
    out += cat(digits.substr(0, whole), '.', digits.substr(whole));
  }
  return out;
}

void append_repr(Runtime& runtime, TextBuilder& out, const Value& value) {
  if (!is_printed_container(value)) return append_leaf(runtime, out, value);
  std::vector<Printed> open;
  out.append(opening(value));
  open.push_back({.container = value});
  while (!open.empty() && !runtime.failed()) {
    runtime.spend(1);
    Printed& top = open.back();
    const Value container = top.container;
    if (top.next == num_items(container) && !top.in_value) {
      out.append(closing(container));
      open.pop_back();
      continue;
    }
    Value item;
    if (const DictObject* dict = printed_dict(container)) {
      if (top.in_value) {
        out.append(": ");
        item = dict->entries[top.next++].value;
      } else {
        if (top.next > 0) out.append(", ");
        item = dict->entries[top.next].key;
      }
      top.in_value = !top.in_value;
    } else {
      if (top.next > 0) out.append(", ");
      item = container.is(Type::kDictView)
                 ? dict_view_item(runtime, container.dict_view(), top.next)
                 : container.list().items[top.next];
      ++top.next;
    }
    if (!is_printed_container(item)) {
      append_leaf(runtime, out, item);
      continue;
    }
    if (too_deep(runtime, open.size())) return;
    out.append(opening(item));
    open.push_back({.container = item});
  }
}

void append_text(Runtime& runtime, TextBuilder& out, const Value& value) {
  if (value.is_text()) {
    out.append(value.traced());
  } else if (!value.is_undefined()) {
    append_repr(runtime, out, value);
  }
}

Value to_text(Runtime& runtime, const Value& value) {
  if (value.is_text()) return value;
  TextBuilder out(runtime);
  append_text(runtime, out, value);
  return out.finish();
}

void append_json(Runtime& runtime, TextBuilder& out, const Value& value, const JsonStyle& style) {
  JsonPrinter{runtime, out, style, {}}.run(value);
}

}  // namespace quern::jinja
