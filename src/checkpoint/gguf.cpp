#include "checkpoint/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "base/byte_reader.h"
#include "base/cat.h"
#include "base/checked.h"

namespace quern {

namespace {

constexpr std::string_view kMagic = "GGUF";
/// Seven times the largest vocabulary known. What quern keeps or prints of a head can be twenty
/// times its bytes, so this is what bounds the memory that a hostile file of any size can take.
constexpr uint64_t kMaxHeadBytes = uint64_t{128} << 20;
constexpr uint64_t kMaxKeyBytes = 65535;  // the format's
constexpr uint64_t kMaxTensorNameBytes = 64;
constexpr uint32_t kMaxDims = 4;
constexpr int kMaxArrayDepth = 16;
constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr uint32_t kDefaultAlignment = 32;
constexpr uint32_t kMaxAlignment = 1 << 20;

/// The numbers of metadata value types.
enum ValueType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12
};

constexpr auto kTypes = std::to_array<GgufType>({
    {0, "F32", 1, 4},           {1, "F16", 1, 2},           {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},        {6, "Q5_0", 32, 22},        {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},        {9, "Q8_1", 32, 36},        {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},     {12, "Q4_K", 256, 144},     {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},     {15, "Q8_K", 256, 292},     {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},    {18, "IQ3_XXS", 256, 98},   {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},     {21, "IQ3_S", 256, 110},    {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136},   {24, "I8", 1, 1},           {25, "I16", 1, 2},
    {26, "I32", 1, 4},          {27, "I64", 1, 8},          {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},     {30, "BF16", 1, 2},         {31, "Q4_0_4_4", 32, 18},
    {32, "Q4_0_4_8", 32, 18},   {33, "Q4_0_8_8", 32, 18},   {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},     {36, "IQ4_NL_4_4", 32, 18}, {37, "IQ4_NL_4_8", 32, 18},
    {38, "IQ4_NL_8_8", 32, 18}, {39, "MXFP4", 32, 17},      {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},      {42, "Q2_0", 64, 18},
});

const GgufType* find_type(uint32_t number) {
  const auto row = std::find_if(kTypes.begin(), kTypes.end(),
                                [&](const GgufType& type) { return type.number == number; });
  return row == kTypes.end() ? nullptr : &*row;
}

/// The numbers as int64_t or, where one of them is too large for that, as they are.
MetadataValue compact(std::vector<uint64_t> numbers) {
  const bool fits = std::all_of(numbers.begin(), numbers.end(),
                                [](uint64_t number) { return number <= uint64_t{INT64_MAX}; });
  if (!fits) return {std::move(numbers)};
  return {std::vector<int64_t>(numbers.begin(), numbers.end())};
}

/// Reads one file's head from front to back.
class GgufReader {
 public:
  GgufReader(std::span<const std::byte> file, const std::string& what)
      : what_(what),
        file_bytes_(file.size()),
        in_(file.first(std::min<uint64_t>(file.size(), kMaxHeadBytes)),
            file.size() <= kMaxHeadBytes
                ? what
                : cat(what, " (metadata and tensor list must fit in the first ", kMaxHeadBytes,
                      " bytes)")) {}

  /// Also lists the entries where `entries` is given.
  Result<Container> read(std::span<const std::byte> file = {},
                         std::vector<GgufEntry>* entries = nullptr) {
    RETURN_IF_ERROR(read_version());
    ASSIGN_OR_RETURN(const uint64_t num_tensors, in_.take_number<uint64_t>("tensor count"));
    ASSIGN_OR_RETURN(const uint64_t num_entries, in_.take_number<uint64_t>("metadata count"));
    // The least an entry takes: key length, key, type, value; the least a tensor takes: name
    // length, number of dimensions, type, offset.
    RETURN_IF_ERROR(in_.check_count(num_entries, 8 + 1 + 4 + 1, "metadata"));
    RETURN_IF_ERROR(in_.check_count(num_tensors, 8 + 4 + 4 + 8, "tensor list"));

    Container container;
    container.format = ContainerFormat::kGguf;
    for (uint64_t i = 0; i < num_entries; ++i) {
      const uint64_t begin = in_.position();
      ASSIGN_OR_RETURN(std::string key, read_entry(container.metadata));
      if (entries == nullptr) continue;
      entries->push_back({std::move(key), file.subspan(begin, in_.position() - begin)});
    }
    for (uint64_t i = 0; i < num_tensors; ++i) {
      ASSIGN_OR_RETURN(TensorInfo tensor, read_tensor(i));
      container.tensors.push_back(std::move(tensor));
    }
    RETURN_IF_ERROR(check_unique_names(container.tensors, what_));
    RETURN_IF_ERROR(place_tensors(container.tensors));
    return container;
  }

 private:
  Error bad_file(std::string_view why) const {
    return Error{.code = ErrorCode::kBadFile, .message = cat(what_, ": ", why), .what = what_};
  }
  Error unsupported(std::string_view why) const {
    return Error{.code = ErrorCode::kUnsupported, .message = cat(what_, ": ", why), .what = what_};
  }

  Result<void> read_version() {
    ASSIGN_OR_RETURN(const std::string_view magic, in_.take_text(kMagic.size(), "magic"));
    if (magic != kMagic) {
      return bad_file(cat("begins with \"", shown_name(magic), "\", wanted \"", kMagic,
                          "\"; this is no GGUF file"));
    }
    ASSIGN_OR_RETURN(const uint32_t version, in_.take_number<uint32_t>("version"));
    if (version == 2 || version == 3) return {};
    const uint32_t swapped = __builtin_bswap32(version);
    if (swapped >= 1 && swapped <= 3) {
      return unsupported(cat("is a big-endian GGUF file of version ", swapped,
                             "; quern reads little-endian files: convert the model again"));
    }
    if (version == 1) {
      return unsupported(
          "is a GGUF file of version 1, quern reads 2 and 3: convert the model again with a "
          "current converter");
    }
    if (version > 3 && version < 100) {
      return unsupported(cat("is a GGUF file of version ", version, ", quern reads 2 and 3"));
    }
    return bad_file(cat("declares GGUF version ", version, ", wanted 2 or 3; the file is damaged"));
  }

  /// Returns its key.
  Result<std::string> read_entry(Metadata& metadata) {
    ASSIGN_OR_RETURN(const uint64_t key_bytes, in_.take_number<uint64_t>("metadata key length"));
    if (key_bytes == 0 || key_bytes > kMaxKeyBytes) {
      return bad_file(cat("a metadata key of ", key_bytes, " bytes stands before byte ",
                          in_.position(), ", the format allows 1 to ", kMaxKeyBytes,
                          "; the file is damaged"));
    }
    ASSIGN_OR_RETURN(const std::string_view key, in_.take_text(key_bytes, "metadata key"));
    part_ = cat("metadata \"", shown_name(key), "\"");
    if (metadata.contains(key)) return bad_file(cat(part_, " stands twice"));
    ASSIGN_OR_RETURN(const uint32_t type, in_.take_number<uint32_t>(part_));
    if (key == kAlignmentKey) RETURN_IF_ERROR(check_alignment_type(type));
    auto value = type == kArray ? read_array() : read_scalar(type);
    if (!value) return std::move(value).error();
    if (key == kAlignmentKey) RETURN_IF_ERROR(set_alignment(*value));
    metadata.emplace(key, *std::move(value));
    return std::string(key);
  }

  Result<void> check_alignment_type(uint32_t type) const {
    if (type == kU32) return {};
    return bad_file(cat(part_, " is of value type ", type, ", wanted ", uint32_t{kU32},
                        " (a 32-bit unsigned integer)"));
  }
  Result<void> set_alignment(const MetadataValue& value) {
    const int64_t alignment = std::get<int64_t>(value.value);
    if (alignment > kMaxAlignment || !std::has_single_bit(static_cast<uint64_t>(alignment))) {
      return bad_file(cat(part_, " is ", alignment, ", wanted a power of two of at most ",
                          kMaxAlignment, "; the file is damaged or was written wrongly"));
    }
    alignment_ = static_cast<uint64_t>(alignment);
    return {};
  }

  template <typename Stored, typename Kept>
  Result<MetadataValue> read_number() {
    ASSIGN_OR_RETURN(const Stored number, in_.take_number<Stored>(part_));
    return MetadataValue{static_cast<Kept>(number)};
  }

  Result<MetadataValue> read_scalar(uint32_t type) {
    switch (type) {
      case kU8:
        return read_number<uint8_t, int64_t>();
      case kI8:
        return read_number<int8_t, int64_t>();
      case kU16:
        return read_number<uint16_t, int64_t>();
      case kI16:
        return read_number<int16_t, int64_t>();
      case kU32:
        return read_number<uint32_t, int64_t>();
      case kI32:
        return read_number<int32_t, int64_t>();
      case kI64:
        return read_number<int64_t, int64_t>();
      case kF32:
        return read_number<float, double>();
      case kF64:
        return read_number<double, double>();
      case kU64: {
        ASSIGN_OR_RETURN(const uint64_t number, in_.take_number<uint64_t>(part_));
        if (number > uint64_t{INT64_MAX}) return MetadataValue{number};
        return MetadataValue{static_cast<int64_t>(number)};
      }
      case kBool: {
        ASSIGN_OR_RETURN(const uint8_t byte, in_.take_number<uint8_t>(part_));
        if (byte > 1) return not_a_bool(byte);
        return MetadataValue{byte == 1};
      }
      case kText: {
        ASSIGN_OR_RETURN(const std::string_view text, read_text());
        return MetadataValue{std::string(text)};
      }
      default:
        return bad_file(cat(part_, " is of value type ", type,
                            ", the format knows 0 to 12; the file is damaged"));
    }
  }

  Error not_a_bool(uint8_t byte) const {
    return bad_file(cat(part_, " holds the bool ", byte, ", wanted 0 or 1; the file is damaged"));
  }

  Result<std::string_view> read_text() {
    ASSIGN_OR_RETURN(const uint64_t size, in_.take_number<uint64_t>(part_));
    return in_.take_text(size, part_);
  }

  /// An array whose innermost arrays are of scalars. Arrays of arrays are read with a stack of
  /// those still open instead of recursion, and grow as their members arrive: a count alone
  /// reserves nothing.
  Result<MetadataValue> read_array() {
    struct Open {
      MetadataArrays members;
      uint64_t num_left;
    };
    std::vector<Open> open;
    while (true) {
      ASSIGN_OR_RETURN(const uint32_t type, in_.take_number<uint32_t>(part_));
      ASSIGN_OR_RETURN(const uint64_t count, in_.take_number<uint64_t>(part_));
      MetadataValue value;
      if (type != kArray) {
        ASSIGN_OR_RETURN(value, read_scalars(type, count));
      } else {
        RETURN_IF_ERROR(in_.check_count(count, 4 + 8, part_));
        if (open.size() == kMaxArrayDepth - 1) {
          return unsupported(cat(part_, " nests arrays more than ", kMaxArrayDepth, " deep"));
        }
        if (count > 0) {
          open.push_back({{}, count});
          continue;
        }
        value.value = MetadataArrays();
      }
      while (true) {
        if (open.empty()) return value;
        open.back().members.push_back(std::move(value));
        if (--open.back().num_left > 0) break;
        value.value = std::move(open.back().members);
        open.pop_back();
      }
    }
  }

  /// `count` numbers, each stored as `Stored`; allocates only once their bytes are known to be
  /// there.
  template <typename Stored, typename Kept>
  Result<std::vector<Kept>> read_numbers(uint64_t count) {
    RETURN_IF_ERROR(in_.check_count(count, sizeof(Stored), part_));
    ASSIGN_OR_RETURN(const auto bytes, in_.take(count * sizeof(Stored), part_));
    std::vector<Kept> numbers(count);
    for (size_t i = 0; i < numbers.size(); ++i) {
      Stored number;
      std::memcpy(&number, bytes.data() + i * sizeof(Stored), sizeof(Stored));
      numbers[i] = static_cast<Kept>(number);
    }
    return numbers;
  }

  template <typename Stored, typename Kept>
  Result<MetadataValue> read_number_array(uint64_t count) {
    ASSIGN_OR_RETURN(std::vector<Kept> numbers, (read_numbers<Stored, Kept>(count)));
    return MetadataValue{std::move(numbers)};
  }

  Result<MetadataValue> read_scalars(uint32_t type, uint64_t count) {
    switch (type) {
      case kU8:
        return read_number_array<uint8_t, int64_t>(count);
      case kI8:
        return read_number_array<int8_t, int64_t>(count);
      case kU16:
        return read_number_array<uint16_t, int64_t>(count);
      case kI16:
        return read_number_array<int16_t, int64_t>(count);
      case kU32:
        return read_number_array<uint32_t, int64_t>(count);
      case kI32:
        return read_number_array<int32_t, int64_t>(count);
      case kI64:
        return read_number_array<int64_t, int64_t>(count);
      case kF32:
        return read_number_array<float, double>(count);
      case kF64:
        return read_number_array<double, double>(count);
      case kU64: {
        ASSIGN_OR_RETURN(std::vector<uint64_t> numbers, (read_numbers<uint64_t, uint64_t>(count)));
        return compact(std::move(numbers));
      }
      case kBool:
        return read_bools(count);
      case kText:
        return read_texts(count);
      default:
        return bad_file(cat(part_, " is an array of value type ", type,
                            ", the format knows 0 to 12; the file is damaged"));
    }
  }

  Result<MetadataValue> read_bools(uint64_t count) {
    ASSIGN_OR_RETURN(const auto bytes, in_.take(count, part_));
    std::vector<bool> bools(count);
    for (size_t i = 0; i < bools.size(); ++i) {
      const uint8_t byte = std::to_integer<uint8_t>(bytes[i]);
      if (byte > 1) return not_a_bool(byte);
      bools[i] = byte == 1;
    }
    return MetadataValue{std::move(bools)};
  }

  Result<MetadataValue> read_texts(uint64_t count) {
    RETURN_IF_ERROR(in_.check_count(count, sizeof(uint64_t), part_));
    std::vector<std::string> texts;
    texts.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(const std::string_view text, read_text());
      texts.emplace_back(text);
    }
    return MetadataValue{std::move(texts)};
  }

  /// One entry of the tensor list; its offset is still relative to the data.
  Result<TensorInfo> read_tensor(uint64_t index) {
    part_ = cat("tensor ", index);
    ASSIGN_OR_RETURN(const uint64_t name_bytes, in_.take_number<uint64_t>(part_));
    if (name_bytes > kMaxTensorNameBytes) {
      return bad_file(cat(part_, " has a name of ", name_bytes, " bytes, the format allows ",
                          kMaxTensorNameBytes, "; the file is damaged or was written wrongly"));
    }
    ASSIGN_OR_RETURN(const std::string_view name, in_.take_text(name_bytes, part_));
    part_ = cat("tensor \"", shown_name(name), "\"");

    TensorInfo tensor;
    tensor.name = name;
    ASSIGN_OR_RETURN(const uint32_t num_dims, in_.take_number<uint32_t>(part_));
    if (num_dims > kMaxDims) {
      return bad_file(cat(part_, " has ", num_dims, " dimensions, the format allows ", kMaxDims));
    }
    CheckedU64 num_values = 1;
    for (uint32_t i = 0; i < num_dims; ++i) {
      ASSIGN_OR_RETURN(const uint64_t size, in_.take_number<uint64_t>(part_));
      num_values = num_values * size;
      if (size == 0) return bad_file(cat(part_, " has a dimension of size 0"));
      if (!num_values.at_most(INT64_MAX)) {
        return bad_file(cat(part_, ": its dimensions multiply to more than 2^63 - 1 values"));
      }
      tensor.shape.push_back(static_cast<int64_t>(size));
    }
    // The file has the fastest dimension first.
    std::reverse(tensor.shape.begin(), tensor.shape.end());

    ASSIGN_OR_RETURN(const uint32_t number, in_.take_number<uint32_t>(part_));
    const GgufType* type = find_type(number);
    if (type == nullptr) {
      return unsupported(cat(part_, " is of type number ", number,
                             ", which quern does not know, so that its size is unknown too"));
    }
    const uint64_t row_values = num_dims == 0 ? 1 : static_cast<uint64_t>(tensor.shape.back());
    if (row_values % type->block_values != 0) {
      return bad_file(cat(part_, " has rows of ", row_values, " values, type ", type->name,
                          " stores blocks of ", type->block_values));
    }
    const CheckedU64 bytes = CheckedU64(*num_values.get() / type->block_values) * type->block_bytes;
    if (!bytes.at_most(file_bytes_)) {
      return bad_file(cat(part_, ": its shape and type ", type->name, " need more bytes than the ",
                          file_bytes_, " of the file; the file is truncated or damaged"));
    }
    tensor.type_name = type->name;
    tensor.dtype = DType::from_gguf_type(number);
    tensor.bytes = *bytes.get();
    ASSIGN_OR_RETURN(tensor.offset, in_.take_number<uint64_t>(part_));
    return tensor;
  }

  /// Makes the offsets relative to the file; refuses data that is misaligned, outside the file or
  /// of two tensors at once.
  Result<void> place_tensors(std::vector<TensorInfo>& tensors) const {
    const uint64_t data_begin = *align_up(in_.position(), alignment_).get();
    for (TensorInfo& tensor : tensors) {
      if (tensor.offset % alignment_ != 0) {
        return bad_file(cat("tensor \"", shown_name(tensor.name), "\" begins at data byte ",
                            tensor.offset, ", which is no multiple of the alignment ", alignment_));
      }
      const CheckedU64 begin = CheckedU64(data_begin) + tensor.offset;
      if (!(begin + tensor.bytes).at_most(file_bytes_)) {
        return bad_file(cat("tensor \"", shown_name(tensor.name), "\" needs ", tensor.bytes,
                            " bytes at data byte ", tensor.offset, ", the file ends before: it is ",
                            "truncated or damaged, fetch it again"));
      }
      tensor.offset = *begin.get();
    }
    return check_no_overlap(tensors);
  }

  Result<void> check_no_overlap(const std::vector<TensorInfo>& tensors) const {
    std::vector<size_t> order(tensors.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return tensors[a].offset < tensors[b].offset; });
    for (size_t i = 1; i < order.size(); ++i) {
      const TensorInfo& before = tensors[order[i - 1]];
      const TensorInfo& after = tensors[order[i]];
      if (before.offset + before.bytes <= after.offset) continue;
      return bad_file(cat("the bytes of the tensors \"", shown_name(before.name), "\" and \"",
                          shown_name(after.name),
                          "\" overlap; the file is damaged or was written wrongly"));
    }
    return {};
  }

  std::string what_;
  uint64_t file_bytes_;
  ByteReader in_;
  std::string part_;  // what is being read, for messages
  uint64_t alignment_ = kDefaultAlignment;
};

}  // namespace

std::span<const GgufType> gguf_types() { return kTypes; }

Result<Container> parse_gguf(std::span<const std::byte> file, const std::string& what) {
  return GgufReader(file, what).read();
}

Result<std::vector<GgufEntry>> gguf_entries(std::span<const std::byte> file,
                                            const std::string& what) {
  std::vector<GgufEntry> entries;
  RETURN_IF_ERROR(GgufReader(file, what).read(file, &entries));
  return entries;
}

}  // namespace quern
