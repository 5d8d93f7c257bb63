// The kernels of level avxvnni. Compiled with flags of its own (CMakeLists.txt); everything it
// includes from kernels/ is local to this file.
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/table.h"

namespace quern::cpu {

extern const KernelTable kAvxVnniKernels;
constinit const KernelTable kAvxVnniKernels = make_table(Isa::kAvxVnni);

}  // namespace quern::cpu
