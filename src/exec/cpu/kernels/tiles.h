// What the register tiles of all products share.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/vector.h"

namespace quern::cpu {
namespace {

constexpr int kLanes = 16;

template <int kNumber>
struct Number {
  static constexpr int kValue = kNumber;
};

/// Calls body(Number<g>()) for the eight groups of a block (panels.h), in ascending order.
template <typename Body>
inline __attribute__((always_inline)) void for_groups(const Body& body) {
  body(Number<0>()), body(Number<1>()), body(Number<2>()), body(Number<3>());
  body(Number<4>()), body(Number<5>()), body(Number<6>()), body(Number<7>());
}

/// What is left of a call when its first `count` panels have been done.
inline MultiplyArgs without_first(const MultiplyArgs& args, int count) {
  MultiplyArgs rest = args;
  rest.num_panels = args.num_panels - count;
  rest.sums = args.sums + count * kPanelRows;
  for (int m = 0; m < rest.num_panels; ++m) {
    rest.panels[m] = args.panels[m + count];
    rest.next_panels[m] = args.next_panels[m + count];
  }
  return rest;
}

}  // namespace
}  // namespace quern::cpu
