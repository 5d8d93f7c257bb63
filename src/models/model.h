#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "models/architecture.h"
#include "models/chat_templates.h"
#include "models/checkpoint_weights.h"
#include "models/generation_config.h"
#include "models/model_config.h"
#include "models/model_location.h"
#include "program/program.h"
#include "text/tokenizer.h"

namespace quern {

/// The files of a model, opened and validated, whatever its architecture: what `show` can say of
/// models that quern does not run, and what text needs.
struct ModelFiles {
  ModelLocation location;
  std::unique_ptr<const Checkpoint> checkpoint;
  Json config;                    // config.json, or the scalars of GGUF's metadata
  std::string architecture_name;  // as the files spell it; empty if they do not say
  std::optional<std::string> given_chat_template;  // used instead of what the files have

  /// What the files say about chat and its special tokens; none is no error.
  Result<ChatTemplates> chat_templates() const;
  Result<SpecialTokens> special_tokens() const;
  /// Opened at the first call, by any thread. kNotFound names the missing file.
  Result<const Tokenizer*> tokenizer() const;

  struct LazyTokenizer {
    std::once_flag once;
    std::optional<Result<Tokenizer>> tokenizer;
  };
  std::unique_ptr<LazyTokenizer> lazy_tokenizer = std::make_unique<LazyTokenizer>();
};

/// Locates and opens. kNotFound for missing files, kBadFile for malformed ones.
Result<ModelFiles> open_model_files(std::string_view model, const ModelPlaces& places);

/// A model that can be run: what it computes and where every weight of it lies.
struct Model {
  ModelFiles files;
  const Architecture* architecture = nullptr;
  ModelConfig config;
  Program program;  // as the architecture writes it, nothing fused
  std::unique_ptr<const CheckpointWeights> weights;
  GenerationConfig generation;

  int64_t num_parameters() const;
};

/// Makes a Model of files, every weight found. kUnsupported for an architecture, a field or a type
/// that quern does not have.
Result<Model> make_model(ModelFiles files);

/// Both: what every command that runs a model begins with.
Result<Model> open_model(std::string_view model, const ModelPlaces& places);

}  // namespace quern
