// The kernels of level avx512bf16: those of avx512vnni, but for bf16 weights. Compiled with flags
// of its own (CMakeLists.txt); everything it includes from kernels/ is local to this file.
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/pair_tiles.h"
#include "exec/cpu/kernels/table.h"

namespace quern::cpu {

namespace {

constexpr KernelTable make_bf16_table() {
  KernelTable table = make_table(Isa::kAvx512Bf16);
  table.multiply_pairs = multiply_pairs;
  return table;
}

}  // namespace

extern const KernelTable kAvx512Bf16Kernels;
constinit const KernelTable kAvx512Bf16Kernels = make_bf16_table();

}  // namespace quern::cpu
