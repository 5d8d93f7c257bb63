// The kernels of level avx2. Compiled with flags of its own (CMakeLists.txt); everything it
// includes from kernels/ is local to this file.
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/table.h"

namespace quern::cpu {

extern const KernelTable kAvx2Kernels;
constinit const KernelTable kAvx2Kernels = make_table(Isa::kAvx2);

}  // namespace quern::cpu
