#include "tensor/dtype.h"

#include <array>
#include <cstring>

#include "base/cat.h"
#include "base/ensure.h"

namespace quern {

namespace {

template <typename Format>
constexpr std::string_view alias_of() {
  if constexpr (requires { Format::kAlias; }) return Format::kAlias;
  return {};
}

template <typename Format>
constexpr std::string_view safetensors_name_of() {
  if constexpr (requires { Format::kSafetensorsName; }) return Format::kSafetensorsName;
  return {};
}

template <typename Format>
constexpr int row_scale_bytes_of() {
  if constexpr (kScalesRows<Format>) return Format::kRowScaleBytes;
  return 0;
}

template <typename Format>
constexpr int64_t max_row_values_of() {
  if constexpr (kScalesRows<Format>) return Format::kMaxRowValues;
  return INT64_MAX;
}

struct FormatRow {
  std::string_view name, alias, safetensors_name;
  int gguf_type, block_values, block_bytes, row_scale_bytes;
  int64_t max_row_values;
};

template <size_t... I>
constexpr auto make_rows(std::index_sequence<I...>) {
  return std::to_array<FormatRow>({[] {
    using Format = std::tuple_element_t<I, Formats>;
    return FormatRow{Format::kName,
                     alias_of<Format>(),
                     safetensors_name_of<Format>(),
                     Format::kGgufType,
                     Format::kBlockValues,
                     sizeof(Format),
                     row_scale_bytes_of<Format>(),
                     max_row_values_of<Format>()};
  }()...});
}

constexpr auto kRows = make_rows(std::make_index_sequence<kNumFormats>());

}  // namespace

std::vector<DType> DType::all() {
  std::vector<DType> dtypes;
  for (size_t i = 0; i < kNumFormats; ++i) dtypes.push_back(DType(i));
  return dtypes;
}

std::optional<DType> DType::from_name(std::string_view name) {
  for (const DType dtype : all()) {
    const FormatRow& row = kRows[dtype.index_];
    if (name == row.name || (!row.alias.empty() && name == row.alias)) return dtype;
  }
  return std::nullopt;
}

std::optional<DType> DType::from_gguf_type(uint32_t type) {
  for (const DType dtype : all()) {
    const int own = kRows[dtype.index_].gguf_type;
    if (own >= 0 && static_cast<uint32_t>(own) == type) return dtype;
  }
  return std::nullopt;
}

std::optional<DType> DType::from_safetensors_name(std::string_view name) {
  for (const DType dtype : all()) {
    if (!name.empty() && name == kRows[dtype.index_].safetensors_name) return dtype;
  }
  return std::nullopt;
}

std::string_view DType::name() const { return kRows[index_].name; }
int DType::gguf_type() const { return kRows[index_].gguf_type; }
int64_t DType::block_values() const { return kRows[index_].block_values; }
int64_t DType::block_bytes() const { return kRows[index_].block_bytes; }
bool DType::is_float() const { return block_values() == 1 && !scales_rows(); }
bool DType::scales_rows() const { return kRows[index_].row_scale_bytes > 0; }

bool DType::fits_row(int64_t values) const {
  return values % block_values() == 0 && values <= kRows[index_].max_row_values;
}

int64_t DType::row_bytes(int64_t values) const {
  return values / block_values() * block_bytes() + kRows[index_].row_scale_bytes;
}

void DType::decode_row(const std::byte* row, std::span<float> out) const {
  ENSURE(fits_row(static_cast<int64_t>(out.size())), name(), " row of ", out.size());
  visit_format(index_, [&]<typename Format>() {
    if constexpr (kScalesRows<Format>) {
      Format::decode_row(row, out);
    } else {
      for (size_t begin = 0; begin < out.size(); begin += Format::kBlockValues) {
        Format block;
        std::memcpy(&block, row, sizeof(Format));
        row += sizeof(Format);
        for (int i = 0; i < Format::kBlockValues; ++i) {
          out[begin + static_cast<size_t>(i)] = block.decode(i);
        }
      }
    }
  });
}

void DType::encode_row(std::span<const float> x, std::byte* row) const {
  ENSURE(fits_row(static_cast<int64_t>(x.size())), name(), " row of ", x.size());
  visit_format(index_, [&]<typename Format>() {
    if constexpr (kScalesRows<Format>) {
      Format::encode_row(x, row);
    } else {
      constexpr size_t kValues = Format::kBlockValues;
      for (size_t begin = 0; begin < x.size(); begin += kValues) {
        const Format block = Format::encode(x.subspan(begin).template first<kValues>());
        std::memcpy(row, &block, sizeof(Format));
        row += sizeof(Format);
      }
    }
  });
}

std::string dtype_names() {
  std::string names;
  for (const DType dtype : DType::all()) names += cat(names.empty() ? "" : ", ", dtype.name());
  return names;
}

}  // namespace quern
