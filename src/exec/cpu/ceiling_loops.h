#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace quern::cpu {

/// An arithmetic unit of a CPU, by the instruction that feeds it. What a matrix product can at best
/// reach on a level is the rate of the unit that its kernels use.
enum class Unit {
  kF32Ymm,      // VFMADD231PS
  kF32Zmm,      //
  kInt8AddYmm,  // VPMADDUBSW, VPMADDWD, VPADDD
  kInt8AddZmm,  //
  kInt8DotYmm,  // VPDPBUSD
  kInt8DotZmm,  //
  kInt8Amx,     // TDPBUSD and its kin
  kBf16Zmm,     // VDPBF16PS
  kBf16Amx,     // TDPBF16PS
  kFp16Zmm,     // VFMADD231PH
};
inline constexpr int kNumUnits = 10;

/// "f32_zmm", "int8_amx": the name in files and reports.
std::string_view unit_name(Unit unit);

/// Keeps one unit as busy as one thread can: independent sums in registers, operands that are
/// neither zero nor equal (idle multipliers draw less power and clock higher), no memory.
struct RateLoop {
  Unit unit;
  int64_t operations;  // of a round; a multiply-add counts as two
  void (*run)(int64_t rounds);
};
/// One for each unit of this CPU. The thread that runs an AMX loop, or one that began it, must have
/// asked for available_isas() before, which asks the kernel for tiles.
std::vector<RateLoop> rate_loops();

/// Reads `bytes` bytes, a multiple of kReadGrain, from a 64-byte line on and drops them. Which way
/// is fastest depends on the CPU and on the cache level, so there are several.
struct ReadLoop {
  std::string_view name;
  void (*run)(const std::byte* from, int64_t bytes);
};
inline constexpr int64_t kReadGrain = 2048;
/// Those of this CPU with its widest registers.
std::vector<ReadLoop> read_loops();

}  // namespace quern::cpu
