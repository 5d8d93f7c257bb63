#include "measure/roofline.h"

#include <gtest/gtest.h>

#include "program/program_builder.h"

namespace quern {
namespace {

/// 10 GB/s from memory, 40 from L3, 100 and 1000 and 5000 G operations a second.
Ceilings round_ceilings() {
  Ceilings ceilings{.threads = 2, .figures = {}, .measured_at = {}};
  ceilings.figures["read_gb_s"] = {.value = 10, .spread = 0};
  ceilings.figures["l3_gb_s"] = {.value = 40, .spread = 0};
  ceilings.figures["f32_zmm"] = {.value = 100, .spread = 0};
  ceilings.figures["int8_dot_zmm"] = {.value = 1000, .spread = 0};
  ceilings.figures["int8_amx"] = {.value = 5000, .spread = 0};
  return ceilings;
}

constexpr int64_t kL3 = 1'000'000;
constexpr int64_t kHidden = 64, kVocab = 256, kHeadDim = 32;

/// One layer of one head and a product, its weights in q8_0 (34 bytes for 32), its keys in f16.
RunPlan small_plan() {
  ProgramBuilder p({"test", kVocab, 4096, kHidden});
  const Slot x = p.embed("embed");
  const Slot qkv = p.linear(x, {{"q", kHeadDim}, {"k", kHeadDim}, {"v", kHeadDim}});
  const Slot o = p.append_and_attend(qkv.columns(0, kHeadDim), qkv.columns(kHeadDim, kHeadDim),
                                     qkv.columns(2 * kHeadDim, kHeadDim),
                                     {.num_key_value_heads = 1, .head_dim = kHeadDim});
  p.linear_add(x, o, {"o", kHidden});
  p.head(p.norm(p.gather_rows(x), "norm", {}), "head");
  RunPlan plan;
  plan.program = std::move(p).finish();
  for (const WeightDecl& decl : plan.program.weights) {
    const bool vector = decl.kind == WeightDecl::Kind::kVector;
    plan.types.of.push_back(vector ? DType::of<F32>() : DType::of<Q8_0>());
  }
  plan.shape.max_batched_tokens = 100;
  plan.shape.kv_dtype = DType::of<F16>();
  return plan;
}
constexpr double kRowBytes = kHidden / 32 * 34;
constexpr double kLayerBytes = 3 * kHeadDim * kRowBytes + kHidden * 34;
constexpr double kHeadBytes = kVocab * kRowBytes + kHidden * 4;  // and the norm before it
constexpr double kLayerOperations = 2 * (3 * kHeadDim * kHidden + kHidden * kHeadDim);
constexpr double kHeadOperations = 2 * kVocab * kHidden;
constexpr double kTokenKvBytes = 2 * kHeadDim * 2;

TEST(Roofline, TheFloorIsTheLongerOfReadingAndReckoning) {
  const Ceilings ceilings = round_ceilings();
  Work work{.bytes = 10e9, .live_bytes = 2 * kL3, .operations = {}};
  EXPECT_DOUBLE_EQ(floor_of(work, ceilings, kL3)->seconds, 1);
  EXPECT_EQ(floor_of(work, ceilings, kL3)->ceiling, "read_gb_s");

  work.operations[cpu::Unit::kInt8DotZmm] = 500e9;
  EXPECT_DOUBLE_EQ(floor_of(work, ceilings, kL3)->seconds, 1);
  work.operations[cpu::Unit::kF32Zmm] = 100e9;  // one after the other: 0.5 s + 1 s
  EXPECT_DOUBLE_EQ(floor_of(work, ceilings, kL3)->seconds, 1.5);
  EXPECT_EQ(floor_of(work, ceilings, kL3)->ceiling, "f32_zmm");
}

TEST(Roofline, WhatFitsL3LivesThere) {
  const Ceilings ceilings = round_ceilings();
  const Work work{.bytes = 10e9, .live_bytes = kL3, .operations = {}};
  EXPECT_DOUBLE_EQ(floor_of(work, ceilings, kL3)->seconds, 0.25);
  EXPECT_EQ(floor_of(work, ceilings, kL3)->ceiling, "l3_gb_s");
  EXPECT_EQ(floor_of(work, ceilings, kL3 - 1)->ceiling, "read_gb_s");
}

TEST(Roofline, AMissingFigureGivesNoFloor) {
  Ceilings ceilings = round_ceilings();
  const Work halves{.bytes = 1, .operations = {{cpu::Unit::kFp16Zmm, 1}}};
  EXPECT_FALSE(floor_of(halves, ceilings, kL3));
  ceilings.figures.erase("read_gb_s");
  EXPECT_FALSE(floor_of({.bytes = 1, .live_bytes = 2 * kL3, .operations = {}}, ceilings, kL3));
}

TEST(Roofline, ProductsUseTheUnitOfTheirLevel) {
  const DType q4 = DType::of<Q4_0>(), bf16 = DType::of<BF16>(), f16 = DType::of<F16>();
  const auto unit = [](std::string_view isa, DType dtype, Activations activations) {
    return cpu::unit_name(unit_of_products(isa, dtype, activations));
  };
  using enum Activations;
  EXPECT_EQ(unit("avx2", q4, kAuto), "int8_add_ymm");
  EXPECT_EQ(unit("avxvnni", q4, kInt8), "int8_dot_ymm");
  EXPECT_EQ(unit("avx512", q4, kAuto), "int8_add_zmm");
  EXPECT_EQ(unit("avx512vnni", q4, kAuto), "int8_dot_zmm");
  EXPECT_EQ(unit("avx512bf16", q4, kAuto), "int8_dot_zmm");
  EXPECT_EQ(unit("amx", q4, kAuto), "int8_amx");
  EXPECT_EQ(unit("amx", q4, kF32), "f32_zmm");
  EXPECT_EQ(unit("avxvnni", q4, kF32), "f32_ymm");
  EXPECT_EQ(unit("avx512bf16", bf16, kAuto), "bf16_zmm");
  EXPECT_EQ(unit("avx512bf16", bf16, kF32), "f32_zmm");
  EXPECT_EQ(unit("avx512bf16", f16, kAuto), "f32_zmm");
  EXPECT_EQ(unit("avx512vnni", bf16, kAuto), "f32_zmm");
  EXPECT_EQ(unit("", f16, kAuto), "f32_ymm");
}

TEST(Roofline, DecodingReadsEveryWeightAndTheContextOnceAStep) {
  const Work work = bench_work(small_plan(), {.num_gen = 3, .num_depth = 10, .batch = 2}, "amx",
                               Activations::kAuto);
  // Embedding: the rows of two tokens. Contexts 11, 12, 13 of two sequences.
  const double weights = 2 * kRowBytes + kLayerBytes + kHeadBytes;
  EXPECT_DOUBLE_EQ(work.bytes, 3 * weights + 2 * (11 + 12 + 13) * kTokenKvBytes);
  EXPECT_EQ(static_cast<double>(work.live_bytes), weights + 2 * 13 * kTokenKvBytes);
  ASSERT_EQ(work.operations.size(), 1u);
  EXPECT_DOUBLE_EQ(work.operations.at(cpu::Unit::kInt8Amx),
                   3 * 2 * (kLayerOperations + kHeadOperations));
}

TEST(Roofline, APromptReadsTheWeightsOnceAChunkAndTheHeadServesItsLastToken) {
  const Work work = bench_work(small_plan(), {.num_prompt = 250}, "avx512vnni", Activations::kAuto);
  const double weights = 250 * kRowBytes + kLayerBytes + kHeadBytes;
  EXPECT_DOUBLE_EQ(work.bytes, 3 * weights + 250 * kTokenKvBytes);
  EXPECT_DOUBLE_EQ(work.operations.at(cpu::Unit::kInt8DotZmm),
                   250 * kLayerOperations + kHeadOperations);
}

TEST(Roofline, AShareIsTheFloorOverTheTimeTaken) {
  const ModelBenchResult result{.bench_case = {.num_gen = 100},
                                .samples_ns = {2'000'000'000, 2'000'000'000}};
  const Work work{.bytes = 10e9, .live_bytes = 2 * kL3, .operations = {}};
  const CeilingsByThreads ceilings = {{2, round_ceilings()}};
  const auto share = share_of_ceiling(result, work, ceilings, 2, kL3);
  ASSERT_TRUE(share);
  EXPECT_DOUBLE_EQ(share->share, 0.5);
  EXPECT_EQ(share->ceiling, "read_gb_s");
  EXPECT_FALSE(share_of_ceiling(result, work, ceilings, 1, kL3));
}

}  // namespace
}  // namespace quern
