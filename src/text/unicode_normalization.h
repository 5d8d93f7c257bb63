#pragma once

#include <string>
#include <string_view>

namespace quern {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `text` (valid UTF-8) in a normal form of Unicode, as the Hugging Face tokenizers library gives
/// it: characters newer than Unicode 9 stay as they are.
std::string normalize(std::string_view text, NormalForm form);

/// Each code point in lowercase by itself, without regard to its neighbours.
std::string lowercase(std::string_view text);

}  // namespace quern
