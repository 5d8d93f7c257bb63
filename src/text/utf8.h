#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quern {

/// What stands at one place of a byte string that should be UTF-8.
struct Utf8Step {
  enum class Kind {
    kValid,       // one code point
    kInvalid,     // a maximal run of bytes that begins no code point: one U+FFFD
    kIncomplete,  // the text ends inside a code point that further bytes could complete
  };
  Kind kind;
  uint32_t size;       // bytes it takes, at least 1
  char32_t character;  // kValid only
};

/// Reads at `at` < text.size(). Overlong forms, surrogates and values above U+10FFFF are invalid.
Utf8Step read_utf8(std::string_view text, size_t at);

void append_utf8(std::string& out, char32_t character);

/// U+FFFD, what a decoder writes for bytes that are no UTF-8.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

bool is_utf8(std::string_view text);

/// `bytes` with each invalid run replaced by U+FFFD: byte for byte what Python's
/// decode("utf-8", "replace") gives (one U+FFFD for each maximal run that begins no code point).
std::string replace_invalid_utf8(std::string_view bytes);

/// Adds to `out` what is certain of `bytes`: valid code points, U+FFFD for invalid runs. Returns
/// how many bytes were used; the rest, at most three, may still become a code point.
size_t append_certain_utf8(std::string& out, std::string_view bytes);

/// The number of code points in valid UTF-8.
size_t count_code_points(std::string_view text);

}  // namespace quern
