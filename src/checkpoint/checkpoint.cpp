#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "base/cat.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weight_file.h"

namespace quern {

namespace {

constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kIndexEnding = ".safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = 100'000'000;
/// Each shard is a mapping of its own, of which a process may have some 65,000.
constexpr size_t kMaxShards = 4096;

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// Why a folder without safetensors cannot be opened, with the GGUF file in it that could be.
Error no_weights_in(const std::filesystem::path& folder) {
  Error error{.code = ErrorCode::kNotFound,
              .message = cat(folder.string(), ": holds neither ", kSingleName, " nor ", kIndexName),
              .what = folder.string(),
              .wanted = std::string(kSingleName)};
  std::error_code failure;
  std::filesystem::directory_iterator entry(folder, failure);
  for (; !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
    if (entry->path().extension() != ".gguf") continue;
    error.try_next = cat("name the file itself: ", entry->path().string());
    error.message += cat("; ", *error.try_next);
    break;
  }
  return error;
}

bool name_before(const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; }

const TensorInfo* find_by_name(const std::vector<TensorInfo>& sorted, std::string_view name) {
  const auto tensor = std::lower_bound(
      sorted.begin(), sorted.end(), name,
      [](const TensorInfo& info, std::string_view key) { return info.name < key; });
  return tensor == sorted.end() || tensor->name != name ? nullptr : &*tensor;
}

Error missing_shard(Error error, const std::filesystem::path& shard,
                    const std::filesystem::path& index) {
  if (error.code != ErrorCode::kNotFound) return error;
  error.message = cat(shard.string(), ": is missing, though ", index.string(),
                      " places tensors in it; fetch it and put it beside the others");
  error.try_next = "fetch the missing shard";
  return error;
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    if (is_there(path / kSingleName)) return open_file(path / kSingleName);
    if (is_there(path / kIndexName)) return open_sharded(path / kIndexName);
    return no_weights_in(path);
  }
  if (path.filename().string().ends_with(kIndexEnding)) return open_sharded(path);
  return open_file(path);
}

Result<Checkpoint> Checkpoint::open_file(const std::filesystem::path& path) {
  Checkpoint checkpoint;
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  ASSIGN_OR_RETURN(Container container, parse_weight_file(file.bytes(), path));
  checkpoint.format_ = container.format;
  checkpoint.files_.push_back(std::move(file));
  checkpoint.tensors_ = std::move(container.tensors);
  checkpoint.metadata_ = std::move(container.metadata);
  checkpoint.sort_tensors();
  if (const auto num_parts = checkpoint.integer("split.count"); num_parts && *num_parts > 1) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat(path.string(), ": is one of the ", *num_parts,
                                " parts of a split GGUF, which quern does not read; join them "
                                "with llama-gguf-split --merge"),
                 .what = path.string(),
                 .found = cat("one of ", *num_parts, " parts"),
                 .wanted = "one whole file",
                 .try_next = "llama-gguf-split --merge"};
  }
  return checkpoint;
}

Result<Checkpoint> Checkpoint::open_sharded(const std::filesystem::path& index) {
  ASSIGN_OR_RETURN(const std::string json, read_file(index, kMaxIndexBytes));
  ASSIGN_OR_RETURN(const ShardOfTensor shard_of, parse_safetensors_index(json, index.string()));
  std::map<std::string_view, std::vector<std::string_view>> tensors_of;
  for (const auto& [tensor, shard] : shard_of) tensors_of[shard].push_back(tensor);
  if (tensors_of.size() > kMaxShards) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(index.string(), ": names ", tensors_of.size(),
                                " shards, quern opens at most ", kMaxShards),
                 .what = index.string()};
  }

  Checkpoint checkpoint;
  for (const auto& [shard, names] : tensors_of) {
    const std::filesystem::path path = index.parent_path() / shard;
    auto opened = MappedFile::open(path);
    if (!opened) return missing_shard(std::move(opened).error(), path, index);
    MappedFile file = std::move(opened).value();
    ASSIGN_OR_RETURN(Container container, parse_safetensors(file.bytes(), path.string()));
    std::sort(container.tensors.begin(), container.tensors.end(), name_before);
    // The index decides: what it does not place in this shard is left out.
    for (const std::string_view name : names) {
      const TensorInfo* tensor = find_by_name(container.tensors, name);
      if (tensor == nullptr) {
        return Error{.code = ErrorCode::kBadFile,
                     .message = cat(path.string(), ": lacks the tensor \"", shown_name(name),
                                    "\" that ", index.string(),
                                    " places in it; the files are not of one model, fetch them "
                                    "again"),
                     .what = path.string(),
                     .wanted = cat("tensor ", shown_name(name))};
      }
      checkpoint.tensors_.push_back(*tensor);
      checkpoint.tensors_.back().file = static_cast<int32_t>(checkpoint.files_.size());
    }
    checkpoint.files_.push_back(std::move(file));
    checkpoint.metadata_.merge(container.metadata);
  }
  checkpoint.sort_tensors();
  return checkpoint;
}

void Checkpoint::sort_tensors() { std::sort(tensors_.begin(), tensors_.end(), name_before); }

const TensorInfo* Checkpoint::find(std::string_view name) const {
  return find_by_name(tensors_, name);
}

std::span<const std::byte> Checkpoint::bytes(const TensorInfo& tensor) const {
  const size_t file = static_cast<size_t>(tensor.file);
  ENSURE(file < files_.size(), "tensor ", tensor.name, " of another checkpoint");
  return files_[file].bytes().subspan(tensor.offset, tensor.bytes);
}

void Checkpoint::release(const TensorInfo& tensor) const {
  const size_t file = static_cast<size_t>(tensor.file);
  ENSURE(file < files_.size(), "tensor ", tensor.name, " of another checkpoint");
  files_[file].drop(tensor.offset, tensor.bytes);
}

uint64_t Checkpoint::fingerprint() const {
  constexpr size_t kHashedWhole = size_t{64} << 20, kEnds = size_t{1} << 20;
  constexpr size_t kSample = 4096, kSamples = 256;
  uint64_t hash = 0;
  const auto add = [&](std::span<const std::byte> bytes) { hash = xxh64(bytes, hash); };
  for (const MappedFile& file : files_) {
    const std::span<const std::byte> bytes = file.bytes();
    if (bytes.size() <= kHashedWhole) {
      add(bytes);
      continue;
    }
    const int64_t facts[] = {static_cast<int64_t>(bytes.size()), file.modified_ns()};
    add(std::as_bytes(std::span(facts)));
    add(bytes.first(kEnds));
    add(bytes.last(kEnds));
    // The kernel maps much around a page that is read: it is let go of as it comes.
    uint64_t dropped = kEnds;
    for (size_t i = 1; i < kSamples; ++i) {
      const size_t place = bytes.size() / kSamples * i;
      add(bytes.subspan(place).first(kSample));
      file.drop(dropped, place - dropped);
      dropped = place;
    }
    file.drop(dropped, bytes.size() - dropped);
  }
  return hash != 0 ? hash : 1;
}

uint64_t Checkpoint::file_bytes() const {
  uint64_t total = 0;
  for (const MappedFile& file : files_) total += file.bytes().size();
  return total;
}

template <typename T>
const T* Checkpoint::value_as(std::string_view key) const {
  const auto entry = metadata_.find(key);
  return entry == metadata_.end() ? nullptr : std::get_if<T>(&entry->second.value);
}

const std::string* Checkpoint::text(std::string_view key) const {
  return value_as<std::string>(key);
}

std::optional<int64_t> Checkpoint::integer(std::string_view key) const {
  const auto* value = value_as<int64_t>(key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<double> Checkpoint::number(std::string_view key) const {
  if (const auto* value = value_as<double>(key)) return *value;
  if (const auto* value = value_as<int64_t>(key)) return static_cast<double>(*value);
  if (const auto* value = value_as<uint64_t>(key)) return static_cast<double>(*value);
  return std::nullopt;
}

std::optional<bool> Checkpoint::boolean(std::string_view key) const {
  const auto* value = value_as<bool>(key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

const std::vector<std::string>* Checkpoint::texts(std::string_view key) const {
  return value_as<std::vector<std::string>>(key);
}

const std::vector<int64_t>* Checkpoint::integers(std::string_view key) const {
  return value_as<std::vector<int64_t>>(key);
}

const std::vector<double>* Checkpoint::numbers(std::string_view key) const {
  return value_as<std::vector<double>>(key);
}

const std::vector<bool>* Checkpoint::booleans(std::string_view key) const {
  return value_as<std::vector<bool>>(key);
}

}  // namespace quern
