#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace quern {

/// quantization_config of config.json, the one form of it that quern runs: compressed-tensors'
/// scheme W8A8 of integers (format int-quantized, weights of 8 bits with a scale per output
/// channel, activations of 8 bits by token while running, both symmetric). kUnsupported names a
/// field of any other value, and a field that quern does not know.
///
/// Which matrices are quantised their stored types tell: `targets` must be all linear layers, and
/// `ignore` is read as a list of names alone.
Result<void> check_quantization_config(const Json& config, std::string_view what,
                                       std::string_view architecture);

}  // namespace quern
