// The table of one level, filled from the kernels that were compiled for it. Included last.
#pragma once

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/attention.h"
#include "exec/cpu/kernels/float_tiles.h"
#include "exec/cpu/kernels/int_tiles.h"
#include "exec/cpu/kernels/rows.h"

namespace quern::cpu {
namespace {

constexpr KernelTable make_table(Isa isa) {
  KernelTable table;
  table.isa = isa;
  table.float_shape = float_shape;
  table.int8_shape = int8_shape;
  table.fill_float = fill_float;
  table.fill_int8 = fill_int8;
  table.fill_pairs = fill_pairs;
  const auto at = [](PanelKind kind) { return static_cast<int>(kind); };
  table.multiply_float[at(PanelKind::kF32)] = multiply_float<F32Panel>;
  table.multiply_float[at(PanelKind::kF16)] = multiply_float<F16Panel>;
  table.multiply_float[at(PanelKind::kBF16)] = multiply_float<BF16Panel>;
  table.multiply_float[at(PanelKind::kQ8_0)] = multiply_widened<Q8Panel>;
  table.multiply_float[at(PanelKind::kQ4_0)] = multiply_widened<Q4_0Panel>;
  table.multiply_float[at(PanelKind::kQ4_1)] = multiply_widened<Q4_1Panel>;
  table.multiply_int8[at(PanelKind::kQ8_0)] = multiply_int8<Q8_0Block>;
  table.multiply_int8[at(PanelKind::kQ4_0)] = multiply_int8<Q4_0Block>;
  table.multiply_int8[at(PanelKind::kQ4_1)] = multiply_int8<Q4_1Block>;
  table.finish = finish;
  table.norm = norm;
  table.add = add_rows;
  table.scale = scale_row;
  table.activate = activate_row;
  table.rotate = rotate_head;
  table.max_attend_rows = kAttendRows;
  table.append = append;
  table.to_float = to_float;
  table.attend = attend;
  table.merge = merge;
  table.divide = divide;
  table.arg_max = arg_max;
  table.next_above = next_above;
  table.apply = apply_function;
  return table;
}

}  // namespace
}  // namespace quern::cpu
