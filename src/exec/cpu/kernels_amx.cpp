// The kernels of level amx: those of avx512vnni, but for integer panels and more than a few tokens.
// Compiled with flags of its own (CMakeLists.txt); everything it includes from kernels/ is local to
// this file.
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/amx_tiles.h"
#include "exec/cpu/kernels/table.h"

namespace quern::cpu {

namespace {

constexpr KernelTable make_amx_table() {
  KernelTable table = make_table(Isa::kAmx);
  table.int8_shape = amx_shape;
  table.multiply_int8[static_cast<int>(PanelKind::kQ8_0)] = multiply_amx<Q8_0Block>;
  table.multiply_int8[static_cast<int>(PanelKind::kQ4_0)] = multiply_amx<Q4_0Block>;
  table.multiply_int8[static_cast<int>(PanelKind::kQ4_1)] = multiply_amx<Q4_1Block>;
  return table;
}

}  // namespace

extern const KernelTable kAmxKernels;
constinit const KernelTable kAmxKernels = make_amx_table();

}  // namespace quern::cpu
