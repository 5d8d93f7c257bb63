#include "program/fuse.h"

#include <gtest/gtest.h>

#include "program/program_builder.h"

namespace quern {
namespace {

/// One layer with everything the fusions look for.
Program small_program() {
  ProgramBuilder p(
      {.architecture = "Test", .vocab_size = 10, .context_length = 8, .hidden_size = 4});
  const Slot x = p.embed("embed");
  const Slot a = p.norm(x, "norm", {});
  const Slot qkv = p.linear(a, {{.weight = "q", .rows = 4},
                                {.weight = "k", .rows = 2},
                                {.weight = "v", .rows = 2, .bias = "v_bias"}});
  const Slot o = p.append_and_attend(qkv.columns(0, 4), qkv.columns(4, 2), qkv.columns(6, 2),
                                     {.num_key_value_heads = 1, .head_dim = 2});
  p.linear_add(x, o, {.weight = "o", .rows = 4});
  const Slot m = p.norm(x, "norm2", {});
  const Slot both = p.linear(m, {{.weight = "gate", .rows = 6}, {.weight = "up", .rows = 6}});
  p.linear_add(x, p.activate(both, Activation::kSilu, Activate::Form::kGated),
               {.weight = "down", .rows = 4});
  p.head(p.norm(p.gather_rows(x), "last", {}), "embed");
  return std::move(p).finish();
}

std::vector<std::string> kinds(const Program& program) {
  std::vector<std::string> names;
  for (const Step& step : program.steps) names.emplace_back(step_name(step));
  return names;
}

TEST(Fuse, JoinsProductsActivationsAndResiduals) {
  const Program fused = *fuse(small_program(), {});
  EXPECT_EQ(kinds(fused),
            (std::vector<std::string>{"Embed", "Norm", "Linear", "Append", "Attend", "Linear",
                                      "Norm", "Linear", "Linear", "GatherRows", "Norm", "Head"}));
  const auto& qkv = std::get<Linear>(fused.steps[2]);
  EXPECT_EQ(qkv.weights.size(), 3u);
  EXPECT_FALSE(qkv.biases[0].valid());
  EXPECT_TRUE(qkv.biases[2].valid());
  EXPECT_EQ(std::get<Linear>(fused.steps[5]).epilogue, Linear::Epilogue::kAdd);
  EXPECT_EQ(std::get<Linear>(fused.steps[7]).epilogue, Linear::Epilogue::kActivateGated);
}

TEST(Fuse, EachFusionHasASwitchOfItsOwn) {
  const size_t all = fuse(small_program(), {})->steps.size();
  const size_t none = fuse(small_program(), {.all_off = true, .off = {}})->steps.size();
  EXPECT_EQ(none, small_program().steps.size());
  EXPECT_EQ(fuse(small_program(), {.off = {"residual"}})->steps.size(), all + 2);
  EXPECT_EQ(fuse(small_program(), {.off = {"activation"}})->steps.size(), all + 1);
  // Without stacking, gate and up stay apart and so cannot end in the gated activation.
  EXPECT_EQ(fuse(small_program(), {.off = {"stack"}})->steps.size(), all + 2 + 1 + 1);
}

TEST(Fuse, AnUnknownNameIsAUsageErrorThatListsTheKnownOnes) {
  const auto result = fuse(small_program(), {.off = {"glue"}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUsage);
  EXPECT_NE(result.error().message.find("stack, activation, residual"), std::string::npos);
}

TEST(Fuse, DoesNotTouchAProductThatSomebodyElseReads) {
  ProgramBuilder p({.architecture = "T", .vocab_size = 10, .context_length = 8, .hidden_size = 4});
  const Slot x = p.embed("embed");
  const Slot y = p.linear(x, {{.weight = "w", .rows = 4}});
  p.add(x, y);
  p.add(x, y);  // reads y again
  p.head(p.gather_rows(x), "embed");
  const Program fused = *fuse(std::move(p).finish(), {});
  EXPECT_EQ(kinds(fused),
            (std::vector<std::string>{"Embed", "Linear", "Add", "Add", "GatherRows", "Head"}));
}

TEST(Cost, ADecodedTokenReadsEveryWeightOnceAndTheEmbeddingAsOneRow) {
  const Program program = *fuse(small_program(), {});
  const auto bytes = [&](WeightId id) { return 4 * program.weight(id).num_values(); };
  const Cost cost = program_cost(cost_context(program, 1, 1, 5, DType::of<F16>(), bytes));
  const int64_t matrices = 4 * 4 + 2 * 4 + 2 * 4 + 4 * 4 + 2 * 6 * 4 + 6 * 4 + 10 * 4;
  const int64_t vectors = 3 * 4 + 2;
  EXPECT_EQ(cost.weight_bytes, 4 * (matrices + vectors + 4));  // + 4: the embedded row
  EXPECT_GT(cost.flops, 2 * matrices);
}

TEST(Program, TheListingNamesEveryStepWithItsOperands) {
  const std::string listing = print_program(*fuse(small_program(), {}));
  EXPECT_NE(listing.find("Linear  y4x8s = normed  {q [4, 4], k [2, 4], v [2, 4], v_bias [2]}"),
            std::string::npos)
      << listing;
  EXPECT_NE(listing.find("epilogue=activate_gated silu"), std::string::npos) << listing;
}

}  // namespace
}  // namespace quern
