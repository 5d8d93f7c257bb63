#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "models/model.h"
#include "models/weight_types.h"

namespace quern {

struct QuantizeOptions {
  DType dtype = DType::of<F32>();        // of all matrices; w8a8 of all products, folders only
  std::vector<DTypeOverride> keep = {};  // but these; see DTypeRules
  bool force = false;                    // replace what stands at the target
  int threads = 1;
  /// Called with the share done so far; false ends the work. May be empty.
  std::function<bool(double fraction)> progress = {};
};

struct QuantizedTensor {
  std::string name, from, to;
};

/// What was written.
struct QuantizeReport {
  bool interrupted = false;  // `progress` ended it: nothing was written
  uint64_t in_bytes = 0, out_bytes = 0;
  double bits_per_weight = 0;
  std::vector<QuantizedTensor> tensors;  // in the order of the new file
  std::vector<Fallback> fallbacks;
};

/// Writes the model with its matrices in another type to `out`. It takes its place when it is whole
/// and stays away after any failure.
///
/// A name that ends in .gguf is a file that llama.cpp loads, too. A GGUF file keeps its metadata
/// and may be of any architecture; of a Hugging Face folder the config, tokenizer and tensors are
/// written as llama.cpp's files have them. Vectors are f32. Any other name is a Hugging Face folder
/// made of another one: of float types, vectors as they are, or W8A8 as compressed-tensors has it.
///
/// kUsage where `out` exists and not `force`, or is the model itself; kUnsupported for a tensor
/// that quern cannot read, for a config or tokenizer that the target has no words for.
Result<QuantizeReport> quantize_model(ModelFiles files, const std::filesystem::path& out,
                                      const QuantizeOptions& options);

}  // namespace quern
