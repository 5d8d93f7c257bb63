// What level amx has of its own: products of integer panels with more than a few tokens. Compiled
// with flags of its own (CMakeLists.txt); everything it includes from kernels/ is local to this
// file.
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/amx_row_tiles.h"
#include "exec/cpu/kernels/amx_tiles.h"

namespace quern::cpu {

extern const KernelTable kAvx512VnniKernels;

namespace {

/// Few tokens are multiplied by vectors: tiles have to unpack weights first.
TileShape shape(int64_t tokens) {
  return tokens < kAmxTokens ? kAvx512VnniKernels.int8_shape(tokens) : amx_shape(tokens);
}
TileShape rows_shape(int64_t tokens) {
  return tokens < kAmxRowTokens ? kAvx512VnniKernels.int8_rows_shape(tokens) : amx_shape(tokens);
}
template <size_t index>
void multiply(const MultiplyArgs& args) {
  using Format = std::tuple_element_t<index, Formats>;
  constexpr int64_t kFewest = kScalesRows<Format> ? kAmxRowTokens : kAmxTokens;
  if (args.x->tokens < kFewest) return kAvx512VnniKernels.multiply_int8[index](args);
  if constexpr (kScalesRows<Format>) {
    multiply_amx_rows<PanelOf<Format>>(args);
  } else {
    multiply_amx<PanelOf<Format>>(args);
  }
}
template <size_t... I>
void fill(KernelTable& table, std::index_sequence<I...>) {
  const auto set = [&]<size_t index>() {
    if constexpr (PanelOf<std::tuple_element_t<index, Formats>>::kExists) {
      table.multiply_int8[index] = multiply<index>;
    }
  };
  (set.template operator()<I>(), ...);
}

}  // namespace

void add_amx_kernels(KernelTable& table) {
  table.int8_shape = shape;
  table.int8_rows_shape = rows_shape;
  fill(table, std::make_index_sequence<kNumFormats>());
}

}  // namespace quern::cpu
