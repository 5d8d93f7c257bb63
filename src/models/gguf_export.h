#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_writer.h"
#include "models/model.h"
#include "models/tensor_stream.h"

namespace quern {

/// What a GGUF file says beside its tensors, as read from a Hugging Face folder: name, config,
/// vocabulary, chat templates, end tokens. kUnsupported where GGUF has no words for the tokenizer;
/// a folder without one makes a file without one.
Result<void> write_gguf_metadata(const Model& model, GgufEntries& entries);

/// A weight under its name in GGUF files, its rows and values as those have them; no type chosen
/// yet. `model` must outlive it.
TensorStream gguf_stream(const Model& model, WeightId weight);

/// The tensor of divisors that stands for Llama 3's scaling of frequencies; nothing where the model
/// has none.
Result<std::optional<TensorStream>> gguf_rope_divisors(const Model& model);

/// Reads the file that was made of `model` and compares what the two compute. kUnsupported names
/// what GGUF has no words for: an activation of its own, a scale, a window.
Result<void> check_gguf_says_the_same(const Model& model, const Checkpoint& file);

}  // namespace quern
