#include "text/unicode_normalization.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/ensure.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace quern {

namespace {

int utf8proc_options(NormalForm form) {
  switch (form) {
    case NormalForm::kNfc:
      return UTF8PROC_COMPOSE | UTF8PROC_STABLE;
    case NormalForm::kNfd:
      return UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    case NormalForm::kNfkc:
      return UTF8PROC_COMPOSE | UTF8PROC_STABLE | UTF8PROC_COMPAT;
    case NormalForm::kNfkd:
      return UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | UTF8PROC_COMPAT;
  }
  return 0;
}

bool is_unknown_to_normalizers(char32_t character) {
  if (character < std::begin(kUnknownToNormalizers)->first) return false;
  const auto* after = std::upper_bound(
      std::begin(kUnknownToNormalizers), std::end(kUnknownToNormalizers), character,
      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return after != std::begin(kUnknownToNormalizers) && character <= std::prev(after)->last;
}

/// Puts marks into canonical order: utf8proc does this with a bubble sort, which takes minutes for
/// a run of a hundred thousand marks in the wrong order; a stable sort gives the same result.
void order_marks(std::vector<utf8proc_int32_t>& points) {
  const auto combining_class = [](utf8proc_int32_t point) {
    return utf8proc_get_property(point)->combining_class;
  };
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin;
    while (end < points.size() && combining_class(points[end]) != 0) ++end;
    if (end - begin > 1) {
      std::stable_sort(points.begin() + static_cast<std::ptrdiff_t>(begin),
                       points.begin() + static_cast<std::ptrdiff_t>(end),
                       [&](utf8proc_int32_t a, utf8proc_int32_t b) {
                         return combining_class(a) < combining_class(b);
                       });
    }
    begin = end + 1;
  }
}

/// Normalises text none of whose characters is newer than the library knows.
void append_normalized(std::string& out, std::string_view text, int options) {
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  utf8proc_int32_t decomposed[32];  // the longest decomposition has 18 code points
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    int last_boundclass = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(step.character), decomposed, 32,
                                static_cast<utf8proc_option_t>(options), &last_boundclass);
    ENSURE(count >= 0 && count <= 32, "decomposition of a code point");
    points.insert(points.end(), decomposed, decomposed + count);
    at += step.size;
  }
  order_marks(points);
  utf8proc_ssize_t count = static_cast<utf8proc_ssize_t>(points.size());
  if ((options & UTF8PROC_COMPOSE) != 0) {
    count = utf8proc_normalize_utf32(points.data(), count, static_cast<utf8proc_option_t>(options));
    ENSURE(count >= 0, "composition");
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    append_utf8(out, static_cast<char32_t>(points[static_cast<size_t>(i)]));
  }
}

}  // namespace

std::string normalize(std::string_view text, NormalForm form) {
  const bool ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
  if (ascii) return std::string(text);
  const int options = utf8proc_options(form);
  std::string out;
  out.reserve(text.size());
  size_t begin = 0;  // text[begin, at) is not normalised yet
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = read_utf8(text, at);
    if (is_unknown_to_normalizers(step.character)) {
      // A character without properties stands between two texts that never touch.
      append_normalized(out, text.substr(begin, at - begin), options);
      out.append(text.substr(at, step.size));
      begin = at + step.size;
    }
    at += step.size;
  }
  append_normalized(out, text.substr(begin), options);
  return out;
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    at += step.size;
    const auto known = std::find_if(
        std::begin(kLowercase), std::end(kLowercase), [&](const LowercaseRange& range) {
          return step.character >= range.first && step.character <= range.last;
        });
    if (known != std::end(kLowercase)) {
      append_utf8(out, step.character + static_cast<char32_t>(known->offset));
    } else {
      append_utf8(out, static_cast<char32_t>(
                           utf8proc_tolower(static_cast<utf8proc_int32_t>(step.character))));
      // The only lowercase of two code points: U+0130 is an i and a dot above.
      if (step.character == 0x130) append_utf8(out, 0x307);
    }
  }
  return out;
}

}  // namespace quern
