#include "exec/cpu/kernel_table.h"

namespace quern::cpu {

extern const KernelTable kAvx2Kernels, kAvxVnniKernels, kAvx512Kernels, kAvx512VnniKernels;
void add_bf16_kernels(KernelTable& table);
void add_amx_kernels(KernelTable& table);

namespace {

/// Level avx512vnni with something more.
KernelTable extended(Isa isa, void (*add)(KernelTable&)) {
  KernelTable table = kAvx512VnniKernels;
  table.isa = isa;
  add(table);
  return table;
}

}  // namespace

const KernelTable& kernel_table(Isa isa) {
  static const KernelTable kBf16 = extended(Isa::kAvx512Bf16, add_bf16_kernels);
  static const KernelTable kAmx = extended(Isa::kAmx, add_amx_kernels);
  static const KernelTable* const kTables[] = {
      &kAvx2Kernels, &kAvxVnniKernels, &kAvx512Kernels, &kAvx512VnniKernels, &kBf16, &kAmx};
  return *kTables[static_cast<size_t>(isa)];
}

}  // namespace quern::cpu
