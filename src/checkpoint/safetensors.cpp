#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <utility>

#include "base/byte_reader.h"
#include "base/cat.h"
#include "base/checked.h"
#include "base/json.h"

namespace quern {

namespace {

/// The limit of the reference implementation, against headers that are all JSON.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr uint64_t kLengthBytes = 8;

struct TypeRow {
  std::string_view name;
  int bits;
};
/// Every type of the format; quern computes with those that are in the list of storage formats.
constexpr auto kTypes = std::to_array<TypeRow>(
    {{"BOOL", 8},    {"U8", 8},          {"I8", 8},          {"F8_E4M3", 8}, {"F8_E5M2", 8},
     {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6},
     {"F4", 4},      {"I16", 16},        {"U16", 16},        {"F16", 16},    {"BF16", 16},
     {"I32", 32},    {"U32", 32},        {"F32", 32},        {"C64", 64},    {"F64", 64},
     {"I64", 64},    {"U64", 64}});

const TypeRow* find_type(std::string_view name) {
  const auto row = std::find_if(kTypes.begin(), kTypes.end(),
                                [&](const TypeRow& type) { return type.name == name; });
  return row == kTypes.end() ? nullptr : &*row;
}

/// One tensor as the header declares it, nothing checked yet.
struct Entry {
  std::string name;
  const TypeRow* type = nullptr;
  std::optional<std::vector<uint64_t>> shape, data_offsets;
};

/// Collects the entries of the header while its JSON is walked: the tree of a 100 MB header would
/// take gigabytes, and its keyed lookups hours.
class HeaderVisitor final : public JsonVisitor {
 public:
  explicit HeaderVisitor(std::string what) : what_(std::move(what)) {}

  bool begin_object() override {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kEntryValue:
        place_ = Place::kEntry;
        return true;
      case Place::kMetadataValue:
        place_ = Place::kMetadata;
        return true;
      default:
        return refuse_value("an object");
    }
  }

  bool end_object() override {
    if (place_ == Place::kEntry) {
      if (!entry_.type || !entry_.shape || !entry_.data_offsets) {
        return refuse(cat("tensor \"", shown_name(entry_.name),
                          "\" lacks one of dtype, shape and data_offsets"));
      }
      entries_.push_back(std::exchange(entry_, {}));
    }
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool key(std::string key) override {
    if (place_ == Place::kTop) {
      if (key != "__metadata__") {
        entry_.name = std::move(key);
        place_ = Place::kEntryValue;
        return true;
      }
      if (std::exchange(has_metadata_, true)) return refuse("\"__metadata__\" stands twice");
      place_ = Place::kMetadataValue;
      return true;
    }
    if (place_ == Place::kMetadata) {
      if (metadata_.contains(key)) {
        return refuse(cat("\"", shown_name(key), "\" stands twice in \"__metadata__\""));
      }
      text_key_ = std::move(key);
      place_ = Place::kMetadataText;
      return true;
    }
    const bool is_twice = (key == "dtype" && entry_.type) || (key == "shape" && entry_.shape) ||
                          (key == "data_offsets" && entry_.data_offsets);
    if (is_twice) return refuse(cat(in_tensor(), ": \"", key, "\" stands twice"));
    if (key == "dtype") {
      place_ = Place::kDtype;
    } else if (key == "shape") {
      place_ = Place::kShape;
    } else if (key == "data_offsets") {
      place_ = Place::kOffsets;
    } else {
      return refuse(cat(in_tensor(), ": has the field \"", shown_name(key),
                        "\", which the format does not know"));
    }
    return true;
  }

  bool begin_array() override {
    if (place_ == Place::kShape) {
      numbers_ = &entry_.shape.emplace();
    } else if (place_ == Place::kOffsets) {
      numbers_ = &entry_.data_offsets.emplace();
    } else {
      return refuse_value("an array");
    }
    place_ = Place::kNumbers;
    return true;
  }

  bool end_array() override {
    place_ = Place::kEntry;
    return true;
  }

  bool scalar(Json value) override {
    if (place_ == Place::kNumbers && value.is_number_unsigned()) {
      numbers_->push_back(value.get<uint64_t>());
      return true;
    }
    if (place_ == Place::kDtype && value.is_string()) {
      const auto& name = value.get_ref<const std::string&>();
      entry_.type = find_type(name);
      place_ = Place::kEntry;
      return entry_.type || refuse(cat(in_tensor(), ": has the dtype \"", shown_name(name),
                                       "\", which the format does not know"));
    }
    if (place_ == Place::kMetadataText && value.is_string()) {
      metadata_.emplace(std::move(text_key_),
                        MetadataValue{std::move(value.get_ref<std::string&>())});
      place_ = Place::kMetadata;
      return true;
    }
    return refuse_value(value.is_number()   ? "a number that is not a whole one from 0 to 2^64 - 1"
                        : value.is_string() ? "a text"
                                            : value.type_name());
  }

  Result<std::vector<Entry>> take_entries() && {
    if (failure_) return Error{.code = ErrorCode::kBadFile, .message = *failure_, .what = what_};
    return std::move(entries_);
  }
  Metadata take_metadata() && { return std::move(metadata_); }

 private:
  /// What may come next: a key of the object named, or the value named.
  enum class Place {
    kStart,
    kTop,
    kEntryValue,
    kEntry,
    kDtype,
    kShape,
    kOffsets,
    kNumbers,
    kMetadataValue,
    kMetadata,
    kMetadataText,
    kEnd
  };

  bool refuse(std::string_view why) {
    failure_ = cat(what_, ": header: ", why, "; the file is damaged or was written wrongly");
    return false;
  }
  bool refuse_value(std::string_view found) {
    switch (place_) {
      case Place::kStart:
        return refuse(cat("is ", found, ", wanted an object of tensors"));
      case Place::kEntryValue:
        return refuse(cat(in_tensor(), ": is ", found, ", wanted an object"));
      case Place::kMetadataValue:
        return refuse(cat("\"__metadata__\" is ", found, ", wanted an object of texts"));
      case Place::kMetadataText:
        return refuse(cat("\"", shown_name(text_key_), "\" in \"__metadata__\" is ", found,
                          ", wanted a text"));
      case Place::kDtype:
        return refuse(cat(in_tensor(), ": dtype is ", found, ", wanted a text"));
      default:
        return refuse(cat(in_tensor(), ": shape or data_offsets is or holds ", found,
                          ", wanted an array of whole numbers"));
    }
  }
  std::string in_tensor() const { return cat("tensor \"", shown_name(entry_.name), "\""); }

  std::string what_;
  Place place_ = Place::kStart;
  Entry entry_;
  std::vector<uint64_t>* numbers_ = nullptr;
  std::string text_key_;
  bool has_metadata_ = false;
  std::vector<Entry> entries_;
  Metadata metadata_;
  std::optional<std::string> failure_;
};

/// The tensor of an entry, its bytes exactly what shape and type need and inside `data_bytes` bytes
/// of data that begin at `data_begin`.
Result<TensorInfo> locate(Entry entry, uint64_t data_begin, uint64_t data_bytes,
                          const std::string& what) {
  const std::string tensor = cat(what, ": tensor \"", shown_name(entry.name), "\": ");
  auto refuse = [&](std::string_view why) {
    return Error{.code = ErrorCode::kBadFile, .message = cat(tensor, why), .what = what};
  };
  if (entry.data_offsets->size() != 2) {
    return refuse(cat("data_offsets holds ", entry.data_offsets->size(), " numbers, wanted 2"));
  }
  const uint64_t begin = (*entry.data_offsets)[0], end = (*entry.data_offsets)[1];
  if (begin > end || end > data_bytes) {
    return refuse(cat("bytes ", begin, " to ", end, " lie outside the data section of ", data_bytes,
                      " bytes; the file is truncated or damaged, fetch it again"));
  }

  TensorInfo info;
  CheckedU64 num_values = 1;
  for (const uint64_t size : *entry.shape) {
    num_values = num_values * size;
    if (!num_values.at_most(INT64_MAX) || size > uint64_t{INT64_MAX}) {
      return refuse("the sizes of its shape multiply to more than 2^63 - 1 values");
    }
    info.shape.push_back(static_cast<int64_t>(size));
  }
  const CheckedU64 bits = num_values * static_cast<uint64_t>(entry.type->bits);
  if (bits.overflowed() || *bits.get() % 8 != 0 || *bits.get() / 8 != end - begin) {
    return refuse(cat("data_offsets give it ", end - begin, " bytes, but ", *num_values.get(),
                      " values of type ", entry.type->name, " at ", entry.type->bits,
                      " bits each do not fill them; the file is damaged or was written wrongly"));
  }
  info.name = std::move(entry.name);
  info.type_name = entry.type->name;
  info.dtype = DType::from_safetensors_name(entry.type->name);
  info.offset = data_begin + begin;
  info.bytes = end - begin;
  return info;
}

/// Refuses data that is not the tensors one after the other, from the first byte to the last: a
/// gap or a tail can hide another file, an overlap makes one tensor of two.
Result<void> check_layout(const std::vector<TensorInfo>& tensors, uint64_t data_begin,
                          uint64_t data_bytes, const std::string& what) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(tensors[a].offset, tensors[a].bytes) <
           std::pair(tensors[b].offset, tensors[b].bytes);
  });
  auto refuse = [&](std::string_view why) {
    return Error{.code = ErrorCode::kBadFile, .message = cat(what, ": ", why), .what = what};
  };
  uint64_t filled = data_begin;
  for (const size_t index : order) {
    const TensorInfo& tensor = tensors[index];
    if (tensor.offset != filled) {
      return refuse(cat("tensor \"", shown_name(tensor.name), "\" begins at data byte ",
                        tensor.offset - data_begin, ", wanted ", filled - data_begin,
                        ": tensors must follow each other without gap or overlap"));
    }
    filled += tensor.bytes;
  }
  if (filled - data_begin == data_bytes) return {};
  return refuse(cat("the tensors end at data byte ", filled - data_begin, " but ", data_bytes,
                    " bytes of data are there: bytes after the data are not allowed"));
}

/// Collects "weight_map" of an index; whatever else the index holds is stepped over.
class IndexVisitor final : public JsonVisitor {
 public:
  explicit IndexVisitor(std::string what) : what_(std::move(what)) {}

  bool begin_object() override { return open("an object"); }
  bool end_object() override { return close(); }
  bool begin_array() override { return open("an array"); }
  bool end_array() override { return close(); }

  bool key(std::string key) override {
    if (depth_ == 1) {
      in_map_ = key == "weight_map";
      if (in_map_ && std::exchange(has_map_, true)) return refuse("\"weight_map\" stands twice");
    } else if (depth_ == 2 && in_map_) {
      if (shards_.contains(key)) {
        return refuse(cat("\"", shown_name(key), "\" stands twice in \"weight_map\""));
      }
      tensor_ = std::move(key);
    }
    return true;
  }

  bool scalar(Json value) override {
    if (depth_ == 0) return refuse("is no object");
    if (depth_ == 1 && in_map_) return refuse("\"weight_map\" is no object");
    if (depth_ != 2 || !in_map_) return true;
    if (!value.is_string()) {
      return refuse(cat("\"", shown_name(tensor_), "\" names no file"));
    }
    auto& shard = value.get_ref<std::string&>();
    if (!is_plain_file_name(shard)) {
      return refuse(cat("\"", shown_name(tensor_), "\" is said to be in \"", shown_name(shard),
                        "\": a shard must be a plain file name in the folder of the index"));
    }
    shards_.emplace(std::move(tensor_), std::move(shard));
    return true;
  }

  Result<ShardOfTensor> take() && {
    if (!failure_ && !has_map_) refuse("lacks \"weight_map\"");
    if (failure_) return Error{.code = ErrorCode::kBadFile, .message = *failure_, .what = what_};
    return std::move(shards_);
  }

 private:
  static bool is_plain_file_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
           name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
  }
  bool open(std::string_view found) {
    if (depth_ == 0 && found != "an object") return refuse("is no object");
    if (depth_ == 1 && in_map_ && found != "an object")
      return refuse("\"weight_map\" is no object");
    if (depth_ == 2 && in_map_) {
      return refuse(cat("\"", shown_name(tensor_), "\" names no file but ", found));
    }
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }
  bool refuse(std::string_view why) {
    failure_ = cat(what_, ": ", why);
    return false;
  }

  std::string what_;
  int depth_ = 0;
  bool in_map_ = false, has_map_ = false;
  std::string tensor_;
  ShardOfTensor shards_;
  std::optional<std::string> failure_;
};

}  // namespace

Result<Container> parse_safetensors(std::span<const std::byte> file, const std::string& what) {
  ByteReader in(file, what);
  ASSIGN_OR_RETURN(const uint64_t header_bytes, in.take_number<uint64_t>("header length"));
  if (header_bytes > kMaxHeaderBytes) {
    return Error{
        .code = ErrorCode::kBadFile,
        .message = cat(what, ": declares a header of ", header_bytes, " bytes, the format allows ",
                       kMaxHeaderBytes, "; the file is damaged or no safetensors file"),
        .what = what,
        .found = cat(header_bytes, " bytes"),
        .wanted = cat("at most ", kMaxHeaderBytes, " bytes")};
  }
  ASSIGN_OR_RETURN(const std::string_view header, in.take_text(header_bytes, "header"));
  if (!header.starts_with('{')) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(what,
                                ": the header does not begin with '{'; the file is damaged "
                                "or no safetensors file"),
                 .what = what};
  }
  HeaderVisitor visitor(what);
  RETURN_IF_ERROR(walk_json(header, cat(what, ": header"), visitor));
  ASSIGN_OR_RETURN(std::vector<Entry> entries, std::move(visitor).take_entries());

  const uint64_t data_begin = kLengthBytes + header_bytes, data_bytes = in.bytes_left();
  Container container;
  container.metadata = std::move(visitor).take_metadata();
  container.tensors.reserve(entries.size());
  for (Entry& entry : entries) {
    ASSIGN_OR_RETURN(TensorInfo tensor, locate(std::move(entry), data_begin, data_bytes, what));
    container.tensors.push_back(std::move(tensor));
  }
  RETURN_IF_ERROR(check_unique_names(container.tensors, what));
  RETURN_IF_ERROR(check_layout(container.tensors, data_begin, data_bytes, what));
  return container;
}

Result<ShardOfTensor> parse_safetensors_index(std::string_view json, const std::string& what) {
  IndexVisitor visitor(what);
  RETURN_IF_ERROR(walk_json(json, what, visitor));
  return std::move(visitor).take();
}

}  // namespace quern
