// The table of one level, filled from the kernels that were compiled for it. Included last.
#pragma once

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/attention.h"
#include "exec/cpu/kernels/float_tiles.h"
#include "exec/cpu/kernels/int_tiles.h"
#include "exec/cpu/kernels/row_tiles.h"
#include "exec/cpu/kernels/rows.h"

namespace quern::cpu {
namespace {

template <typename Format>
constexpr void fill_of(KernelTable& table, size_t index) {
  if constexpr (kIsFloat<Format>) {
    table.multiply_float[index] = kMultiplyFloat<Format>;
  } else if constexpr (kScalesRows<Format>) {
    table.multiply_float[index] = multiply_widened<PanelOf<Format>>;
    table.multiply_int8[index] = multiply_rows<PanelOf<Format>>;
  } else if constexpr (PanelOf<Format>::kExists) {
    table.multiply_float[index] = multiply_widened<PanelOf<Format>>;
    table.multiply_int8[index] = multiply_int8<PanelOf<Format>>;
  }
  if constexpr (KvOf<Format>::kExists) {
    using Kv = KvOf<Format>;
    table.kv[index] = {.append = Kv::append, .widen = widen<Kv>, .attend = attend<Kv>};
  }
}
template <size_t... I>
constexpr void fill_formats(KernelTable& table, std::index_sequence<I...>) {
  (fill_of<std::tuple_element_t<I, Formats>>(table, I), ...);
}

constexpr KernelTable make_table(Isa isa) {
  KernelTable table;
  table.isa = isa;
  table.float_shape = float_shape;
  table.int8_shape = int8_shape;
  table.int8_rows_shape = row_shape;
  table.fill_float = fill_float;
  table.fill_int8 = fill_int8;
  table.fill_int8_rows = fill_int8_rows;
  table.fill_pairs = fill_pairs;
  fill_formats(table, std::make_index_sequence<kNumFormats>());
  table.finish = finish;
  table.norm = norm;
  table.add = add_rows;
  table.scale = scale_row;
  table.activate = activate_row;
  table.rotate = rotate_head;
  table.max_attend_rows = kAttendRows;
  table.merge = merge;
  table.divide = divide;
  table.arg_max = arg_max;
  table.next_above = next_above;
  table.apply = apply_function;
  return table;
}

}  // namespace
}  // namespace quern::cpu
