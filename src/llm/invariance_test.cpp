// Promise 2: the same bits alone or in company, in any chunks, on any number of threads, with a
// cold or warm prefix cache, fused or not; for integer formats also on every instruction set level.

#include "exec/cpu/isa.h"
#include "llm/golden_models.h"

namespace quern {
namespace {

/// What must be equal: ids, log-probabilities and every logit of every token.
struct Answer {
  std::vector<int32_t> token_ids;
  std::vector<float> logprobs;
  std::vector<uint64_t> hashes;
  friend bool operator==(const Answer&, const Answer&) = default;
};

Answer answer_of(const RequestResult& result) {
  Answer answer{.token_ids = result.token_ids, .logprobs = {}, .hashes = result.logits_hashes};
  for (const TokenLogprob& token : result.logprobs.tokens) answer.logprobs.push_back(token.logprob);
  for (const TokenLogprob& token : result.logprobs.alternatives) {
    answer.logprobs.push_back(token.logprob);
  }
  return answer;
}

/// A prompt of `length` ids that begins like all others of the same `family`.
std::vector<int32_t> prompt_of(int64_t length, int64_t family, int64_t own) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) {
    const int64_t salt = i < 40 ? family : own;
    ids.push_back(static_cast<int32_t>((i * 31 + salt * 17 + i * i % 7) % 200 + 3));
  }
  return ids;
}

Request probe() {
  Request request = greedy_request(prompt_of(77, 1, 1), 24);
  request.logprobs = 3;
  request.logits_hash = true;
  return request;
}

std::vector<Request> company(int64_t count) {
  std::vector<Request> requests;
  for (int64_t i = 0; i < count; ++i) {
    Request request = greedy_request(prompt_of(5 + i * 13, i % 2, 100 + i), 6 + i);
    request.sampling.temperature = 0.8f;
    request.sampling.seed = static_cast<uint64_t>(i);
    requests.push_back(std::move(request));
  }
  return requests;
}

std::unique_ptr<Llm> load(const Model& model, const RunOptions& options) {
  auto llm = Llm::load(model, options);
  EXPECT_TRUE(llm) << (llm ? "" : llm.error().message);
  return *std::move(llm);
}

/// The probe's answer with `others` requests around it.
Answer answer_in_company(Llm& llm, int64_t others) {
  std::vector<Request> requests = company(others);
  const auto middle = static_cast<ptrdiff_t>(requests.size() / 2);
  requests.insert(requests.begin() + middle, probe());
  const auto results = llm.answer_all(std::move(requests));
  EXPECT_TRUE(results) << results.error().message;
  return answer_of((*results)[static_cast<size_t>(middle)]);
}

/// Every way to run the probe on one level and format must give `expected`.
void expect_everywhere(const Model& model, const RunOptions& base, const Answer& expected) {
  for (const int64_t chunk : {1, 7, 64}) {
    RunOptions options = base;
    options.max_num_batched_tokens = chunk;
    EXPECT_EQ(answer_in_company(*load(model, options), 0), expected) << "chunk " << chunk;
  }
  for (const int64_t others : {1, 3, 15}) {
    RunOptions options = base;
    options.max_num_seqs = others + 1;
    options.max_num_batched_tokens = 48;
    EXPECT_EQ(answer_in_company(*load(model, options), others), expected)
        << "among " << others << " others";
  }
  RunOptions one_thread = base;
  one_thread.exec.threads = 1;
  EXPECT_EQ(answer_in_company(*load(model, one_thread), 2), expected) << "one thread";

  const auto warm = load(model, base);
  EXPECT_EQ(answer_in_company(*warm, 3), expected) << "cold cache";
  const auto again = warm->answer(probe());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_GT(again->cached_tokens, 0);
  EXPECT_EQ(answer_of(*again), expected) << "warm cache";

  RunOptions plain = base;
  plain.fuse.all_off = true;
  EXPECT_EQ(answer_in_company(*load(model, plain), 0), expected) << "nothing fused";
  RunOptions anew = base;
  anew.no_kv_cache = true;
  EXPECT_EQ(answer_in_company(*load(model, anew), 0), expected) << "no KV cache";
}

class Invariance : public testing::TestWithParam<std::string> {};

TEST_P(Invariance, TheBitsOfAnAnswerDependOnTheRequestAlone) {
  const Model model = golden_model(GetParam());
  for (const DType dtype : {DType::of<F32>(), DType::of<BF16>(), DType::of<Q8_0>(),
                            DType::of<Q4_0>(), DType::of<W8A8>()}) {
    for (const cpu::Isa isa : cpu::available_isas()) {
      SCOPED_TRACE(cat(dtype.name(), " ", cpu::isa_name(isa)));
      RunOptions options = small_run(dtype);
      options.exec.isa = std::string(cpu::isa_name(isa));
      const Answer expected = answer_in_company(*load(model, options), 0);
      ASSERT_EQ(expected.hashes.size(), 24u);
      expect_everywhere(model, options, expected);
    }
  }
}

TEST_P(Invariance, IntegerFormatsGiveTheSameBitsOnEveryLevel) {
  const Model model = golden_model(GetParam());
  for (const DType dtype : {DType::of<Q8_0>(), DType::of<Q4_0>(), DType::of<Q4_1>(),
                            DType::of<Q5_0>(), DType::of<W8A8>()}) {
    std::optional<Answer> expected;
    for (const cpu::Isa isa : cpu::available_isas()) {
      RunOptions options = small_run(dtype);
      options.exec.isa = std::string(cpu::isa_name(isa));
      // A fallback to a float format would leave the promise: these models have none.
      const auto llm = load(model, options);
      ASSERT_TRUE(llm->plan().fallbacks.empty());
      const Answer answer = answer_in_company(*llm, 3);
      if (!expected) expected = answer;
      EXPECT_EQ(answer, *expected) << dtype.name() << " " << cpu::isa_name(isa);
    }
  }
}

TEST(KvTypes, TheTypeOfKeysAndValuesDoesNotChangeThat) {
  // The demo, because heads of the golden models are no whole blocks of 32.
  const Result<Model> model = open_model(std::string(QUERN_SOURCE_DIR) + "/models/demo", {});
  ASSERT_TRUE(model) << model.error().message;
  for (const DType kv : {DType::of<Q8_0>(), DType::of<Q4_0>(), DType::of<FP8_E4M3>()}) {
    std::optional<Answer> expected;
    for (const cpu::Isa isa : cpu::available_isas()) {
      SCOPED_TRACE(cat("keys ", kv.name(), " ", cpu::isa_name(isa)));
      RunOptions options = small_run(DType::of<Q8_0>());
      options.kv_cache_dtype = kv;
      options.exec.isa = std::string(cpu::isa_name(isa));
      const auto llm = load(*model, options);
      ASSERT_TRUE(llm->plan().fallbacks.empty());
      const Answer answer = answer_in_company(*llm, 0);
      if (!expected) {
        expected = answer;
        ASSERT_EQ(expected->hashes.size(), 24u);
        expect_everywhere(*model, options, *expected);
      }
      EXPECT_EQ(answer, *expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Invariance, testing::Values("gpt2", "llama", "qwen2", "gemma3"));

}  // namespace
}  // namespace quern
