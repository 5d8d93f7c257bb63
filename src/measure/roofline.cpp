#include "measure/roofline.h"

#include <algorithm>
#include <variant>

#include "measure/statistics.h"

namespace quern {

namespace {

/// Bytes of keys and values that a step reads.
int64_t kv_bytes_read(const Program& program, const CostContext& at) {
  int64_t bytes = 0;
  for (const Step& step : program.steps) {
    if (const auto* const attend = std::get_if<Attend>(&step)) {
      bytes += cost(*attend, at).read_bytes - at.bytes(attend->q);
    }
  }
  return bytes;
}

int64_t weight_bytes_read(const Program& program, const CostContext& at) {
  int64_t bytes = 0;
  for (const Step& step : program.steps) bytes += step_cost(step, at).weight_bytes;
  return bytes;
}

/// Adds the products of a step, each weight's with its own unit.
void add_products(const RunPlan& plan, const CostContext& at, double times, std::string_view isa,
                  Activations activations, Work& work) {
  const auto add = [&](WeightId weight, int64_t rows) {
    const DType dtype = plan.types.of[static_cast<size_t>(weight.index)];
    work.operations[unit_of_products(isa, dtype, activations)] +=
        times * 2.0 * static_cast<double>(rows * plan.program.weight(weight).num_values());
  };
  for (const Step& step : plan.program.steps) {
    if (const auto* const linear = std::get_if<Linear>(&step)) {
      for (const WeightId weight : linear->weights) add(weight, at.rows(linear->in));
    } else if (const auto* const head = std::get_if<Head>(&step)) {
      add(head->weight, at.rows(head->in));
    }
  }
}

}  // namespace

std::optional<Floor> floor_of(const Work& work, const Ceilings& ceilings, int64_t l3_bytes) {
  Floor floor;
  if (work.bytes > 0) {
    const bool in_l3 = work.live_bytes <= l3_bytes && ceilings.value("l3_gb_s");
    const std::string_view name = in_l3 ? "l3_gb_s" : "read_gb_s";
    const std::optional<double> rate = ceilings.value(name);
    if (!rate) return std::nullopt;
    floor = {.seconds = work.bytes / *rate * 1e-9, .ceiling = std::string(name)};
  }
  // Products of different units follow one another: their times add up. The slowest part names
  // them.
  double seconds = 0, slowest = 0;
  std::string_view name;
  for (const auto& [unit, operations] : work.operations) {
    const std::optional<double> rate = ceilings.value(unit);
    if (!rate) return std::nullopt;
    const double part = operations / *rate * 1e-9;
    seconds += part;
    if (part <= slowest) continue;
    slowest = part;
    name = cpu::unit_name(unit);
  }
  if (seconds > floor.seconds) floor = {.seconds = seconds, .ceiling = std::string(name)};
  return floor;
}

cpu::Unit unit_of_products(std::string_view isa, DType weight, Activations activations) {
  const bool zmm = isa.starts_with("avx512") || isa == "amx";
  if (!weight.is_float() && activations != Activations::kF32) {
    if (isa == "avx2") return cpu::Unit::kInt8AddYmm;
    if (isa == "avxvnni") return cpu::Unit::kInt8DotYmm;
    if (isa == "avx512") return cpu::Unit::kInt8AddZmm;
    return isa == "amx" ? cpu::Unit::kInt8Amx : cpu::Unit::kInt8DotZmm;
  }
  const bool pairs = isa == "avx512bf16" && weight == DType::of<BF16>();
  if (pairs && activations != Activations::kF32) return cpu::Unit::kBf16Zmm;
  return zmm ? cpu::Unit::kF32Zmm : cpu::Unit::kF32Ymm;
}

Work bench_work(const RunPlan& plan, const ModelBenchCase& c, std::string_view isa,
                Activations activations) {
  const Program& program = plan.program;
  const auto weight_bytes = [&](WeightId weight) {
    const WeightDecl& decl = program.weight(weight);
    return decl.rows * plan.types.of[static_cast<size_t>(weight.index)].row_bytes(decl.cols);
  };
  const auto context_of = [&](int64_t tokens_each, int64_t context) {
    return cost_context(program, c.batch, tokens_each, context, plan.shape.kv_dtype, weight_bytes);
  };
  Work work;
  if (c.num_prompt > 0) {
    const CostContext at = context_of(c.num_prompt, c.num_depth + c.num_prompt);
    const int64_t chunk = std::max<int64_t>(1, plan.shape.max_batched_tokens);
    const int64_t steps = (c.batch * c.num_prompt + chunk - 1) / chunk;
    const int64_t weights = weight_bytes_read(program, at), kv = kv_bytes_read(program, at);
    work.bytes = static_cast<double>(steps * weights + kv);
    work.live_bytes = weights + kv;
    add_products(plan, at, 1, isa, activations, work);
    return work;
  }
  // The context grows by one each step; a few places along the way stand for all.
  constexpr int64_t kPlaces = 64;
  const int64_t places = std::min(kPlaces, c.num_gen);
  const int64_t before = std::max<int64_t>(1, c.num_depth);
  for (int64_t i = 0; i < places; ++i) {
    const int64_t made = places == 1 ? c.num_gen : 1 + i * (c.num_gen - 1) / (places - 1);
    const CostContext at = context_of(1, before + made);
    const int64_t bytes = weight_bytes_read(program, at) + kv_bytes_read(program, at);
    const double times = static_cast<double>(c.num_gen) / static_cast<double>(places);
    work.bytes += times * static_cast<double>(bytes);
    work.live_bytes = std::max(work.live_bytes, bytes);
    add_products(plan, at, times, isa, activations, work);
  }
  return work;
}

std::optional<ShareOfCeiling> share_of_ceiling(const ModelBenchResult& result, const Work& work,
                                               const CeilingsByThreads& ceilings, int threads,
                                               int64_t l3_bytes) {
  const auto found = ceilings.find(threads);
  if (found == ceilings.end()) return std::nullopt;
  const std::optional<Floor> floor = floor_of(work, found->second, l3_bytes);
  if (!floor) return std::nullopt;
  const double rate = mean(result.samples_ts());
  const auto tokens = static_cast<double>(result.bench_case.timed_tokens());
  return ShareOfCeiling{.share = floor->seconds * rate / tokens, .ceiling = floor->ceiling};
}

}  // namespace quern
