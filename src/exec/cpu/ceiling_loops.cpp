// Every loop is written in assembly whole, so that no compiler can spill a sum or drop a load, and
// so that this file needs no instruction set flags. `.irp` repeats a line for each register or
// offset.
//
// Latency times rate bounds the independent sums that a unit needs: 4 cycles times 2 a cycle for
// FMA and dot products, 6 times 2 for VDPBF16PS on AMD Zen, about 52 / 16 for tiles. All have more.
#include "exec/cpu/ceiling_loops.h"

#include <cpuid.h>

#include <algorithm>

#include "exec/cpu/isa.h"

namespace quern::cpu {

namespace {

constexpr std::string_view kUnitNames[kNumUnits] = {
    "f32_ymm",      "f32_zmm",  "int8_add_ymm", "int8_add_zmm", "int8_dot_ymm",
    "int8_dot_zmm", "int8_amx", "bf16_zmm",     "bf16_amx",     "fp16_zmm"};

/// Operands for a tile or a few registers: one mixed pattern, or pairs of values of either sign
/// small enough that sums stay finite.
struct alignas(64) Operands {
  uint8_t bytes[1024];
};

/// All bytes differ in sign and size.
constexpr Operands mixed_bytes() {
  Operands out{};
  uint32_t state = 1;
  for (uint8_t& byte : out.bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return out;
}
/// Numbers of `width` bytes around +-1: `exponent` is the upper two bytes of 1, `mantissa` those
/// bits of them that may vary.
constexpr Operands mixed_floats(int width, uint32_t exponent, uint32_t mantissa) {
  Operands out = mixed_bytes();
  for (int i = 0; i < 1024; i += width) {
    const uint32_t random = static_cast<uint32_t>(out.bytes[i + width - 1]) << 8 |
                            static_cast<uint32_t>(out.bytes[i + width - 2]);
    const uint32_t top = (random & (0x8000u | mantissa)) | exponent;
    out.bytes[i + width - 1] = static_cast<uint8_t>(top >> 8);
    out.bytes[i + width - 2] = static_cast<uint8_t>(top);
  }
  return out;
}
constinit const Operands kBytes = mixed_bytes();
constinit const Operands kFloats = mixed_floats(4, 0x3F80, 0x007F);
constinit const Operands kBf16s = mixed_floats(2, 0x3F80, 0x007F);
constinit const Operands kHalves = mixed_floats(2, 0x3C00, 0x03FF);

// Registers that the compiler knows of without flags; it uses no others in this file.
#define QUERN_VECTORS                                                                      \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory"

#define QUERN_TWELVE "0,1,2,3,4,5,6,7,8,9,10,11"
#define QUERN_TWENTY_FOUR QUERN_TWELVE ",12,13,14,15,16,17,18,19,20,21,22,23"

// sum_i += a_i' * b_i' for 12 sums in ymm0..11; operands in ymm12..15.
#define QUERN_YMM_LOOP(INSTRUCTION, OPERANDS)           \
  asm volatile(".irp i," QUERN_TWELVE                   \
               "\n\t"                                   \
               "vpxor %%ymm\\i, %%ymm\\i, %%ymm\\i\n\t" \
               ".endr\n\t"                              \
               "vmovdqa 0(%[from]), %%ymm12\n\t"        \
               "vmovdqa 32(%[from]), %%ymm13\n\t"       \
               "vmovdqa 64(%[from]), %%ymm14\n\t"       \
               "vmovdqa 96(%[from]), %%ymm15\n\t"       \
               "1:\n\t"                                 \
               ".irp i,0,2,4,6,8,10\n\t" INSTRUCTION    \
               " %%ymm12, %%ymm13, %%ymm\\i\n\t"        \
               ".endr\n\t"                              \
               ".irp i,1,3,5,7,9,11\n\t" INSTRUCTION    \
               " %%ymm14, %%ymm15, %%ymm\\i\n\t"        \
               ".endr\n\t"                              \
               "dec %[rounds]\n\t"                      \
               "jnz 1b\n\t"                             \
               "vzeroupper"                             \
               : [rounds] "+r"(rounds)                  \
               : [from] "r"(&(OPERANDS))                \
               : QUERN_VECTORS)

// The same for 24 sums in zmm0..23; operands in zmm24..27.
#define QUERN_ZMM_LOOP(INSTRUCTION, OPERANDS)                          \
  asm volatile(".irp i," QUERN_TWENTY_FOUR                             \
               "\n\t"                                                  \
               "vpxord %%zmm\\i, %%zmm\\i, %%zmm\\i\n\t"               \
               ".endr\n\t"                                             \
               "vmovdqa64 0(%[from]), %%zmm24\n\t"                     \
               "vmovdqa64 64(%[from]), %%zmm25\n\t"                    \
               "vmovdqa64 128(%[from]), %%zmm26\n\t"                   \
               "vmovdqa64 192(%[from]), %%zmm27\n\t"                   \
               "1:\n\t"                                                \
               ".irp i,0,2,4,6,8,10,12,14,16,18,20,22\n\t" INSTRUCTION \
               " %%zmm24, %%zmm25, %%zmm\\i\n\t"                       \
               ".endr\n\t"                                             \
               ".irp i,1,3,5,7,9,11,13,15,17,19,21,23\n\t" INSTRUCTION \
               " %%zmm26, %%zmm27, %%zmm\\i\n\t"                       \
               ".endr\n\t"                                             \
               "dec %[rounds]\n\t"                                     \
               "jnz 1b\n\t"                                            \
               "vzeroupper"                                            \
               : [rounds] "+r"(rounds)                                 \
               : [from] "r"(&(OPERANDS))                               \
               : QUERN_VECTORS)

void f32_ymm(int64_t rounds) { QUERN_YMM_LOOP("vfmadd231ps", kFloats); }
void f32_zmm(int64_t rounds) { QUERN_ZMM_LOOP("vfmadd231ps", kFloats); }
void int8_dot_ymm(int64_t rounds) { QUERN_YMM_LOOP("%{vex%} vpdpbusd", kBytes); }
void int8_dot_zmm(int64_t rounds) { QUERN_ZMM_LOOP("vpdpbusd", kBytes); }
void bf16_zmm(int64_t rounds) { QUERN_ZMM_LOOP("vdpbf16ps", kBf16s); }
void fp16_zmm(int64_t rounds) { QUERN_ZMM_LOOP("vfmadd231ph", kHalves); }

// Without a dot product three instructions make one. The temporary register is renamed each time.
#define QUERN_MULTIPLY_ADD_LOOP(REGISTER, XOR, MOVE)                                  \
  asm volatile(".irp i," QUERN_TWELVE "\n\t" XOR " %%" REGISTER "\\i, %%" REGISTER    \
               "\\i, %%" REGISTER                                                     \
               "\\i\n\t"                                                              \
               ".endr\n\t" MOVE " 0(%[from]), %%" REGISTER "13\n\t" MOVE              \
               " 64(%[from]), %%" REGISTER "14\n\t" MOVE " 128(%[from]), %%" REGISTER \
               "15\n\t"                                                               \
               "1:\n\t"                                                               \
               ".irp i," QUERN_TWELVE                                                 \
               "\n\t"                                                                 \
               "vpmaddubsw %%" REGISTER "13, %%" REGISTER "14, %%" REGISTER           \
               "12\n\t"                                                               \
               "vpmaddwd %%" REGISTER "12, %%" REGISTER "15, %%" REGISTER             \
               "12\n\t"                                                               \
               "vpaddd %%" REGISTER "12, %%" REGISTER "\\i, %%" REGISTER              \
               "\\i\n\t"                                                              \
               ".endr\n\t"                                                            \
               "dec %[rounds]\n\t"                                                    \
               "jnz 1b\n\t"                                                           \
               "vzeroupper"                                                           \
               : [rounds] "+r"(rounds)                                                \
               : [from] "r"(&kBytes)                                                  \
               : QUERN_VECTORS)

void int8_add_ymm(int64_t rounds) { QUERN_MULTIPLY_ADD_LOOP("ymm", "vpxor", "vmovdqa"); }
void int8_add_zmm(int64_t rounds) { QUERN_MULTIPLY_ADD_LOOP("zmm", "vpxord", "vmovdqa64"); }

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constinit const TileConfig kTileConfig;

// Four sums of two by two tiles of 16 rows of 64 bytes: as many as fit beside their operands.
#define QUERN_TILE_LOOP(INSTRUCTION, OPERANDS)                                              \
  do {                                                                                      \
    const int64_t stride = 64;                                                              \
    asm volatile(                                                                           \
        "ldtilecfg %[config]\n\t"                                                           \
        ".irp i,0,1,2,3\n\t"                                                                \
        "tilezero %%tmm\\i\n\t"                                                             \
        ".endr\n\t"                                                                         \
        ".irp i,4,5,6,7\n\t"                                                                \
        "tileloadd (%[from], %[stride], 1), %%tmm\\i\n\t"                                   \
        ".endr\n\t"                                                                         \
        "1:\n\t" INSTRUCTION " %%tmm6, %%tmm4, %%tmm0\n\t" INSTRUCTION                      \
        " %%tmm7, %%tmm4, %%tmm1\n\t" INSTRUCTION " %%tmm6, %%tmm5, %%tmm2\n\t" INSTRUCTION \
        " %%tmm7, %%tmm5, %%tmm3\n\t"                                                       \
        "dec %[rounds]\n\t"                                                                 \
        "jnz 1b\n\t"                                                                        \
        "tilerelease"                                                                       \
        : [rounds] "+r"(rounds)                                                             \
        : [config] "m"(kTileConfig), [from] "r"(&(OPERANDS)), [stride] "r"(stride)          \
        : "cc", "memory");                                                                  \
  } while (false)

void int8_amx(int64_t rounds) { QUERN_TILE_LOOP("tdpbusd", kBytes); }
void bf16_amx(int64_t rounds) { QUERN_TILE_LOOP("tdpbf16ps", kBf16s); }

// One stream of lines, with or without asking for lines 4 KiB ahead.
#define QUERN_READ_STREAM(REGISTER, MOVE, WIDTH, PREFETCH)                           \
  asm volatile(                                                                      \
      "1:\n\t"                                                                       \
      ".irp o,0,64,128,192,256,320,384,448\n\t" PREFETCH ".irp w," WIDTH "\n\t" MOVE \
      " \\o+\\w(%[from]), %%" REGISTER                                               \
      "0\n\t"                                                                        \
      ".endr\n\t"                                                                    \
      ".endr\n\t"                                                                    \
      "add $512, %[from]\n\t"                                                        \
      "cmp %[end], %[from]\n\t"                                                      \
      "jb 1b\n\t"                                                                    \
      "vzeroupper"                                                                   \
      : [from] "+r"(from)                                                            \
      : [end] "r"(from + bytes)                                                      \
      : QUERN_VECTORS)

// Four streams side by side, each a quarter: more pages at once for the hardware's prefetchers.
#define QUERN_READ_FOUR(REGISTER, MOVE, WIDTH)                                                 \
  do {                                                                                         \
    const int64_t quarter = bytes / 4;                                                         \
    asm volatile(                                                                              \
        "1:\n\t"                                                                               \
        ".irp o,0,64,128,192,256,320,384,448\n\t"                                              \
        "prefetcht0 4096+\\o(%[from])\n\t"                                                     \
        "prefetcht0 4096+\\o(%[from], %[quarter])\n\t"                                         \
        "prefetcht0 4096+\\o(%[from], %[quarter], 2)\n\t"                                      \
        "prefetcht0 4096+\\o(%[from], %[three_quarters])\n\t"                                  \
        ".irp w," WIDTH "\n\t" MOVE " \\o+\\w(%[from]), %%" REGISTER "0\n\t" MOVE              \
        " \\o+\\w(%[from], %[quarter]), %%" REGISTER "1\n\t" MOVE                              \
        " \\o+\\w(%[from], %[quarter], 2), %%" REGISTER "2\n\t" MOVE                           \
        " \\o+\\w(%[from], %[three_quarters]), %%" REGISTER                                    \
        "3\n\t"                                                                                \
        ".endr\n\t"                                                                            \
        ".endr\n\t"                                                                            \
        "add $512, %[from]\n\t"                                                                \
        "cmp %[end], %[from]\n\t"                                                              \
        "jb 1b\n\t"                                                                            \
        "vzeroupper"                                                                           \
        : [from] "+r"(from)                                                                    \
        : [end] "r"(from + quarter), [quarter] "r"(quarter), [three_quarters] "r"(3 * quarter) \
        : QUERN_VECTORS);                                                                      \
  } while (false)

#define QUERN_AHEAD "prefetcht0 4096+\\o(%[from])\n\t"

using Bytes = const std::byte*;
void read_ymm(Bytes from, int64_t bytes) { QUERN_READ_STREAM("ymm", "vmovdqa", "0,32", ""); }
void read_ymm_ahead(Bytes from, int64_t bytes) {
  QUERN_READ_STREAM("ymm", "vmovdqa", "0,32", QUERN_AHEAD);
}
void read_ymm_four(Bytes from, int64_t bytes) { QUERN_READ_FOUR("ymm", "vmovdqa", "0,32"); }
void read_zmm(Bytes from, int64_t bytes) { QUERN_READ_STREAM("zmm", "vmovdqa64", "0", ""); }
void read_zmm_ahead(Bytes from, int64_t bytes) {
  QUERN_READ_STREAM("zmm", "vmovdqa64", "0", QUERN_AHEAD);
}
void read_zmm_four(Bytes from, int64_t bytes) { QUERN_READ_FOUR("zmm", "vmovdqa64", "0"); }

/// What isa.h has no level for.
struct FurtherUnits {
  bool fp16 = false, amx_bf16 = false;
};
FurtherUnits further_units() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return {};
  return {.fp16 = (d & (1u << 23)) != 0, .amx_bf16 = (d & (1u << 22)) != 0};
}

bool has(Isa isa) {
  const std::vector<Isa> isas = available_isas();
  return std::ranges::find(isas, isa) != isas.end();
}

}  // namespace

std::string_view unit_name(Unit unit) { return kUnitNames[static_cast<size_t>(unit)]; }

std::vector<RateLoop> rate_loops() {
  constexpr int64_t kYmm = 12 * 2 * 8, kZmm = 24 * 2 * 16;  // operations on 32-bit lanes
  const FurtherUnits further = further_units();
  const bool avx512 = has(Isa::kAvx512);
  const struct {
    bool is_there;
    RateLoop loop;
  } all[] = {
      {has(Isa::kAvx2), {Unit::kF32Ymm, kYmm, f32_ymm}},
      {avx512, {Unit::kF32Zmm, kZmm, f32_zmm}},
      {has(Isa::kAvx2), {Unit::kInt8AddYmm, kYmm * 4, int8_add_ymm}},
      {avx512, {Unit::kInt8AddZmm, kYmm * 8, int8_add_zmm}},
      {has(Isa::kAvxVnni), {Unit::kInt8DotYmm, kYmm * 4, int8_dot_ymm}},
      {has(Isa::kAvx512Vnni), {Unit::kInt8DotZmm, kZmm * 4, int8_dot_zmm}},
      {has(Isa::kAmx), {Unit::kInt8Amx, 4 * 2 * 16 * 16 * 64, int8_amx}},
      {has(Isa::kAvx512Bf16), {Unit::kBf16Zmm, kZmm * 2, bf16_zmm}},
      {has(Isa::kAmx) && further.amx_bf16, {Unit::kBf16Amx, 4 * 2 * 16 * 16 * 32, bf16_amx}},
      {avx512 && further.fp16, {Unit::kFp16Zmm, kZmm * 2, fp16_zmm}},
  };
  std::vector<RateLoop> loops;
  for (const auto& [is_there, loop] : all) {
    if (is_there) loops.push_back(loop);
  }
  return loops;
}

std::vector<ReadLoop> read_loops() {
  if (has(Isa::kAvx512)) {
    return {{"plain", read_zmm}, {"ahead", read_zmm_ahead}, {"four_streams", read_zmm_four}};
  }
  if (has(Isa::kAvx2)) {
    return {{"plain", read_ymm}, {"ahead", read_ymm_ahead}, {"four_streams", read_ymm_four}};
  }
  return {};
}

}  // namespace quern::cpu
