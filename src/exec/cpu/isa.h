#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quern::cpu {

/// The instruction set levels that kernels are compiled for, weakest first. All give equal
/// bits for integer formats and for everything that is not a product with float weights;
/// kAvx512Bf16 multiplies bf16 weights in an arithmetic of its own.
enum class Isa {
  kAvx2,        // AVX2, FMA, F16C
  kAvxVnni,     // and 256-bit integer dot products
  kAvx512,      // AVX-512 F, BW, VL, DQ
  kAvx512Vnni,  // and 512-bit integer dot products
  kAvx512Bf16,  // and VDPBF16PS for bf16 weights
  kAmx,         // avx512vnni, and tiles of int8 for batches and prompts
};

std::string_view isa_name(Isa isa);
/// The names of all levels, weakest first, with commas.
std::string isa_names();

/// The levels this CPU and its kernel can run, weakest first.
std::vector<Isa> available_isas();

/// The level of `--isa`: a name, or "auto" for the best of this CPU by the table of CPU families in
/// isa.cpp. kUnsupported, with the list, for a level that this CPU lacks or that is not built;
/// kUsage for a name that is none.
Result<Isa> choose_isa(std::string_view name);

}  // namespace quern::cpu
