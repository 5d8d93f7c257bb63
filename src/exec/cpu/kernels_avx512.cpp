// The kernels of level avx512. Compiled with flags of its own (CMakeLists.txt); everything it
// includes from kernels/ is local to this file.
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/table.h"

namespace quern::cpu {

extern const KernelTable kAvx512Kernels;
constinit const KernelTable kAvx512Kernels = make_table(Isa::kAvx512);

}  // namespace quern::cpu
