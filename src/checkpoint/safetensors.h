#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "checkpoint/container.h"

namespace quern {

/// Reads the header of one safetensors file: 8 bytes of header length, a JSON object of tensors
/// ("dtype", "shape", "data_offsets") and of text under "__metadata__", then the data without gaps.
/// `file` is the whole file, of which only the header is read; `what` names it in messages.
Result<Container> parse_safetensors(std::span<const std::byte> file, const std::string& what);

/// Which shard file holds each tensor.
using ShardOfTensor = std::map<std::string, std::string, std::less<>>;

/// Reads "weight_map" of a model.safetensors.index.json. Shards are plain file names beside the
/// index: a name with a separator or "..", which would lead elsewhere, is refused.
Result<ShardOfTensor> parse_safetensors_index(std::string_view json, const std::string& what);

}  // namespace quern
