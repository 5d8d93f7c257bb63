#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"
#include "checkpoint/container.h"

namespace quern {

/// Recognises one weight file by its content and reads its head. Pure in `file`, the whole file;
/// `path` names it in messages, and its extension says what a file was meant to be whose content
/// is none of the formats. Formats that quern knows but does not read are kUnsupported.
Result<Container> parse_weight_file(std::span<const std::byte> file,
                                    const std::filesystem::path& path);

}  // namespace quern
