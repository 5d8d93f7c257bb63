#include "checkpoint/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/cat.h"
#include "base/checked.h"
#include "base/ensure.h"

namespace quern {

namespace {

// Numbers of metadata value types that are written.
constexpr uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9;
constexpr size_t kMaxNameBytes = 63;
constexpr size_t kMaxDims = 4;

template <typename Number>
void put(std::string& out, Number value) {
  char bytes[sizeof(Number)];
  std::memcpy(bytes, &value, sizeof(Number));
  out.append(bytes, sizeof(Number));
}

void put_text(std::string& out, std::string_view text) {
  put(out, uint64_t{text.size()});
  out += text;
}

uint64_t padded(uint64_t bytes, uint64_t alignment) {
  const auto sum = align_up(bytes, alignment).get();
  ENSURE(sum, "a file of more than 2^64 bytes");
  return *sum;
}

Error cannot_hold(const GgufTensor& tensor, std::string_view found, std::string_view wanted) {
  return Error{
      .code = ErrorCode::kUnsupported,
      .message = cat("tensor ", tensor.name, ": has ", found, ", a GGUF file takes ", wanted),
      .what = tensor.name,
      .found = std::string(found),
      .wanted = std::string(wanted)};
}

auto type_row(uint32_t type) {
  const std::span<const GgufType> all = gguf_types();
  return std::find_if(all.begin(), all.end(),
                      [&](const GgufType& row) { return row.number == type; });
}

}  // namespace

void GgufEntries::begin(std::string_view key, uint32_t type) {
  put_text(bytes_, key);
  put(bytes_, type);
  ++count_;
}

void GgufEntries::begin_array(std::string_view key, uint32_t type, uint64_t count) {
  begin(key, kArray);
  put(bytes_, type);
  put(bytes_, count);
}

void GgufEntries::u32(std::string_view key, uint32_t value) {
  begin(key, kU32);
  put(bytes_, value);
}

void GgufEntries::i32(std::string_view key, int32_t value) {
  begin(key, kI32);
  put(bytes_, value);
}

void GgufEntries::f32(std::string_view key, float value) {
  begin(key, kF32);
  put(bytes_, value);
}

void GgufEntries::boolean(std::string_view key, bool value) {
  begin(key, kBool);
  put(bytes_, static_cast<uint8_t>(value));
}

void GgufEntries::text(std::string_view key, std::string_view value) {
  begin(key, kText);
  put_text(bytes_, value);
}

void GgufEntries::i32s(std::string_view key, std::span<const int32_t> values) {
  begin_array(key, kI32, values.size());
  for (const int32_t value : values) put(bytes_, value);
}

void GgufEntries::f32s(std::string_view key, std::span<const float> values) {
  begin_array(key, kF32, values.size());
  for (const float value : values) put(bytes_, value);
}

void GgufEntries::booleans(std::string_view key, const std::vector<bool>& values) {
  begin_array(key, kBool, values.size());
  for (const bool value : values) put(bytes_, static_cast<uint8_t>(value));
}

void GgufEntries::texts(std::string_view key, std::span<const std::string> values) {
  begin_array(key, kText, values.size());
  for (const std::string& value : values) put_text(bytes_, value);
}

void GgufEntries::copy(const GgufEntry& entry) {
  bytes_.append(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
  ++count_;
}

uint64_t GgufTensor::num_bytes() const {
  const auto row = type_row(type);
  ENSURE(row != gguf_types().end(), name, ": type ", type);
  CheckedU64 values = 1;
  for (const int64_t size : shape) values = values * static_cast<uint64_t>(size);
  const auto bytes = (values * row->block_bytes).get();
  ENSURE(bytes && *values.get() % row->block_values == 0, name, ": part of a block");
  return *bytes / row->block_values;
}

Result<GgufLayout> lay_out_gguf(const GgufEntries& entries, std::span<const GgufTensor> tensors,
                                uint64_t alignment) {
  GgufLayout layout;
  std::string& head = layout.head;
  head = "GGUF";
  put(head, uint32_t{3});
  put(head, uint64_t{tensors.size()});
  put(head, entries.count());
  head += entries.bytes();
  uint64_t end = 0;
  for (const GgufTensor& tensor : tensors) {
    if (tensor.name.empty() || tensor.name.size() > kMaxNameBytes) {
      return cannot_hold(tensor, cat("a name of ", tensor.name.size(), " bytes"),
                         cat("1 to ", kMaxNameBytes));
    }
    if (type_row(tensor.type) == gguf_types().end()) {
      return cannot_hold(tensor, "a type that GGUF does not have", "one of its types");
    }
    if (tensor.shape.size() > kMaxDims) {
      return cannot_hold(tensor, cat(tensor.shape.size(), " dimensions"), cat("up to ", kMaxDims));
    }
    put_text(head, tensor.name);
    put(head, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      put(head, static_cast<uint64_t>(*size));
    }
    put(head, tensor.type);
    put(head, end);
    layout.offsets.push_back(end);
    end = padded(end + tensor.num_bytes(), alignment);
  }
  head.resize(padded(head.size(), alignment));
  for (uint64_t& offset : layout.offsets) offset += head.size();
  layout.file_bytes = head.size() + end;
  return layout;
}

uint32_t gguf_file_type(DType dtype) {
  // llama.cpp's numbers of "mostly" types; of its mixtures the one with the fewest larger tensors.
  constexpr std::pair<std::string_view, uint32_t> kTypes[] = {
      {"f32", 0},  {"f16", 1},   {"q4_0", 2},  {"q4_1", 3},  {"q8_0", 7},
      {"q5_0", 8}, {"q4_k", 14}, {"q5_k", 16}, {"q6_k", 18}, {"bf16", 32}};
  for (const auto& [name, number] : kTypes) {
    if (name == dtype.name()) return number;
  }
  return 1024;  // "guessed": readers then go by the tensors
}

}  // namespace quern
