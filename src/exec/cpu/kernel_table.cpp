#include "exec/cpu/kernel_table.h"

namespace quern::cpu {

extern const KernelTable kAvx2Kernels, kAvxVnniKernels, kAvx512Kernels, kAvx512VnniKernels,
    kAvx512Bf16Kernels, kAmxKernels;

const KernelTable& kernel_table(Isa isa) {
  static constexpr const KernelTable* kTables[] = {&kAvx2Kernels,       &kAvxVnniKernels,
                                                   &kAvx512Kernels,     &kAvx512VnniKernels,
                                                   &kAvx512Bf16Kernels, &kAmxKernels};
  return *kTables[static_cast<size_t>(isa)];
}

}  // namespace quern::cpu
