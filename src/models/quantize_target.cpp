#include "models/quantize_target.h"

#include <algorithm>
#include <cctype>

#include "base/cat.h"

namespace quern {

namespace fs = std::filesystem;

Error bad_target(const fs::path& out, std::string_view why, std::string_view try_next) {
  return Error{.code = ErrorCode::kUsage,
               .message = cat(out.string(), ": ", why, "; ", try_next),
               .what = out.string(),
               .try_next = std::string(try_next)};
}

Result<void> check_file_target(const Checkpoint& checkpoint, const fs::path& out, bool force) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(out, ignored))) return {};
  for (const MappedFile& file : checkpoint.files()) {
    if (fs::equivalent(file.path(), out, ignored)) {
      return bad_target(out, "is the model that is to be read", "name another file");
    }
  }
  if (fs::is_directory(out, ignored)) {
    return bad_target(out, "is a folder, a GGUF file cannot take its place", "name a file");
  }
  if (!force) return bad_target(out, "exists already", "name another file, or say --force");
  return {};
}

Result<void> check_folder_target(const Checkpoint& checkpoint, const fs::path& out, bool force) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(out, ignored))) return {};
  for (const MappedFile& file : checkpoint.files()) {
    fs::path folder = file.path().parent_path();
    if (folder.empty()) folder = ".";
    if (fs::equivalent(folder, out, ignored) || fs::equivalent(file.path(), out, ignored)) {
      return bad_target(out, "is where the model that is to be read lies", "name another folder");
    }
  }
  if (!force) return bad_target(out, "exists already", "name another folder, or say --force");
  // A mistyped name must not cost more than a model.
  bool is_model = fs::is_regular_file(out / "config.json", ignored);
  for (const auto& entry : fs::directory_iterator(out, ignored)) {
    if (entry.is_directory(ignored)) is_model = false;
  }
  const bool is_empty_folder = fs::is_directory(out, ignored) && fs::is_empty(out, ignored);
  if (!is_model && !is_empty_folder) {
    return bad_target(out, "is not a model's folder, so that it is not replaced",
                      "name another folder, or remove it yourself");
  }
  return {};
}

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace

std::string stored_type(const TensorInfo& tensor) {
  return tensor.dtype ? std::string(tensor.dtype->name()) : lower(tensor.type_name);
}

DType fitting_or_fallback(std::string_view name, DType asked, int64_t cols,
                          std::vector<Fallback>& fallbacks) {
  const DType used = fitting_dtype(asked, cols);
  if (used != asked) {
    fallbacks.push_back({.name = std::string(name), .wanted = asked, .used = used});
  }
  return used;
}

}  // namespace quern
