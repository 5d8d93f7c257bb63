#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quern::jinja {

/// Characters of UTF-8 text as Python's `str` sees them. A character is a byte that does not
/// continue another one together with the continuation bytes behind it, so that damaged text has
/// characters too (U+FFFD); nothing here reads beyond the text.

struct CodePoint {
  uint32_t value = 0;
  uint32_t size = 0;  // bytes
};

/// The character that starts at `at`, which lies inside the text.
CodePoint code_point_at(std::string_view text, size_t at);
/// The start of the character that ends before `end` (not zero).
size_t previous_start(std::string_view text, size_t end);
int64_t count_code_points(std::string_view text);
/// The byte offset of character `index`, the size of the text if there are not that many.
size_t offset_of(std::string_view text, int64_t index);
void append_utf8(std::string& out, uint32_t code_point);
bool is_valid_utf8(std::string_view text);
bool is_ascii(std::string_view text);

/// str.isspace(), which is also what strip() without arguments strips.
bool is_space(uint32_t code_point);
/// Where str.splitlines() cuts.
bool is_line_break(uint32_t code_point);
bool is_letter(uint32_t code_point);         // str.isalpha()
bool is_decimal_digit(uint32_t code_point);  // str.isdecimal()
bool is_digit(uint32_t code_point);          // str.isdigit(): superscripts and circled ones too
bool is_number(uint32_t code_point);         // categories Nd, Nl and No
bool is_printable(uint32_t code_point);
bool is_lower(uint32_t code_point);
bool is_upper(uint32_t code_point);
bool is_title(uint32_t code_point);
bool is_identifier_start(uint32_t code_point);
bool is_identifier_part(uint32_t code_point);

enum class Case { kLower, kUpper, kTitle };
/// The full mapping (sharp s becomes "SS"), without the rule for a final sigma.
void append_cased(std::string& out, uint32_t code_point, Case wanted);
/// The full case folding of a character, as str.casefold() has it.
void append_case_folded(std::string& out, uint32_t code_point);
/// Whether a capital sigma at `at` ends its word and so is lowered to the final form.
bool is_final_sigma(std::string_view text, size_t at);

}  // namespace quern::jinja
