// The sixteen-lane vector of the level that this file is compiled for.
#pragma once

#if defined(__AVX512F__)
#include "exec/cpu/kernels/vector_avx512.h"
#else
#include "exec/cpu/kernels/vector_avx2.h"
#endif

/// Register tiles are arrays that must become registers: their loops have to vanish.
#if defined(__clang__)
#define QUERN_UNROLL _Pragma("unroll")
#else
#define QUERN_UNROLL _Pragma("GCC unroll 16")
#endif
