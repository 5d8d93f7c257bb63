#include "text/template/code_points.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace quern::jinja {

namespace {

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

struct Range {
  uint32_t first, last;
};

template <size_t n>
bool in_ranges(const Range (&ranges)[n], uint32_t code_point) {
  const Range* range = std::lower_bound(
      std::begin(ranges), std::end(ranges), code_point,
      [](const Range& candidate, uint32_t wanted) { return candidate.last < wanted; });
  return range != std::end(ranges) && range->first <= code_point;
}

/// Numeric_Type=Digit outside of category Nd.
constexpr Range kOtherDigits[] = {
    {0xB2, 0xB3},       {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},
    {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
    {0x2474, 0x247C},   {0x2488, 0x2490},   {0x24EA, 0x24EA},   {0x24F5, 0x24FD},
    {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},   {0x278A, 0x2792},
    {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};
/// Other_Lowercase and Other_Uppercase.
constexpr Range kOtherLower[] = {
    {0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},    {0x2E0, 0x2E4},
    {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},   {0x1D78, 0x1D78},  {0x1D9B, 0x1DBF},
    {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},   {0x2170, 0x217F},  {0x24D0, 0x24E9},
    {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},  {0xAB5C, 0xAB5F},
    {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}};
constexpr Range kOtherUpper[] = {
    {0x2160, 0x216F}, {0x24B6, 0x24CF}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

struct LongCase {
  uint32_t code_point;
  const char *lower, *title, *upper;
};

/// The characters of Unicode's SpecialCasing whose mapping in some case is more than one
/// character, ascending.
constexpr LongCase kLongCases[] = {
    {0x00DF, "\xc3\x9f", "\x53\x73", "\x53\x53"},
    {0x0130, "\x69\xcc\x87", "\xc4\xb0", "\xc4\xb0"},
    {0x0149, "\xc5\x89", "\xca\xbc\x4e", "\xca\xbc\x4e"},
    {0x01F0, "\xc7\xb0", "\x4a\xcc\x8c", "\x4a\xcc\x8c"},
    {0x0390, "\xce\x90", "\xce\x99\xcc\x88\xcc\x81", "\xce\x99\xcc\x88\xcc\x81"},
    {0x03B0, "\xce\xb0", "\xce\xa5\xcc\x88\xcc\x81", "\xce\xa5\xcc\x88\xcc\x81"},
    {0x0587, "\xd6\x87", "\xd4\xb5\xd6\x82", "\xd4\xb5\xd5\x92"},
    {0x1E96, "\xe1\xba\x96", "\x48\xcc\xb1", "\x48\xcc\xb1"},
    {0x1E97, "\xe1\xba\x97", "\x54\xcc\x88", "\x54\xcc\x88"},
    {0x1E98, "\xe1\xba\x98", "\x57\xcc\x8a", "\x57\xcc\x8a"},
    {0x1E99, "\xe1\xba\x99", "\x59\xcc\x8a", "\x59\xcc\x8a"},
    {0x1E9A, "\xe1\xba\x9a", "\x41\xca\xbe", "\x41\xca\xbe"},
    {0x1F50, "\xe1\xbd\x90", "\xce\xa5\xcc\x93", "\xce\xa5\xcc\x93"},
    {0x1F52, "\xe1\xbd\x92", "\xce\xa5\xcc\x93\xcc\x80", "\xce\xa5\xcc\x93\xcc\x80"},
    {0x1F54, "\xe1\xbd\x94", "\xce\xa5\xcc\x93\xcc\x81", "\xce\xa5\xcc\x93\xcc\x81"},
    {0x1F56, "\xe1\xbd\x96", "\xce\xa5\xcc\x93\xcd\x82", "\xce\xa5\xcc\x93\xcd\x82"},
    {0x1F80, "\xe1\xbe\x80", "\xe1\xbe\x88", "\xe1\xbc\x88\xce\x99"},
    {0x1F81, "\xe1\xbe\x81", "\xe1\xbe\x89", "\xe1\xbc\x89\xce\x99"},
    {0x1F82, "\xe1\xbe\x82", "\xe1\xbe\x8a", "\xe1\xbc\x8a\xce\x99"},
    {0x1F83, "\xe1\xbe\x83", "\xe1\xbe\x8b", "\xe1\xbc\x8b\xce\x99"},
    {0x1F84, "\xe1\xbe\x84", "\xe1\xbe\x8c", "\xe1\xbc\x8c\xce\x99"},
    {0x1F85, "\xe1\xbe\x85", "\xe1\xbe\x8d", "\xe1\xbc\x8d\xce\x99"},
    {0x1F86, "\xe1\xbe\x86", "\xe1\xbe\x8e", "\xe1\xbc\x8e\xce\x99"},
    {0x1F87, "\xe1\xbe\x87", "\xe1\xbe\x8f", "\xe1\xbc\x8f\xce\x99"},
    {0x1F88, "\xe1\xbe\x80", "\xe1\xbe\x88", "\xe1\xbc\x88\xce\x99"},
    {0x1F89, "\xe1\xbe\x81", "\xe1\xbe\x89", "\xe1\xbc\x89\xce\x99"},
    {0x1F8A, "\xe1\xbe\x82", "\xe1\xbe\x8a", "\xe1\xbc\x8a\xce\x99"},
    {0x1F8B, "\xe1\xbe\x83", "\xe1\xbe\x8b", "\xe1\xbc\x8b\xce\x99"},
    {0x1F8C, "\xe1\xbe\x84", "\xe1\xbe\x8c", "\xe1\xbc\x8c\xce\x99"},
    {0x1F8D, "\xe1\xbe\x85", "\xe1\xbe\x8d", "\xe1\xbc\x8d\xce\x99"},
    {0x1F8E, "\xe1\xbe\x86", "\xe1\xbe\x8e", "\xe1\xbc\x8e\xce\x99"},
    {0x1F8F, "\xe1\xbe\x87", "\xe1\xbe\x8f", "\xe1\xbc\x8f\xce\x99"},
    {0x1F90, "\xe1\xbe\x90", "\xe1\xbe\x98", "\xe1\xbc\xa8\xce\x99"},
    {0x1F91, "\xe1\xbe\x91", "\xe1\xbe\x99", "\xe1\xbc\xa9\xce\x99"},
    {0x1F92, "\xe1\xbe\x92", "\xe1\xbe\x9a", "\xe1\xbc\xaa\xce\x99"},
    {0x1F93, "\xe1\xbe\x93", "\xe1\xbe\x9b", "\xe1\xbc\xab\xce\x99"},
    {0x1F94, "\xe1\xbe\x94", "\xe1\xbe\x9c", "\xe1\xbc\xac\xce\x99"},
    {0x1F95, "\xe1\xbe\x95", "\xe1\xbe\x9d", "\xe1\xbc\xad\xce\x99"},
    {0x1F96, "\xe1\xbe\x96", "\xe1\xbe\x9e", "\xe1\xbc\xae\xce\x99"},
    {0x1F97, "\xe1\xbe\x97", "\xe1\xbe\x9f", "\xe1\xbc\xaf\xce\x99"},
    {0x1F98, "\xe1\xbe\x90", "\xe1\xbe\x98", "\xe1\xbc\xa8\xce\x99"},
    {0x1F99, "\xe1\xbe\x91", "\xe1\xbe\x99", "\xe1\xbc\xa9\xce\x99"},
    {0x1F9A, "\xe1\xbe\x92", "\xe1\xbe\x9a", "\xe1\xbc\xaa\xce\x99"},
    {0x1F9B, "\xe1\xbe\x93", "\xe1\xbe\x9b", "\xe1\xbc\xab\xce\x99"},
    {0x1F9C, "\xe1\xbe\x94", "\xe1\xbe\x9c", "\xe1\xbc\xac\xce\x99"},
    {0x1F9D, "\xe1\xbe\x95", "\xe1\xbe\x9d", "\xe1\xbc\xad\xce\x99"},
    {0x1F9E, "\xe1\xbe\x96", "\xe1\xbe\x9e", "\xe1\xbc\xae\xce\x99"},
    {0x1F9F, "\xe1\xbe\x97", "\xe1\xbe\x9f", "\xe1\xbc\xaf\xce\x99"},
    {0x1FA0, "\xe1\xbe\xa0", "\xe1\xbe\xa8", "\xe1\xbd\xa8\xce\x99"},
    {0x1FA1, "\xe1\xbe\xa1", "\xe1\xbe\xa9", "\xe1\xbd\xa9\xce\x99"},
    {0x1FA2, "\xe1\xbe\xa2", "\xe1\xbe\xaa", "\xe1\xbd\xaa\xce\x99"},
    {0x1FA3, "\xe1\xbe\xa3", "\xe1\xbe\xab", "\xe1\xbd\xab\xce\x99"},
    {0x1FA4, "\xe1\xbe\xa4", "\xe1\xbe\xac", "\xe1\xbd\xac\xce\x99"},
    {0x1FA5, "\xe1\xbe\xa5", "\xe1\xbe\xad", "\xe1\xbd\xad\xce\x99"},
    {0x1FA6, "\xe1\xbe\xa6", "\xe1\xbe\xae", "\xe1\xbd\xae\xce\x99"},
    {0x1FA7, "\xe1\xbe\xa7", "\xe1\xbe\xaf", "\xe1\xbd\xaf\xce\x99"},
    {0x1FA8, "\xe1\xbe\xa0", "\xe1\xbe\xa8", "\xe1\xbd\xa8\xce\x99"},
    {0x1FA9, "\xe1\xbe\xa1", "\xe1\xbe\xa9", "\xe1\xbd\xa9\xce\x99"},
    {0x1FAA, "\xe1\xbe\xa2", "\xe1\xbe\xaa", "\xe1\xbd\xaa\xce\x99"},
    {0x1FAB, "\xe1\xbe\xa3", "\xe1\xbe\xab", "\xe1\xbd\xab\xce\x99"},
    {0x1FAC, "\xe1\xbe\xa4", "\xe1\xbe\xac", "\xe1\xbd\xac\xce\x99"},
    {0x1FAD, "\xe1\xbe\xa5", "\xe1\xbe\xad", "\xe1\xbd\xad\xce\x99"},
    {0x1FAE, "\xe1\xbe\xa6", "\xe1\xbe\xae", "\xe1\xbd\xae\xce\x99"},
    {0x1FAF, "\xe1\xbe\xa7", "\xe1\xbe\xaf", "\xe1\xbd\xaf\xce\x99"},
    {0x1FB2, "\xe1\xbe\xb2", "\xe1\xbe\xba\xcd\x85", "\xe1\xbe\xba\xce\x99"},
    {0x1FB3, "\xe1\xbe\xb3", "\xe1\xbe\xbc", "\xce\x91\xce\x99"},
    {0x1FB4, "\xe1\xbe\xb4", "\xce\x86\xcd\x85", "\xce\x86\xce\x99"},
    {0x1FB6, "\xe1\xbe\xb6", "\xce\x91\xcd\x82", "\xce\x91\xcd\x82"},
    {0x1FB7, "\xe1\xbe\xb7", "\xce\x91\xcd\x82\xcd\x85", "\xce\x91\xcd\x82\xce\x99"},
    {0x1FBC, "\xe1\xbe\xb3", "\xe1\xbe\xbc", "\xce\x91\xce\x99"},
    {0x1FC2, "\xe1\xbf\x82", "\xe1\xbf\x8a\xcd\x85", "\xe1\xbf\x8a\xce\x99"},
    {0x1FC3, "\xe1\xbf\x83", "\xe1\xbf\x8c", "\xce\x97\xce\x99"},
    {0x1FC4, "\xe1\xbf\x84", "\xce\x89\xcd\x85", "\xce\x89\xce\x99"},
    {0x1FC6, "\xe1\xbf\x86", "\xce\x97\xcd\x82", "\xce\x97\xcd\x82"},
    {0x1FC7, "\xe1\xbf\x87", "\xce\x97\xcd\x82\xcd\x85", "\xce\x97\xcd\x82\xce\x99"},
    {0x1FCC, "\xe1\xbf\x83", "\xe1\xbf\x8c", "\xce\x97\xce\x99"},
    {0x1FD2, "\xe1\xbf\x92", "\xce\x99\xcc\x88\xcc\x80", "\xce\x99\xcc\x88\xcc\x80"},
    {0x1FD3, "\xe1\xbf\x93", "\xce\x99\xcc\x88\xcc\x81", "\xce\x99\xcc\x88\xcc\x81"},
    {0x1FD6, "\xe1\xbf\x96", "\xce\x99\xcd\x82", "\xce\x99\xcd\x82"},
    {0x1FD7, "\xe1\xbf\x97", "\xce\x99\xcc\x88\xcd\x82", "\xce\x99\xcc\x88\xcd\x82"},
    {0x1FE2, "\xe1\xbf\xa2", "\xce\xa5\xcc\x88\xcc\x80", "\xce\xa5\xcc\x88\xcc\x80"},
    {0x1FE3, "\xe1\xbf\xa3", "\xce\xa5\xcc\x88\xcc\x81", "\xce\xa5\xcc\x88\xcc\x81"},
    {0x1FE4, "\xe1\xbf\xa4", "\xce\xa1\xcc\x93", "\xce\xa1\xcc\x93"},
    {0x1FE6, "\xe1\xbf\xa6", "\xce\xa5\xcd\x82", "\xce\xa5\xcd\x82"},
    {0x1FE7, "\xe1\xbf\xa7", "\xce\xa5\xcc\x88\xcd\x82", "\xce\xa5\xcc\x88\xcd\x82"},
    {0x1FF2, "\xe1\xbf\xb2", "\xe1\xbf\xba\xcd\x85", "\xe1\xbf\xba\xce\x99"},
    {0x1FF3, "\xe1\xbf\xb3", "\xe1\xbf\xbc", "\xce\xa9\xce\x99"},
    {0x1FF4, "\xe1\xbf\xb4", "\xce\x8f\xcd\x85", "\xce\x8f\xce\x99"},
    {0x1FF6, "\xe1\xbf\xb6", "\xce\xa9\xcd\x82", "\xce\xa9\xcd\x82"},
    {0x1FF7, "\xe1\xbf\xb7", "\xce\xa9\xcd\x82\xcd\x85", "\xce\xa9\xcd\x82\xce\x99"},
    {0x1FFC, "\xe1\xbf\xb3", "\xe1\xbf\xbc", "\xce\xa9\xce\x99"},
    {0xFB00, "\xef\xac\x80", "\x46\x66", "\x46\x46"},
    {0xFB01, "\xef\xac\x81", "\x46\x69", "\x46\x49"},
    {0xFB02, "\xef\xac\x82", "\x46\x6c", "\x46\x4c"},
    {0xFB03, "\xef\xac\x83", "\x46\x66\x69", "\x46\x46\x49"},
    {0xFB04, "\xef\xac\x84", "\x46\x66\x6c", "\x46\x46\x4c"},
    {0xFB05, "\xef\xac\x85", "\x53\x74", "\x53\x54"},
    {0xFB06, "\xef\xac\x86", "\x53\x74", "\x53\x54"},
    {0xFB13, "\xef\xac\x93", "\xd5\x84\xd5\xb6", "\xd5\x84\xd5\x86"},
    {0xFB14, "\xef\xac\x94", "\xd5\x84\xd5\xa5", "\xd5\x84\xd4\xb5"},
    {0xFB15, "\xef\xac\x95", "\xd5\x84\xd5\xab", "\xd5\x84\xd4\xbb"},
    {0xFB16, "\xef\xac\x96", "\xd5\x8e\xd5\xb6", "\xd5\x8e\xd5\x86"},
    {0xFB17, "\xef\xac\x97", "\xd5\x84\xd5\xad", "\xd5\x84\xd4\xbd"},
};

utf8proc_category_t category(uint32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

}  // namespace

CodePoint code_point_at(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return {lead, 1};
  uint32_t size = 1;
  while (size < 4 && at + size < text.size() && continues(text[at + size])) ++size;
  utf8proc_int32_t value = -1;
  const utf8proc_ssize_t read =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                       static_cast<utf8proc_ssize_t>(size), &value);
  if (read != static_cast<utf8proc_ssize_t>(size) || value < 0) return {0xFFFD, size};
  return {static_cast<uint32_t>(value), size};
}

size_t previous_start(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && end - at < 4 && continues(text[at])) --at;
  return at;
}

int64_t count_code_points(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).size) ++count;
  return count;
}

size_t offset_of(std::string_view text, int64_t index) {
  size_t at = 0;
  while (index > 0 && at < text.size()) {
    at += code_point_at(text, at).size;
    --index;
  }
  return at;
}

void append_utf8(std::string& out, uint32_t code_point) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t size =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

bool is_valid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    utf8proc_int32_t value = -1;
    const utf8proc_ssize_t read =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                         static_cast<utf8proc_ssize_t>(text.size() - at), &value);
    if (read <= 0) return false;
    at += static_cast<size_t>(read);
  }
  return true;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool is_space(uint32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_break(uint32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool is_letter(uint32_t c) {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal_digit(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(uint32_t c) { return is_decimal_digit(c) || in_ranges(kOtherDigits, c); }

bool is_number(uint32_t c) {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

bool is_printable(uint32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

bool is_lower(uint32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || in_ranges(kOtherLower, c);
}
bool is_upper(uint32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || in_ranges(kOtherUpper, c);
}
bool is_title(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }

bool is_identifier_start(uint32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return is_letter(c) || category(c) == UTF8PROC_CATEGORY_NL;
}

bool is_identifier_part(uint32_t c) {
  if (c < 0x80) return is_identifier_start(c) || (c >= '0' && c <= '9');
  const utf8proc_category_t kind = category(c);
  return is_identifier_start(c) || kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC ||
         kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_PC;
}

void append_case_folded(std::string& out, uint32_t code_point) {
  std::array<utf8proc_int32_t, 8> folded;
  int last_class = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(code_point), folded.data(),
      static_cast<utf8proc_ssize_t>(folded.size()), UTF8PROC_CASEFOLD, &last_class);
  for (utf8proc_ssize_t i = 0; i < count && i < 8; ++i) {
    append_utf8(out, static_cast<uint32_t>(folded[static_cast<size_t>(i)]));
  }
}

void append_cased(std::string& out, uint32_t c, Case wanted) {
  const LongCase* row = std::lower_bound(
      std::begin(kLongCases), std::end(kLongCases), c,
      [](const LongCase& candidate, uint32_t key) { return candidate.code_point < key; });
  if (row != std::end(kLongCases) && row->code_point == c) {
    out += wanted == Case::kLower ? row->lower : wanted == Case::kUpper ? row->upper : row->title;
    return;
  }
  const auto code = static_cast<utf8proc_int32_t>(c);
  append_utf8(out, static_cast<uint32_t>(wanted == Case::kLower   ? utf8proc_tolower(code)
                                         : wanted == Case::kUpper ? utf8proc_toupper(code)
                                                                  : utf8proc_totitle(code)));
}

bool is_final_sigma(std::string_view text, size_t at) {
  const auto is_cased = [](uint32_t c) { return is_lower(c) || is_upper(c) || is_title(c); };
  const auto is_ignored = [](uint32_t c) {
    const utf8proc_category_t kind = category(c);
    return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_ME ||
           kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_LM ||
           kind == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xB7 ||
           c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027;
  };
  // Neighbours further away than this do not change what a word is.
  constexpr int kReach = 64;
  bool cased_before = false;
  size_t before = at;
  for (int steps = 0; before > 0 && steps < kReach; ++steps) {
    before = previous_start(text, before);
    const uint32_t c = code_point_at(text, before).value;
    if (is_ignored(c)) continue;
    cased_before = is_cased(c);
    break;
  }
  if (!cased_before) return false;
  size_t after = at + code_point_at(text, at).size;
  for (int steps = 0; after < text.size() && steps < kReach; ++steps) {
    const CodePoint next = code_point_at(text, after);
    if (!is_ignored(next.value)) return !is_cased(next.value);
    after += next.size;
  }
  return true;
}

}  // namespace quern::jinja
