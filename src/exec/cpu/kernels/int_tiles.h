// The products with integer panels of the level that this file is compiled for.
#pragma once

#if defined(__AVX512F__)
#include "exec/cpu/kernels/int_tiles_avx512.h"
#else
#include "exec/cpu/kernels/int_tiles_avx2.h"
#endif
