#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "models/model_config.h"
#include "program/program.h"

namespace quern {

/// How a tensor of a file becomes a weight of the Program.
enum class Transform {
  kNone,
  kTranspose,         // stored [in, out] (GPT-2's Conv1D)
  kUnpermuteQueries,  // rows of a head stored as rotary pairs side by side (Llama in GGUF)
  kUnpermuteKeys,     // the same with the number of key/value heads
  kSubtractOne,       // stored with the one that the Program's norm adds (Gemma in GGUF)
};

/// Where a weight of the Program lies in either kind of file. "*" stands for the layer's number.
struct TensorRule {
  std::string_view name;  // in the Program and in safetensors
  std::string_view gguf;
  Transform from_gguf = Transform::kNone;
  Transform from_safetensors = Transform::kNone;
};

/// What a field that ModelConfig does not read may hold.
struct FieldRule {
  std::string_view name;
  std::string_view values = {};  // a JSON array of all that is supported; empty: anything, since
                                 // the field does not change the numbers
};

/// Another spelling of a field for one architecture.
struct FieldAlias {
  std::string_view name;      // as ModelConfig has it
  std::string_view spelling;  // in this architecture's config.json
};

/// One family of models: what its files are called and what it computes. To add one: a file that
/// defines it, and its lines in registry.cpp.
struct Architecture {
  std::string_view name;       // in "architectures" of config.json
  std::string_view base_name;  // the same without a head, as some files say
  std::string_view model_type;
  std::string_view gguf_name;  // general.architecture
  std::string_view prefix;     // of weight names; files of the base model leave it out
  std::string_view embeddings;
  std::string_view head;  // the weight that does not exist where word embeddings are tied

  ModelConfig (*defaults)();  // transformers' own
  std::span<const FieldAlias> aliases;
  /// Of the fields that not every architecture has, those that this one reads.
  std::span<const std::string_view> own_fields;
  std::span<const FieldRule> field_rules;  // before the common ones
  std::span<const TensorRule> tensors;
  /// Ends of names of tensors that a file may hold and that the Program has no use for.
  std::span<const std::string_view> skipped;

  Result<Program> (*build)(const ModelConfig& config);

  bool owns(std::string_view field) const {
    return std::ranges::find(own_fields, field) != own_fields.end();
  }
};

/// Every architecture quern knows, by name.
std::span<const Architecture* const> architectures();
const Architecture* find_architecture(std::string_view name);
const Architecture* find_gguf_architecture(std::string_view gguf_name);
/// kUnsupported with a message that lists what is supported.
Error unsupported_architecture(std::string_view what, std::string_view field,
                               std::string_view found);

/// The one an object read from config.json asks for: by "architectures", else by "model_type".
Result<const Architecture*> architecture_of(const Json& config, std::string_view what);

}  // namespace quern
