#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// Writes small GGUF files for tests, right or wrong on purpose: every number is written as given.
class GgufTestWriter {
 public:
  uint32_t version = 3;
  uint32_t alignment = 32;  // of the data; also written as metadata by set_alignment

  template <typename Number>
  GgufTestWriter& number(std::string_view key, uint32_t type, Number value) {
    begin_entry(key, type);
    put(entries_, value);
    return *this;
  }
  GgufTestWriter& u32(std::string_view key, uint32_t value) { return number(key, 4, value); }
  GgufTestWriter& f32(std::string_view key, float value) { return number(key, 6, value); }
  GgufTestWriter& boolean(std::string_view key, uint8_t value) { return number(key, 7, value); }
  GgufTestWriter& text(std::string_view key, std::string_view value) {
    begin_entry(key, 8);
    put_text(entries_, value);
    return *this;
  }
  template <typename Number>
  GgufTestWriter& numbers(std::string_view key, uint32_t type, const std::vector<Number>& values) {
    begin_entry(key, 9);
    put(entries_, type);
    put(entries_, uint64_t{values.size()});
    for (const Number value : values) put(entries_, value);
    return *this;
  }
  GgufTestWriter& texts(std::string_view key, const std::vector<std::string>& values) {
    begin_entry(key, 9);
    put(entries_, uint32_t{8});
    put(entries_, uint64_t{values.size()});
    for (const std::string& value : values) put_text(entries_, value);
    return *this;
  }
  /// An entry whose value is these bytes, whatever they mean.
  GgufTestWriter& raw(std::string_view key, uint32_t type, std::string_view bytes) {
    begin_entry(key, type);
    entries_ += bytes;
    return *this;
  }
  GgufTestWriter& set_alignment(uint32_t value) {
    alignment = value;
    return u32("general.alignment", value);
  }

  /// A tensor whose `dims` are in the order of the file, fastest first.
  GgufTestWriter& tensor(std::string_view name, uint32_t type, const std::vector<uint64_t>& dims,
                         std::string_view data) {
    const uint64_t offset = data_.size();
    data_ += data;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    return tensor_at(name, type, dims, offset);
  }
  /// An entry of the tensor list without data of its own.
  GgufTestWriter& tensor_at(std::string_view name, uint32_t type, const std::vector<uint64_t>& dims,
                            uint64_t offset) {
    put_text(tensors_, name);
    put(tensors_, static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) put(tensors_, dim);
    put(tensors_, type);
    put(tensors_, offset);
    ++num_tensors;
    return *this;
  }

  uint64_t num_tensors = 0, num_entries = 0;  // as the file will declare them

  std::string finish() const {
    std::string out = "GGUF";
    put(out, version);
    put(out, num_tensors);
    put(out, num_entries);
    out += entries_ + tensors_;
    if (!data_.empty()) out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data_;
  }

 private:
  template <typename Number>
  static void put(std::string& out, Number value) {
    char bytes[sizeof(Number)];
    std::memcpy(bytes, &value, sizeof(Number));
    out.append(bytes, sizeof(Number));
  }
  static void put_text(std::string& out, std::string_view text) {
    put(out, uint64_t{text.size()});
    out += text;
  }
  void begin_entry(std::string_view key, uint32_t type) {
    put_text(entries_, key);
    put(entries_, type);
    ++num_entries;
  }

  std::string entries_, tensors_, data_;
};

/// The bytes of a safetensors file of this JSON header and data.
inline std::string safetensors_file(std::string_view header, std::string_view data) {
  const uint64_t size = header.size();
  std::string out(sizeof(size), '\0');
  std::memcpy(out.data(), &size, sizeof(size));
  return out.append(header).append(data);
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace quern
