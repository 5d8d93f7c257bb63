#include "measure/model_speed.h"

#include <algorithm>

#include "base/cat.h"
#include "base/clock.h"

namespace quern {

std::string ModelBenchCase::name() const {
  std::string text = num_prompt > 0 ? cat("pp", num_prompt) : cat("tg", num_gen);
  if (num_depth > 0) text += cat(" @ d", num_depth);
  if (batch > 1) text += cat(" x", batch);
  return text;
}

std::vector<double> ModelBenchResult::samples_ts() const {
  std::vector<double> rates;
  for (const int64_t ns : samples_ns) {
    rates.push_back(static_cast<double>(bench_case.timed_tokens()) * 1e9 /
                    static_cast<double>(std::max<int64_t>(1, ns)));
  }
  return rates;
}

std::vector<ModelBenchCase> model_bench_cases(const std::vector<int64_t>& prompts,
                                              const std::vector<int64_t>& gens,
                                              const std::vector<int64_t>& depths,
                                              const std::vector<int64_t>& batches) {
  std::vector<ModelBenchCase> cases;
  for (const int64_t depth : depths) {
    for (const int64_t batch : batches) {
      for (const int64_t prompt : prompts) {
        if (prompt > 0) cases.push_back({.num_prompt = prompt, .num_depth = depth, .batch = batch});
      }
      for (const int64_t gen : gens) {
        if (gen > 0) cases.push_back({.num_gen = gen, .num_depth = depth, .batch = batch});
      }
    }
  }
  return cases;
}

namespace {

/// Ids that mean nothing, below `vocab_size`, the same for the same sequence number.
std::vector<int32_t> meaningless_ids(int64_t count, int64_t sequence, int64_t vocab_size) {
  std::vector<int32_t> ids;
  auto state = static_cast<uint64_t>(sequence) * 7919 + 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    ids.push_back(static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocab_size)));
  }
  return ids;
}

/// One repetition: nanoseconds of the timed part.
Result<int64_t> run_once(Llm& model, const ModelBenchCase& c, int64_t repetition) {
  const bool prefill = c.num_prompt > 0;
  const int64_t vocab_size = model.plan().program.vocab_size;
  const auto requests_of = [&](int64_t prompt, int64_t max_tokens) {
    std::vector<Request> requests;
    for (int64_t s = 0; s < c.batch; ++s) {
      Request request;
      request.prompt = meaningless_ids(prompt, repetition * c.batch + s, vocab_size);
      request.sampling.temperature = 0;
      request.max_tokens = max_tokens;
      request.ignore_eos = true;
      request.cache_salt = cat("bench ", repetition, " ", s);
      requests.push_back(std::move(request));
    }
    return requests;
  };
  if (c.num_depth > 0) {
    RETURN_IF_ERROR(model.answer_all(requests_of(c.num_depth, 1)));
  }
  const int64_t prompt = prefill ? c.num_depth + c.num_prompt : std::max<int64_t>(1, c.num_depth);
  ASSIGN_OR_RETURN(const auto results,
                   model.answer_all(requests_of(prompt, prefill ? 1 : c.num_gen + 1)));
  int64_t begin = 0, end = 0, first_end = INT64_MAX;
  for (const RequestResult& result : results) {
    const RequestTiming& timing = result.timing;
    const int64_t ended = prefill ? timing.first_token_ns : timing.last_token_ns;
    begin = std::max(begin, prefill ? timing.submitted_ns : timing.first_token_ns);
    end = std::max(end, ended);
    first_end = std::min(first_end, ended);
  }
  if (first_end < begin) {  // the rate of all would be that of a part of them
    return Error{.code = ErrorCode::kDoesNotFit,
                 .message = cat(c.name(),
                                ": the first sequences had ended before the last began; "
                                "generate more tokens or raise --kv-cache-memory-bytes"),
                 .what = c.name(),
                 .wanted = "sequences that decode together"};
  }
  return end - begin;
}

}  // namespace

Result<ModelBenchResult> run_model_bench(Llm& model, const ModelBenchCase& bench_case,
                                         int64_t repetitions) {
  ModelBenchResult result{.bench_case = bench_case, .samples_ns = {}};
  for (int64_t r = 0; r <= repetitions; ++r) {
    ASSIGN_OR_RETURN(const int64_t ns, run_once(model, bench_case, r));
    if (r > 0) result.samples_ns.push_back(ns);  // the first one warms up
  }
  return result;
}

}  // namespace quern
