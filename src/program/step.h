#pragma once

#include <compare>
#include <cstdint>

namespace quern {

/// A range of columns of one activation buffer: [rows, width], rows being the tokens of a step or
/// the rows whose logits are wanted. Two slots of one buffer may lie side by side, so that a
/// projection written in three parts can later be written in one.
struct Slot {
  int32_t buffer = -1;
  int64_t begin = 0;
  int64_t width = 0;

  Slot columns(int64_t first, int64_t count) const { return {buffer, begin + first, count}; }
  bool valid() const { return buffer >= 0; }
  friend bool operator==(const Slot&, const Slot&) = default;
};

/// A weight of the Program: an index into Program::weights.
struct WeightId {
  int32_t index = -1;

  bool valid() const { return index >= 0; }
  friend auto operator<=>(const WeightId&, const WeightId&) = default;
};
inline constexpr WeightId kNoWeight{};

/// What a step costs for one batch: the roofline's numerator. Weights are counted as stored, scales
/// included, once a step.
struct Cost {
  int64_t flops = 0;
  int64_t weight_bytes = 0;
  int64_t read_bytes = 0;   // activations and keys and values
  int64_t write_bytes = 0;  // activations and keys and values

  int64_t bytes() const { return weight_bytes + read_bytes + write_bytes; }
  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    weight_bytes += other.weight_bytes;
    read_bytes += other.read_bytes;
    write_bytes += other.write_bytes;
    return *this;
  }
};

}  // namespace quern
