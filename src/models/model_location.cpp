#include "models/model_location.h"

#include <algorithm>
#include <vector>

#include "base/cat.h"
#include "base/file.h"
#include "text/tokenizer.h"

namespace quern {

namespace {

namespace fs = std::filesystem;

Error not_found(std::string_view what, std::string message, std::string wanted) {
  return Error{.code = ErrorCode::kNotFound,
               .message = std::move(message),
               .what = std::string(what),
               .wanted = std::move(wanted)};
}

Error unsupported_kind(const fs::path& path, std::string_view kind, std::string_view advice) {
  return Error{.code = ErrorCode::kUnsupported,
               .message = cat(path.string(), ": is ", kind,
                              ", which quern does not load; supported: a folder with config.json "
                              "and safetensors, a .gguf file; ",
                              advice),
               .what = path.string(),
               .found = std::string(kind),
               .wanted = "safetensors or GGUF"};
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// The names in a folder with that ending, sorted; at most 1,000 are looked at.
std::vector<std::string> files_ending_in(const fs::path& folder, std::string_view ending) {
  std::vector<std::string> names;
  std::error_code failure;
  fs::directory_iterator entry(folder, failure);
  for (int seen = 0; !failure && entry != fs::directory_iterator() && seen < 1000; ++seen) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(ending)) names.push_back(name);
    entry.increment(failure);
  }
  std::ranges::sort(names);
  return names;
}

/// The last part of a path that has a name ("models/x/" -> "x").
std::string last_name(const fs::path& path) {
  const fs::path plain = fs::absolute(path).lexically_normal();
  const fs::path part = plain.has_filename() ? plain.filename() : plain.parent_path().filename();
  return part.empty() ? plain.string() : part.string();
}

Result<ModelLocation> locate_in_folder(const fs::path& folder, std::string name) {
  const bool has_safetensors =
      is_there(folder / "model.safetensors") || is_there(folder / "model.safetensors.index.json");
  if (has_safetensors) return ModelLocation{std::move(name), folder, folder};

  const std::vector<std::string> gguf = files_ending_in(folder, ".gguf");
  if (gguf.size() == 1) return ModelLocation{std::move(name), folder / gguf.front(), {}};
  if (gguf.size() > 1) {
    std::string list;
    for (size_t i = 0; i < std::min<size_t>(gguf.size(), 20); ++i) {
      list += cat(i == 0 ? "" : ", ", gguf[i]);
    }
    return not_found(
        folder.string(),
        cat(folder.string(), ": holds ", gguf.size(), " GGUF files; name one of them: ", list),
        "one GGUF file");
  }
  if (!files_ending_in(folder, ".onnx").empty()) {
    return unsupported_kind(folder, "a folder of ONNX files", "convert the model to one of these");
  }
  if (!files_ending_in(folder, ".bin").empty() || !files_ending_in(folder, ".pt").empty()) {
    return unsupported_kind(folder, "a folder of pickled PyTorch files",
                            "save it with safe_serialization=True");
  }
  return not_found(folder.string(),
                   cat(folder.string(),
                       ": holds no model: neither model.safetensors nor "
                       "model.safetensors.index.json nor a .gguf file"),
                   "model.safetensors, model.safetensors.index.json or a .gguf file");
}

Result<ModelLocation> locate_path(const fs::path& path) {
  if (is_folder(path)) return locate_in_folder(path, last_name(path));
  if (looks_like_gguf(path)) return ModelLocation{last_name(path), path, {}};
  const fs::path extension = path.extension();
  if (extension == ".onnx") {
    return unsupported_kind(path, "an ONNX file", "convert the model to one of these");
  }
  if (extension == ".bin" || extension == ".pt" || extension == ".pth") {
    return unsupported_kind(path, "a pickled PyTorch file", "save it as safetensors");
  }
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  return ModelLocation{last_name(path), path, folder};
}

/// Whether every part could be the name of a repository: letters, digits, "._-", no leading dot.
bool is_hub_id(std::string_view id) {
  const size_t slash = id.find('/');
  const auto is_part = [](std::string_view part) {
    constexpr std::string_view kLetters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return !part.empty() && part.front() != '.' && part.size() <= 96 &&
           part.find_first_not_of(kLetters) == std::string_view::npos;
  };
  if (slash == std::string_view::npos) return is_part(id);
  return is_part(id.substr(0, slash)) && is_part(id.substr(slash + 1));
}

/// The folder of the snapshot that refs/main names, or of the only one there is.
Result<fs::path> find_snapshot(const fs::path& repository, std::string_view id) {
  const fs::path snapshots = repository / "snapshots";
  if (Result<std::string> ref = read_file(repository / "refs" / "main", 1024)) {
    std::string commit = *std::move(ref);
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
    if (commit.find_first_not_of("0123456789abcdef") != std::string::npos || commit.empty()) {
      return Error{.code = ErrorCode::kBadFile,
                   .message = cat((repository / "refs" / "main").string(),
                                  ": holds no commit, wanted hexadecimal digits; the cache is "
                                  "damaged, fetch the model again"),
                   .what = (repository / "refs" / "main").string(),
                   .wanted = "a commit"};
    }
    if (is_folder(snapshots / commit)) return snapshots / commit;
    return not_found(id,
                     cat(id, ": the Hub cache knows it but ", (snapshots / commit).string(),
                         " is missing; fetch the model again"),
                     (snapshots / commit).string());
  }
  const std::vector<std::string> all = files_ending_in(snapshots, "");
  if (all.size() == 1) return snapshots / all.front();
  return not_found(id,
                   cat(id, ": the Hub cache holds ", all.size(), " snapshots in ",
                       snapshots.string(), " and no refs/main that chooses one; give the path"),
                   "refs/main");
}

}  // namespace

fs::path hub_cache_folder(
    const std::function<std::optional<std::string>(std::string_view)>& environment) {
  const auto folder = [&](std::string_view variable) -> std::optional<fs::path> {
    const std::optional<std::string> value = environment(variable);
    if (!value || value->empty()) return std::nullopt;
    return fs::path(*value);
  };
  if (const auto cache = folder("HF_HUB_CACHE")) return *cache;
  if (const auto home = folder("HF_HOME")) return *home / "hub";
  if (const auto cache = folder("XDG_CACHE_HOME")) return *cache / "huggingface" / "hub";
  if (const auto home = folder("HOME")) return *home / ".cache" / "huggingface" / "hub";
  return {};
}

Result<ModelLocation> locate_model(std::string_view model, const ModelPlaces& places) {
  if (model.empty()) {
    return not_found("MODEL", "MODEL is empty; give a path, a Hub id or the word demo",
                     "a path, a Hub id or the word demo");
  }
  const fs::path path{std::string(model)};
  if (is_there(path)) return locate_path(path);

  std::string looked = cat("no such file or folder");
  if (is_hub_id(model) && !places.hub_cache.empty()) {
    std::string folder = cat("models--", model);
    if (const size_t slash = folder.find('/'); slash != std::string::npos) {
      folder.replace(slash, 1, "--");
    }
    const fs::path repository = places.hub_cache / folder;
    if (is_folder(repository)) {
      ASSIGN_OR_RETURN(const fs::path snapshot, find_snapshot(repository, model));
      return locate_in_folder(snapshot, std::string(model));
    }
    looked += cat(", and not in the Hub cache (", repository.string(), ")");
  }
  if (model == "demo" && !places.demo.empty()) {
    if (!is_there(places.demo)) {
      return not_found("demo",
                       cat("demo: the demo model is missing, it should be ", places.demo.string()),
                       places.demo.string());
    }
    ASSIGN_OR_RETURN(ModelLocation found, locate_path(places.demo));
    found.name = "demo";
    return found;
  }
  return not_found(model,
                   cat(model, ": ", looked,
                       "; give a folder, a .gguf file, a .safetensors file beside its config.json, "
                       "a Hub id that has been fetched, or the word demo"),
                   "a model");
}

}  // namespace quern
