#include "exec/cpu/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/cat.h"

namespace quern::cpu {

namespace {

struct IsaRow {
  Isa isa;
  std::string_view name;
};
constexpr IsaRow kIsas[] = {
    {Isa::kAvx2, "avx2"},
    {Isa::kAvxVnni, "avxvnni"},
    {Isa::kAvx512, "avx512"},
    {Isa::kAvx512Vnni, "avx512vnni"},
    {Isa::kAvx512Bf16, "avx512bf16"},
    {Isa::kAmx, "amx"},
};

/// What CPUID and XCR0 say, reduced to what the levels need.
struct CpuFacts {
  bool avx2 = false, avx_vnni = false, avx512 = false, avx512_vnni = false, avx512_bf16 = false;
  bool amx = false;
  bool is_amd = false;
};

uint64_t read_xcr0() {
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

/// Tiles are large: the kernel saves them only for a process that has asked it to. Asking again is
/// harmless.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

CpuFacts read_cpu() {
  CpuFacts facts;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(0, &a, &b, &c, &d) == 0) return facts;
  facts.is_amd = b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;

  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return facts;
  constexpr uint32_t kNeeded = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
  if ((c & kNeeded) != kNeeded) return facts;
  const uint64_t saved = read_xcr0();
  if ((saved & 0x6) != 0x6) return facts;  // the kernel keeps xmm and ymm
  const bool keeps_zmm = (saved & 0xE6) == 0xE6;

  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return facts;
  const uint32_t max_subleaf = a;
  facts.avx2 = (b & bit_AVX2) != 0;
  constexpr uint32_t kAvx512Bits = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  facts.avx512 = facts.avx2 && keeps_zmm && (b & kAvx512Bits) == kAvx512Bits;
  facts.avx512_vnni = facts.avx512 && (c & bit_AVX512VNNI) != 0;
  constexpr uint32_t kAmxBits = 1u << 24 | 1u << 25;  // tiles and their int8 products
  constexpr uint64_t kTileState = 0x60000;
  facts.amx = facts.avx512_vnni && (d & kAmxBits) == kAmxBits &&
              (saved & kTileState) == kTileState && may_use_tiles();
  if (max_subleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
    facts.avx_vnni = facts.avx2 && (a & (1u << 4)) != 0;
    facts.avx512_bf16 = facts.avx512_vnni && (a & (1u << 5)) != 0;
  }
  return facts;
}

bool has(const CpuFacts& cpu, Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return cpu.avx2;
    case Isa::kAvxVnni:
      return cpu.avx_vnni;
    case Isa::kAvx512:
      return cpu.avx512;
    case Isa::kAvx512Vnni:
      return cpu.avx512_vnni;
    case Isa::kAvx512Bf16:
      return cpu.avx512_bf16;
    case Isa::kAmx:
      return cpu.amx;
  }
  return false;
}

/// Best first, by CPU family. VDPBF16PS runs at twice the rate of FP32 FMA on AMD Zen 4 and 5 and
/// at half of it on the Intel Xeons measured; where it was not measured it is not chosen.
constexpr std::array kBestOnAmd = {Isa::kAvx512Bf16, Isa::kAvx512Vnni, Isa::kAvx512, Isa::kAvxVnni,
                                   Isa::kAvx2};
constexpr std::array kBestElsewhere = {Isa::kAmx, Isa::kAvx512Vnni, Isa::kAvx512, Isa::kAvxVnni,
                                       Isa::kAvx2};

std::string names_of(const std::vector<Isa>& isas) {
  std::string names;
  for (const Isa isa : isas) names += cat(names.empty() ? "" : ", ", isa_name(isa));
  return names.empty() ? "none" : names;
}

Error unsupported(std::string_view what, std::string_view found) {
  return Error{ErrorCode::kUnsupported,
               cat("instruction set ", what, ": ", found, "; this CPU can use ",
                   names_of(available_isas()), ", choose one of them or \"auto\"")};
}

}  // namespace

std::string_view isa_name(Isa isa) { return kIsas[static_cast<size_t>(isa)].name; }

std::string isa_names() {
  std::vector<Isa> all;
  for (const IsaRow& row : kIsas) all.push_back(row.isa);
  return names_of(all);
}

std::vector<Isa> available_isas() {
  const CpuFacts cpu = read_cpu();
  std::vector<Isa> available;
  for (const IsaRow& row : kIsas) {
    if (has(cpu, row.isa)) available.push_back(row.isa);
  }
  return available;
}

Result<Isa> choose_isa(std::string_view name) {
  const CpuFacts cpu = read_cpu();
  if (name == "auto") {
    if (cpu.is_amd) {
      for (const Isa isa : kBestOnAmd) {
        if (has(cpu, isa)) return isa;
      }
    }
    for (const Isa isa : kBestElsewhere) {
      if (has(cpu, isa)) return isa;
    }
    return unsupported("auto", "the CPU lacks AVX2, FMA or F16C, which every level needs");
  }
  for (const IsaRow& row : kIsas) {
    if (row.name != name) continue;
    if (has(cpu, row.isa)) return row.isa;
    return unsupported(name, "this CPU does not have it");
  }
  for (const std::string_view later : {"avx512fp16", "neon"}) {
    if (name == later) return unsupported(name, "no kernels are built for it");
  }
  return Error{ErrorCode::kUsage,
               cat("unknown instruction set \"", name,
                   "\": expected auto, avx2, avxvnni, avx512, avx512vnni, avx512bf16 or amx")};
}

}  // namespace quern::cpu
