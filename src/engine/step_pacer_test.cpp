#include "engine/step_pacer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/engine.h"
#include "engine/philox.h"
#include "engine/simulation/hash_executor.h"

namespace quern {
namespace {

constexpr double kStretch = 1.4;
constexpr int64_t kMost = 512;

/// What a step takes: something for every step, more for each sequence and its depth, something
/// for having prompt tokens at all, more for each of them and its depth.
struct Machine {
  double step = 20e6, sequence = 1e6, depth = 200;
  double some_tokens = 2e6, token = 100e3, token_depth = 5;
  double noise = 0;  // largest relative deviation
  double slow = 0;   // share of the steps that take four times as long
  uint64_t draws = 0;

  double decode_ns(int64_t num_decoding, int64_t context) const {
    return step +
           static_cast<double>(num_decoding) * (sequence + depth * static_cast<double>(context));
  }
  double mixed_ns(int64_t num_decoding, int64_t context, int64_t tokens, int64_t done) const {
    const double each = token + token_depth * static_cast<double>(done);
    return decode_ns(num_decoding, context) +
           (tokens == 0 ? 0 : some_tokens + static_cast<double>(tokens) * each);
  }
  int64_t measured(double ns) {
    const double deviation = 1 + noise * (2 * random_unit(7, ++draws) - 1);
    const bool is_slow = random_unit(7, ++draws) < slow;
    return std::llround(ns * deviation * (is_slow ? 4 : 1));
  }
};

struct Prefill {
  int64_t steps = 0;
  int64_t over = 0;     // steps that by the machine's own formula took too long
  int64_t settled = 0;  // the steps counted for that
  double last_tokens = 0;
};

/// A prompt beside so many that decode at a depth.
Prefill prefill(StepPacer& pacer, Machine& machine, int64_t num_decoding, int64_t context,
                int64_t prompt, int64_t settling = 12) {
  Prefill seen;
  for (int64_t done = 0; done < prompt && seen.steps < 100'000; ++seen.steps, ++context) {
    const int64_t budget = pacer.budget(num_decoding);
    EXPECT_LE(budget, kMost);
    const int64_t tokens = std::min(budget, prompt - done);
    const double ns = machine.mixed_ns(num_decoding, context, tokens, done);
    pacer.learn(num_decoding, tokens, machine.measured(ns));
    done += tokens;
    if (tokens == 0 || seen.steps < settling) continue;
    ++seen.settled;
    seen.over += ns > 1.05 * kStretch * machine.decode_ns(num_decoding, context) ? 1 : 0;
    if (done < prompt) seen.last_tokens = static_cast<double>(tokens);
  }
  return seen;
}

void decode(StepPacer& pacer, Machine& machine, int64_t num_decoding, int64_t context,
            int64_t steps) {
  for (int64_t i = 0; i < steps; ++i) {
    pacer.budget(num_decoding);
    pacer.learn(num_decoding, 0, machine.measured(machine.decode_ns(num_decoding, context + i)));
  }
}

StepPacer pacer_of(double stretch = kStretch) {
  return StepPacer({.max_stretch = stretch, .max_prompt_tokens = kMost, .max_sequences = 32});
}

TEST(StepPacer, OffOrWithNobodyDecodingEverythingGoes) {
  StepPacer off = pacer_of(0), on = pacer_of();
  EXPECT_EQ(off.budget(8), kMost);
  EXPECT_EQ(on.budget(0), kMost);
}

TEST(StepPacer, SettlesWhereAStepTakesItsBound) {
  StepPacer pacer = pacer_of();
  Machine machine;
  decode(pacer, machine, 8, 100, 20);
  const Prefill seen = prefill(pacer, machine, 8, 120, 8192);
  EXPECT_EQ(seen.over, 0);
  // (0.4 * decode - 2 ms) / (100 us + 5 ns each of 8192 before): what the bound leaves room for.
  const double room = 0.4 * machine.decode_ns(8, 120 + seen.steps) - 2e6;
  EXPECT_GT(seen.last_tokens, 0.8 * room / (100e3 + 5 * 8192));
  EXPECT_LT(seen.steps, 1.3 * 8192 / (0.8 * room / (100e3 + 5 * 8192)));
}

TEST(StepPacer, NoiseAndSlowStepsDoNotMoveIt) {
  StepPacer pacer = pacer_of();
  Machine machine{.noise = 0.08, .slow = 0.03};
  decode(pacer, machine, 8, 100, 20);
  const Prefill seen = prefill(pacer, machine, 8, 120, 30'000);
  EXPECT_LT(seen.over * 10, seen.settled);  // the bound is met in the middle, not at the edge
  EXPECT_LT(seen.steps, 600);
  EXPECT_GT(seen.steps, 200);
}

TEST(StepPacer, FollowsTheNumberOfSequencesAndTheirDepth) {
  StepPacer pacer = pacer_of();
  Machine machine;
  decode(pacer, machine, 2, 0, 5);
  for (const auto& [num_decoding, context] : std::initializer_list<std::pair<int64_t, int64_t>>{
           {2, 0}, {16, 0}, {16, 4000}, {3, 100}, {3, 16'000}, {9, 50}}) {
    const Prefill seen = prefill(pacer, machine, num_decoding, context, 20'000, 70);
    EXPECT_EQ(seen.over, 0) << num_decoding << " at " << context;
    EXPECT_LT(seen.steps, 1'000) << num_decoding << " at " << context;
  }
}

TEST(StepPacer, NumberThatChangesWithEveryStepStillLeavesRoomForPrompts) {
  StepPacer pacer = pacer_of();
  Machine machine;
  int64_t done = 0, over = 0;
  for (int64_t step = 0; step < 400; ++step) {
    const int64_t num_decoding = 1 + step * 7 % 30;
    const int64_t tokens = pacer.budget(num_decoding);
    const double ns = machine.mixed_ns(num_decoding, 500, tokens, 0);
    pacer.learn(num_decoding, tokens, machine.measured(ns));
    done += tokens;
    over += step > 60 && ns > 1.2 * kStretch * machine.decode_ns(num_decoding, 500) ? 1 : 0;
  }
  EXPECT_GT(done, 400 * 50);
  EXPECT_LT(over, 20);
}

TEST(StepPacer, PromptsGetDoneThoughTheBoundHasNoRoom) {
  StepPacer pacer = pacer_of();
  Machine machine{.some_tokens = 100e6};
  decode(pacer, machine, 4, 0, 10);
  const Prefill seen = prefill(pacer, machine, 4, 10, 800);
  EXPECT_LE(seen.steps, 800 / StepPacer::kFloor + 12);
}

TEST(StepPacer, PromptsBehindTheFirstOutweighFewAnswers) {
  StepPacer pacer = pacer_of();
  Machine machine;
  decode(pacer, machine, 8, 100, 20);
  prefill(pacer, machine, 8, 120, 4'000);
  decode(pacer, machine, 8, 300, 3);
  const int64_t alone = pacer.budget(8, 1);
  EXPECT_LT(2 * alone, kMost);
  EXPECT_NEAR(static_cast<double>(pacer.budget(8, 2)), 2.0 * static_cast<double>(alone), 2.0);
  // Eight behind the first are worth 16 times the room, taken by and by.
  int64_t many = 0;
  for (int i = 0; i < 12; ++i) {
    many = pacer.budget(8, 9);
    pacer.learn(8, many, machine.measured(machine.mixed_ns(8, 300, many, 0)));
  }
  EXPECT_EQ(many, kMost);
  decode(pacer, machine, 32, 300, 3);
  EXPECT_EQ(pacer.budget(32, 3), pacer.budget(32, 1));
  EXPECT_LT(pacer.budget(32, 3), kMost / 2);
}

TEST(StepPacer, SmallPromptsDoNotTeachThatLargeOnesAreDear) {
  StepPacer pacer = pacer_of();
  Machine machine;
  decode(pacer, machine, 8, 100, 20);
  prefill(pacer, machine, 8, 120, 4'000);
  for (int i = 0; i < 100; ++i) {
    pacer.budget(8);
    pacer.learn(8, 2, machine.measured(machine.mixed_ns(8, 300, 2, 0)));
  }
  decode(pacer, machine, 8, 300, 3);
  EXPECT_GT(pacer.budget(8), 60);
}

/// Lets the clock go on as the machine would.
class TimedExecutor final : public Executor {
 public:
  struct TestClock final : Clock {
    int64_t now_ns() const override { return now; }
    int64_t now = 1;
  };
  TimedExecutor(HashExecutor& model, TestClock& clock) : model_(model), clock_(clock) {}
  const Capabilities& capabilities() const override { return model_.capabilities(); }
  Ticket submit(const Batch& batch) override {
    int64_t num_decoding = 0, tokens = 0, context = 0;
    for (int64_t s = 0; s < batch.num_sequences(); ++s) {
      const auto at = static_cast<size_t>(s);
      const int64_t count = batch.query_start[at + 1] - batch.query_start[at];
      ++(count == 1 ? num_decoding : tokens);
      if (count > 1) tokens += count - 1;
      context = std::max<int64_t>(context, batch.context_len[at]);
    }
    last_ns = machine.mixed_ns(num_decoding, 0, tokens, 0);
    last_decode_ns = machine.decode_ns(num_decoding, 0);
    last_tokens = tokens;
    clock_.now += std::llround(last_ns);
    return model_.submit(batch);
  }
  const StepResult& wait(Ticket ticket) override { return model_.wait(ticket); }
  void copy_blocks(int32_t group, std::span<const int32_t> from,
                   std::span<const int32_t> to) override {
    model_.copy_blocks(group, from, to);
  }

  Machine machine;
  double last_ns = 0, last_decode_ns = 0;
  int64_t last_tokens = 0;

 private:
  HashExecutor& model_;
  TestClock& clock_;
};

class Ends final : public EventSink {
 public:
  void on_token(const TokenEvent&) override {}
  void on_finished(RequestResult result) override { finished.push_back(result.tag); }
  std::vector<uint64_t> finished;
};

TEST(StepPacer, EngineKeepsThePaceOfThoseWhoDecodeWhileALongPromptComes) {
  const std::vector<KvGroupSize> groups = {{.num_blocks = 400}};
  HashExecutor model({.vocab_size = 50,
                      .groups = groups,
                      .max_num_seqs = 9,
                      .max_batched_tokens = kMost,
                      .max_wanted_rows = 9});
  TimedExecutor::TestClock clock;
  TimedExecutor executor(model, clock);
  Ends ends;
  auto engine = std::move(Engine::make(executor,
                                       {.vocab_size = 50,
                                        .max_model_len = 5'000,
                                        .max_num_seqs = 9,
                                        .max_num_batched_tokens = kMost,
                                        .max_wanted_rows = 9,
                                        .kv_groups = groups,
                                        .max_step_stretch = kStretch},
                                       ends, clock))
                    .value();
  const auto submit = [&](int64_t length, int64_t max_tokens, uint64_t tag) {
    Request request;
    for (int64_t i = 0; i < length; ++i) {
      request.prompt.push_back(static_cast<int32_t>((i * i + static_cast<int64_t>(tag)) % 50));
    }
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0;
    request.tag = tag;
    ASSERT_TRUE(engine->submit(std::move(request)));
  };
  for (uint64_t tag = 1; tag <= 8; ++tag) submit(10, 300, tag);
  for (int i = 0; i < 20; ++i) engine->step();
  submit(4'000, 2, 9);
  int64_t over = 0, mixed = 0;
  while (ends.finished.empty()) {
    ASSERT_TRUE(engine->step());
    if (executor.last_tokens == 0) continue;
    ++mixed;
    over += executor.last_ns > 1.05 * kStretch * executor.last_decode_ns ? 1 : 0;
  }
  EXPECT_EQ(ends.finished.front(), 9u);  // it is done while all eight still decode
  EXPECT_LE(over, 3);
  EXPECT_LT(mixed, 70);
  engine->run_until_idle();
  EXPECT_EQ(model.violation(), std::nullopt);
}

}  // namespace
}  // namespace quern
