#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// A tensor of the safetensors file to be written.
struct SafetensorsTensor {
  std::string name;
  std::string_view type;       // as the format spells it: "F32", "BF16", "I8" ...
  std::vector<int64_t> shape;  // outermost first
  uint64_t bytes = 0;
};

/// The head of a safetensors file; the tensors' data follow it in their order, without gaps. What
/// needs a larger alignment must come first, then all of it is aligned.
std::string safetensors_head(std::span<const SafetensorsTensor> tensors);

}  // namespace quern
