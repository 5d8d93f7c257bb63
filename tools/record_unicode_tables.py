#!/usr/bin/env python3
"""Writes src/text/unicode_tables.h: the character sets of the Hugging Face tokenizers library.

Each part of that library carries its own version of Unicode, from 8 to 17, so no single C library
agrees with it. The sets are asked of the library itself, one code point at a time; where a C
library of ours does the work (PCRE2 and utf8proc), only the difference is written down.

Usage: record_unicode_tables.py > src/text/unicode_tables.h   (needs tokenizers and libutf8proc)
"""

import ctypes
import ctypes.util
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
# The Unicode version of PCRE2 10.42; Python's must be the same, it stands in for it below.
assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version

utf8proc = ctypes.CDLL(ctypes.util.find_library("utf8proc") or "libutf8proc.so.2")


class Property(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


utf8proc.utf8proc_get_property.restype = ctypes.POINTER(Property)
utf8proc.utf8proc_NFKD.restype = ctypes.c_void_p
utf8proc.utf8proc_NFD.restype = ctypes.c_void_p


def utf8proc_map(function, text):
    pointer = function(text.encode() + b"\0")
    out = ctypes.string_at(pointer).decode()
    return out


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def removed_by(pattern):
    """The code points that match the Oniguruma pattern."""
    replace = normalizers.Replace(Regex(pattern), "")
    return {c for c in CODE_POINTS if replace.normalize_str(chr(c)) == ""}


def split_off_by(pre_tokenizer):
    return {c for c in CODE_POINTS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c))) == 2}


def table(name, points, why):
    print(f"/// {why}")
    print(f"inline constexpr CodePointRange {name}[] = {{")
    line = "   "
    for first, last in ranges(points):
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};\n")


def unknown_to_normalizers():
    """Code points that utf8proc decomposes, reorders or composes and the library leaves alone."""
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    inert = set()
    for c in CODE_POINTS:
        if c == 0:
            continue
        text = chr(c)
        ours, theirs = utf8proc_map(utf8proc.utf8proc_NFKD, text), nfkd.normalize_str(text)
        if ours != theirs:
            assert theirs == text, hex(c)
            inert.add(c)
            canonical = utf8proc_map(utf8proc.utf8proc_NFD, text)
            if canonical != text:  # its parts must not be composed either
                inert.add(ord(canonical[-1]))
        combining = utf8proc.utf8proc_get_property(c).contents.combining_class
        if combining != 0:
            # A mark of another class beside it changes places with it exactly if its class is known.
            before, after = ("a\u0301", text) if combining < 230 else ("a" + text, "\u0316")
            pair = before + after
            known = nfd.normalize_str(pair) != pair
            if not known:
                inert.add(c)
    return inert


def lowercase_difference():
    lower = normalizers.Lowercase()
    out = []
    for c in CODE_POINTS:
        theirs = lower.normalize_str(chr(c))
        if theirs != chr(utf8proc.utf8proc_tolower(c)):
            if len(theirs) != 1:
                assert c == 0x130, hex(c)  # handled in code: two code points
                continue
            offset = ord(theirs) - c
            if out and out[-1][1] == c - 1 and out[-1][2] == offset:
                out[-1][1] = c
            else:
                out.append([c, c, offset])
    return out


def main():
    print("""#pragma once

#include <cstdint>
#include <iterator>

// Written by tools/record_unicode_tables.py, which says why these are needed. Sorted, disjoint.

namespace quern {

struct CodePointRange {
  char32_t first, last;
};
""")
    table("kNumeric", split_off_by(pre_tokenizers.Digits(False)),
          "What the Digits pre-tokenizer takes for a digit.")
    table("kPunctuation", split_off_by(pre_tokenizers.Punctuation()),
          "What the Punctuation pre-tokenizer takes for punctuation.")
    strip = normalizers.StripAccents()
    table("kCombiningMark", {c for c in CODE_POINTS if strip.normalize_str(chr(c)) == ""},
          "What the StripAccents normalizer removes.")
    whitespace = pre_tokenizers.Whitespace()
    table("kWord", {c for c in CODE_POINTS
                    if len(whitespace.pre_tokenize_str("a" + chr(c) + "a")) == 1},
          "\\w of the Whitespace pre-tokenizer and of added tokens that are single words.")
    table("kUnknownToNormalizers", unknown_to_normalizers(),
          "Newer than the library's NFC, NFD, NFKC and NFKD, which leave them alone.")

    print("/// Lowercase of the Lowercase normalizer where utf8proc has another one: add `offset`.")
    print("struct LowercaseRange {\n  char32_t first, last;\n  int32_t offset;\n};")
    print("inline constexpr LowercaseRange kLowercase[] = {")
    for first, last, offset in lowercase_difference():
        print(f"    {{0x{first:X}, 0x{last:X}, {offset}}},")
    print("};\n")

    category = {c: unicodedata.category(chr(c)) for c in CODE_POINTS}
    # Coarse categories and those that patterns of models name; a few marks also moved from Mn to Mc.
    names = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "N", "Nd", "Nl", "No", "M", "P", "S"]
    kept = []
    for name in names:
        theirs = removed_by("\\p{%s}" % name)
        ours = {c for c in CODE_POINTS if category[c].startswith(name)}
        assert not ours - theirs, name
        if theirs - ours:
            table(f"kNewIn{name}", theirs - ours, f"In \\p{{{name}}} since Unicode 14.")
            kept.append(name)
    # Scripts: what Unicode 14 had not assigned at all.
    for name in ["Han", "Hiragana", "Katakana", "Hangul", "Latin", "Cyrillic", "Greek", "Arabic",
                 "Hebrew", "Thai", "Devanagari"]:
        new = {c for c in removed_by("\\p{%s}" % name) if category[c] == "Cn"}
        if new:
            table(f"kNewIn{name}", new, f"In \\p{{{name}}} since Unicode 14.")
            kept.append(name)
    word = {c for c in CODE_POINTS
            if category[c][0] in "LM" or category[c] in ("Nd", "Nl", "Pc")}
    theirs = removed_by(r"[\w]")
    assert not word - theirs
    table("kNewInWord", theirs - word,
          "In [\\w] of Oniguruma beside \\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc} of Unicode 14.")
    table("kWordOutsideClasses", removed_by(r"\w") - theirs,
          "In \\w of Oniguruma, but not in [\\w].")

    print("""/// The code points that Oniguruma counts to a property and PCRE2 does not yet.
struct PropertyDifference {
  const char* name;
  const CodePointRange* first;
  const CodePointRange* last;
};""")
    print("inline constexpr PropertyDifference kPropertyDifferences[] = {")
    for name in kept:
        print(f'    {{"{name}", std::begin(kNewIn{name}), std::end(kNewIn{name})}},')
    print("};\n\n}  // namespace quern")


if __name__ == "__main__":
    main()
