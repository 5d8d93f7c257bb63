#include "exec/reference/reference_executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "program/fuse.h"
#include "program/program_builder.h"

namespace quern {
namespace {

/// Random weights for any Program, the same for the same seed.
class RandomWeights final : public WeightSource {
 public:
  RandomWeights(const Program& program, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (const WeightDecl& decl : program.weights) {
      const float scale = 1.0f / std::sqrt(static_cast<float>(decl.cols));
      auto& values = values_.emplace_back(static_cast<size_t>(decl.num_values()));
      for (float& value : values) value = normal(random) * scale;
      cols_.push_back(decl.cols);
    }
  }
  DType stored_dtype(WeightId) const override { return DType::of<F32>(); }
  const std::byte* stored_row(WeightId weight, int64_t row, std::byte*) const override {
    const auto i = static_cast<size_t>(weight.index);
    return reinterpret_cast<const std::byte*>(values_[i].data() + row * cols_[i]);
  }
  void decode_rows(WeightId weight, int64_t first, Matrix<float> out) const override {
    const auto i = static_cast<size_t>(weight.index);
    for (int64_t r = 0; r < out.rows; ++r) {
      const float* row = values_[i].data() + (first + r) * out.cols;
      std::copy(row, row + out.cols, out.row(r));
    }
  }
  void release(WeightId) const override {}

 private:
  std::vector<std::vector<float>> values_;
  std::vector<int64_t> cols_;
};

Program tiny_llama(int64_t window) {
  ProgramBuilder p(
      {.architecture = "Tiny", .vocab_size = 40, .context_length = 256, .hidden_size = 16});
  const int32_t rope = p.add_rope({.inverse_frequencies = {1.0f, 0.1f, 0.01f, 0.001f}});
  const Slot x = p.embed("embed");
  for (int i = 0; i < 2; ++i) {
    p.at(cat("layers.", i, "."));
    const Slot a = p.norm(x, "norm1", {});
    const Slot qkv = p.linear(
        a, {{.weight = "q", .rows = 16}, {.weight = "k", .rows = 8}, {.weight = "v", .rows = 8}});
    const Slot q = qkv.columns(0, 16), k = qkv.columns(16, 8), v = qkv.columns(24, 8);
    p.rotate(q, k, {.head_dim = 8, .rope = rope});
    const Slot o = p.append_and_attend(
        q, k, v, {.num_key_value_heads = 1, .head_dim = 8, .scale = 0.35f, .window = window});
    p.linear_add(x, o, {.weight = "o", .rows = 16});
    const Slot m = p.norm(x, "norm2", {});
    const Slot both = p.linear(m, {{.weight = "gate", .rows = 32}, {.weight = "up", .rows = 32}});
    p.linear_add(x, p.activate(both, Activation::kSilu, Activate::Form::kGated),
                 {.weight = "down", .rows = 16});
  }
  p.at("");
  p.head(p.norm(p.gather_rows(x), "last", {}), "embed");
  return std::move(p).finish();
}

/// Runs one sequence over `ids` in the given chunk lengths; returns the logits after each chunk.
std::vector<std::vector<float>> run_chunks(Executor& executor, const std::vector<int32_t>& ids,
                                           const std::vector<int32_t>& chunks, int64_t groups) {
  std::vector<int32_t> blocks = {3, 1, 0, 2};
  const std::vector<BlockTable> tables(static_cast<size_t>(groups), {blocks.data(), 4});
  std::vector<std::vector<float>> logits;
  int32_t done = 0;
  for (const int32_t chunk : chunks) {
    std::vector<int32_t> positions;
    for (int32_t i = 0; i < chunk; ++i) positions.push_back(done + i);
    const std::vector<int32_t> starts = {0, chunk}, context = {done + chunk}, adapters = {-1};
    const std::vector<RowWish> wishes = {{.row = chunk - 1}};
    const Batch batch{
        .token_ids = std::span(ids).subspan(static_cast<size_t>(done), static_cast<size_t>(chunk)),
        .positions = positions,
        .query_start = starts,
        .context_len = context,
        .block_tables = tables,
        .adapter_ids = adapters,
        .wishes = wishes};
    const StepResult& result = executor.wait(executor.submit(batch));
    logits.emplace_back(result.logits.row(0), result.logits.row(0) + result.logits.cols);
    done += chunk;
  }
  return logits;
}

std::unique_ptr<Executor> load(const Program& program) {
  const WeightTypes types{std::vector<DType>(program.weights.size(), DType::of<F32>())};
  const ExecShape shape{.max_batched_tokens = 64,
                        .max_num_seqs = 2,
                        .max_model_len = 128,
                        .max_wanted_rows = 4,
                        .kv_blocks = {4}};
  return *kReferenceExecutor.load(program, types, RandomWeights(program, 1), shape, {});
}

std::vector<int32_t> some_ids(int32_t count) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((i * 7 + 3) % 40);
  return ids;
}

TEST(ReferenceExecutor, ChunksOfAPromptGiveTheBitsOfTheWhole) {
  const Program program = tiny_llama(0);
  const auto whole = run_chunks(*load(program), some_ids(40), {40}, 1);
  const auto chunked = run_chunks(*load(program), some_ids(40), {1, 7, 30, 1, 1}, 1);
  EXPECT_EQ(whole.back(), chunked.back());
}

TEST(ReferenceExecutor, FusionsDoNotChangeABit) {
  const Program plain = tiny_llama(0);
  const Program fused = *fuse(plain, {});
  ASSERT_LT(fused.steps.size(), plain.steps.size());
  EXPECT_EQ(run_chunks(*load(plain), some_ids(33), {33}, 1).back(),
            run_chunks(*load(fused), some_ids(33), {33}, 1).back());
}

TEST(ReferenceExecutor, AWindowForgetsWhatLiesBehindIt) {
  const Program program = tiny_llama(4);
  std::vector<int32_t> ids = some_ids(20), other = ids;
  other[0] = 39;  // two layers of window 4 look back at most 6 tokens
  EXPECT_EQ(run_chunks(*load(program), ids, {20}, 1).back(),
            run_chunks(*load(program), other, {20}, 1).back());
  const Program global = tiny_llama(0);
  EXPECT_NE(run_chunks(*load(global), ids, {20}, 1).back(),
            run_chunks(*load(global), other, {20}, 1).back());
}

TEST(ReferenceExecutor, RefusesAnInstructionSetByName) {
  const Program program = tiny_llama(0);
  const WeightTypes types{std::vector<DType>(program.weights.size(), DType::of<F32>())};
  const auto result = kReferenceExecutor.check(program, types, DType::of<F32>(), {.isa = "avx2"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
}

TEST(ReferenceExecutor, RefusesTypesWhoseBlocksDoNotDivideAHead) {
  const Program program = tiny_llama(0);
  const WeightTypes types{std::vector<DType>(program.weights.size(), DType::of<F32>())};
  const auto refused = kReferenceExecutor.check(program, types, DType::of<Q4_0>(), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message.find("head_dim is 8"), std::string::npos);
  EXPECT_TRUE(kReferenceExecutor.check(program, types, DType::of<FP8_E4M3>(), {}));
}

}  // namespace
}  // namespace quern
