// What level avx512bf16 has of its own: products of bf16 weights. Compiled with flags of its own
// (CMakeLists.txt); everything it includes from kernels/ is local to this file.
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/pair_tiles.h"

namespace quern::cpu {

void add_bf16_kernels(KernelTable& table) { table.multiply_pairs = multiply_pairs; }

}  // namespace quern::cpu
