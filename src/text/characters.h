#pragma once

#include <string>
#include <string_view>

namespace quern {

// The character classes of the Hugging Face tokenizers library, each in the Unicode version that
// its part of the library uses.

/// White_Space of Unicode; the same set in every version since 6.3.
bool is_whitespace(char32_t character);
/// Nd, Nl or No.
bool is_numeric(char32_t character);
bool is_punctuation(char32_t character);
bool is_combining_mark(char32_t character);
/// Letters, marks, digits, connectors and joiners: \w.
bool is_word_character(char32_t character);

/// The 256 printable characters that byte-level tokenizers write for the 256 bytes, as GPT-2
/// introduced them: printable Latin-1 stands for itself, the rest counts up from U+0100.
char32_t byte_level_character(unsigned char byte);
/// The byte that `character` stands for, or -1.
int byte_level_byte(char32_t character);
/// `bytes` written in those characters.
void append_byte_level(std::string& out, std::string_view bytes);

}  // namespace quern
