#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// Where models are looked for besides the path a user gives.
struct ModelPlaces {
  std::filesystem::path demo;       // the file that the word "demo" stands for; empty: none
  std::filesystem::path hub_cache;  // the root of the local Hub cache; empty: none
};

/// The root of the Hub cache as Hugging Face's own tools find it: HF_HUB_CACHE, else HF_HOME/hub,
/// else XDG_CACHE_HOME/huggingface/hub, else HOME/.cache/huggingface/hub. `environment` gives the
/// value of a variable; empty values count as absent.
std::filesystem::path hub_cache_folder(
    const std::function<std::optional<std::string>(std::string_view)>& environment);

/// A model on disk.
struct ModelLocation {
  std::string name;               // the last part of the path, or the Hub id
  std::filesystem::path weights;  // what Checkpoint::open takes: a file or a folder
  std::filesystem::path folder;   // where config.json and the tokenizer lie; empty for GGUF
};

/// What MODEL on the command line stands for: an existing path (a folder, a .gguf file, a
/// .safetensors file beside its config), else a Hub id in the local cache, else the word "demo".
/// kNotFound says where was looked, kUnsupported names kinds of files that quern does not load.
Result<ModelLocation> locate_model(std::string_view model, const ModelPlaces& places);

}  // namespace quern
