#include "exec/cpu/kernels_bench.h"

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "base/cat.h"
#include "base/memory.h"
#include "base/trace.h"
#include "exec/cpu/arena.h"
#include "exec/cpu/cpu_executor.h"
#include "exec/cpu/isa.h"
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/layout.h"
#include "exec/cpu/peers_bench.h"
#include "program/fuse.h"
#include "program/program_builder.h"

namespace quern {
namespace {

using cpu::Isa;
using cpu::KernelTable;
using cpu::PanelLayout;
using cpu::RowForm;

cpu::Arena random_arena(int64_t bytes) {
  cpu::Arena arena = cpu::Arena::reserve(bytes, "bench").value();
  std::mt19937_64 random(1);
  for (int64_t i = 0; i + 8 <= bytes; i += 8) {
    // Small halves and floats wherever a scale may lie: no subnormals, no NaN.
    const uint64_t bits = (random() & 0x83FF83FF83FF83FFu) | 0x2800280028002800u;
    std::memcpy(arena.at(i), &bits, 8);
  }
  return arena;
}

/// Weights for every benchmark, four times the last-level cache: what has been read is gone from it
/// when its turn comes again.
const cpu::Arena& weight_memory(int64_t& bytes) {
  constexpr int64_t kMiB = int64_t{1} << 20;
  static const int64_t size =
      std::min(std::clamp(4 * static_cast<int64_t>(::sysconf(_SC_LEVEL3_CACHE_SIZE)), 256 * kMiB,
                          2048 * kMiB),
               std::max(64 * kMiB, available_memory_bytes() / 4));
  static const cpu::Arena arena = random_arena(size);
  bytes = size;
  return arena;
}

/// An iteration multiplies so many weights.
constexpr int64_t kRows = 2048, kCols = 2048;

struct MultiplyCase {
  DType dtype;
  Isa isa;
  bool int8;
  int64_t tokens;
};

/// kRows x kCols weights times `tokens`, on one thread.
void multiply(benchmark::State& state, const MultiplyCase& c) {
  const auto [dtype, isa, int8, tokens] = c;
  constexpr int64_t cols = kCols;
  const KernelTable& kernels = cpu::kernel_table(isa);
  const PanelLayout layout = *PanelLayout::of(dtype, cols);
  int64_t weight_bytes = 0;
  const cpu::Arena& weights = weight_memory(weight_bytes);
  const cpu::Arena x = random_arena(tokens * cols * 4);
  const cpu::Arena form_memory = random_arena(tokens * cols * 4 + 4096);
  const cpu::Arena scales = random_arena(tokens * cols);
  const cpu::Arena half_sums = random_arena(tokens * cols / 4);
  const bool by_rows = int8 && dtype.scales_rows();
  const cpu::TileShape shape = by_rows ? kernels.int8_rows_shape(tokens)
                               : int8  ? kernels.int8_shape(tokens)
                                       : kernels.float_shape(tokens);
  RowForm form;
  form.tokens = tokens;
  form.cols = cols;
  form.width = shape.width;
  const size_t kind = dtype.index();
  void (*kernel)(const cpu::MultiplyArgs&) = kernels.multiply_float[kind];
  if (int8) {
    form.q = form_memory.as<int8_t>(0);
    form.scale = scales.as<float>(0);
    form.neg_sum = scales.as<int32_t>(tokens * cols / 8);
    form.neg_half_sum = half_sums.as<int32_t>(0);
    form.scaled_sum = scales.as<float>(tokens * cols / 4);
    (by_rows ? kernels.fill_int8_rows : kernels.fill_int8)(form, x.as<float>(0), cols, 0, tokens);
    kernel = kernels.multiply_int8[kind];
  } else if (kernels.multiply_pairs != nullptr && dtype == DType::of<BF16>()) {
    kernels.fill_pairs(form, form_memory.as<uint32_t>(0), x.as<float>(0), cols, 0, tokens);
    form.pairs = form_memory.as<uint32_t>(0);
    kernel = kernels.multiply_pairs;
  } else {
    kernels.fill_float(form, form_memory.as<float>(0), x.as<float>(0), cols, 0, tokens);
    form.f32 = form_memory.as<float>(0);
  }
  const cpu::Arena sums = random_arena(tokens * shape.panels * cpu::kPanelRows * 4);
  const int64_t calls = PanelLayout::num_panels(kRows) / shape.panels;
  const int64_t places = weight_bytes / layout.panel_bytes() / shape.panels;
  int64_t place = 0;
  for (auto _ : state) {
    for (int64_t call = 0; call < calls; ++call) {
      const int64_t next = place + 1 < places ? place + 1 : 0;
      cpu::MultiplyArgs args{};
      args.num_panels = shape.panels;
      for (int i = 0; i < shape.panels; ++i) {
        args.panels[i] = weights.at((place * shape.panels + i) * layout.panel_bytes());
        args.next_panels[i] = weights.at((next * shape.panels + i) * layout.panel_bytes());
      }
      args.x = &form;
      args.sums = sums.as<float>(0);
      args.sums_stride = shape.panels * cpu::kPanelRows;
      kernel(args);
      place = next;
    }
    benchmark::ClobberMemory();
  }
  state.counters["bytes"] = static_cast<double>(calls * shape.panels * layout.panel_bytes());
  state.counters["operations"] =
      2.0 * static_cast<double>(calls * shape.panels * cpu::kPanelRows * cols * tokens);
}

/// Weights of any Program, all from one random row: only their type and number matter here.
class SameRow : public WeightSource {
 public:
  SameRow(const Program& program, DType dtype) : program_(program), dtype_(dtype) {
    int64_t widest = 0;
    for (const WeightDecl& decl : program.weights) widest = std::max(widest, decl.cols);
    std::mt19937 random(2);
    std::normal_distribution<float> normal(0.0f, 0.02f);
    values_.resize(static_cast<size_t>(widest));
    for (float& v : values_) v = normal(random);
    for (const WeightDecl& decl : program.weights) {
      auto& row = rows_[decl.cols];
      row.resize(static_cast<size_t>(dtype.fits_row(decl.cols) ? dtype.row_bytes(decl.cols) : 0));
      if (!row.empty()) {
        dtype.encode_row({values_.data(), static_cast<size_t>(decl.cols)}, row.data());
      }
    }
  }
  DType stored_dtype(WeightId) const override { return dtype_; }
  const std::byte* stored_row(WeightId weight, int64_t, std::byte*) const override {
    return rows_.at(program_.weight(weight).cols).data();
  }
  void decode_rows(WeightId, int64_t, Matrix<float> out) const override {
    for (int64_t r = 0; r < out.rows; ++r) std::fill_n(out.row(r), out.cols, 1.0f);
  }
  void release(WeightId) const override {}

 private:
  const Program& program_;
  DType dtype_;
  std::vector<float> values_;
  std::map<int64_t, std::vector<std::byte>> rows_;
};

/// The shape of Llama-3.2-1B.
Program llama_1b() {
  constexpr int64_t kHidden = 2048, kHeads = 32, kKvHeads = 8, kHeadDim = 64, kFfn = 8192;
  ProgramBuilder p({"bench", 128256, 8192, kHidden});
  Rope rope;
  for (int64_t j = 0; j < kHeadDim / 2; ++j) {
    rope.inverse_frequencies.push_back(
        std::pow(500000.0f, -2.0f * static_cast<float>(j) / static_cast<float>(kHeadDim)));
  }
  const int32_t rope_id = p.add_rope(rope);
  const Slot x = p.embed("embed");
  for (int i = 0; i < 16; ++i) {
    p.at(cat(i, "."));
    const Slot qkv = p.linear(
        p.norm(x, "n1", {}),
        {{"q", kHeads * kHeadDim}, {"k", kKvHeads * kHeadDim}, {"v", kKvHeads * kHeadDim}});
    const Slot q = qkv.columns(0, 2048), k = qkv.columns(2048, 512), v = qkv.columns(2560, 512);
    p.rotate(q, k, {.head_dim = kHeadDim, .rope = rope_id});
    const Slot o = p.append_and_attend(
        q, k, v, {.num_key_value_heads = kKvHeads, .head_dim = kHeadDim, .scale = 0.125f});
    p.linear_add(x, o, {"o", kHidden});
    const Slot h = p.activate(p.linear(p.norm(x, "n2", {}), {{"gate", kFfn}, {"up", kFfn}}),
                              Activation::kSilu, Activate::Form::kGated);
    p.linear_add(x, h, {"down", kHidden});
  }
  p.at("");
  p.head(p.norm(p.gather_rows(x), "norm", {}), "embed");
  return fuse(std::move(p).finish(), {}).value();
}

struct StepCase {
  DType dtype;
  int64_t tokens, sequences, depth;  // tokens per sequence in the step, after `depth` others
};

/// Steps of a model; prints on stderr where the time of the last one went.
void step(benchmark::State& state, const StepCase& c) {
  static std::map<std::string, std::unique_ptr<Executor>> loaded;
  static const Program program = llama_1b();
  static Trace trace;
  const char* const isa = std::getenv("QUERN_BENCH_ISA");
  const char* const threads = std::getenv("QUERN_BENCH_THREADS");
  ExecShape shape;
  shape.max_batched_tokens = 512;
  shape.max_num_seqs = 16;
  shape.max_model_len = 4096;
  shape.kv_blocks = {16 * 4096 / kKvBlockTokens};
  WeightTypes types;
  for (const WeightDecl& decl : program.weights) {
    types.of.push_back(decl.kind == WeightDecl::Kind::kVector ? DType::of<F32>() : c.dtype);
  }
  auto& executor = loaded[std::string(c.dtype.name())];
  if (!executor) {
    loaded.clear();
    auto& place = loaded[std::string(c.dtype.name())];
    place = kCpuExecutor
                .load(program, types, SameRow(program, c.dtype), shape,
                      {.isa = isa != nullptr ? isa : "auto",
                       .threads = threads != nullptr ? std::atoi(threads) : 0,
                       .trace = &trace})
                .value();
  }
  Executor& model = *loaded[std::string(c.dtype.name())];
  std::vector<int32_t> ids, positions, starts = {0}, lengths, blocks;
  std::vector<RowWish> wishes;
  for (int64_t s = 0; s < c.sequences; ++s) {
    for (int64_t t = 0; t < c.tokens; ++t) {
      ids.push_back(static_cast<int32_t>((s * 7919 + t * 104729) % 128256));
      positions.push_back(static_cast<int32_t>(c.depth + t));
    }
    starts.push_back(static_cast<int32_t>(ids.size()));
    lengths.push_back(static_cast<int32_t>(c.depth + c.tokens));
    wishes.push_back({.row = starts.back() - 1, .what = RowWish::What::kArgMax});
    for (int b = 0; b < 4096 / kKvBlockTokens; ++b) {
      blocks.push_back(static_cast<int32_t>(s * (4096 / kKvBlockTokens) + b));
    }
  }
  const BlockTable table{blocks.data(), 4096 / kKvBlockTokens};
  const std::vector<int32_t> adapters(static_cast<size_t>(c.sequences), -1);
  const Batch batch{.token_ids = ids,
                    .positions = positions,
                    .query_start = starts,
                    .context_len = lengths,
                    .block_tables = {&table, 1},
                    .adapter_ids = adapters,
                    .wishes = wishes};
  model.wait(model.submit(batch));
  trace.start(1000);
  trace.stop();
  for (auto _ : state) {
    trace.start(1000);
    model.wait(model.submit(batch));
    trace.stop();
  }
  std::map<std::string, double> ms;
  for (const Trace::Event& event : trace.events()) {
    ms[event.name] += static_cast<double>(event.end_ns - event.begin_ns) / 1e6;
  }
  for (const auto& [name, time] : ms)
    std::fprintf(stderr, "  %-12s %8.3f ms\n", name.c_str(), time);
}

/// Every benchmark by name, in order.
std::map<std::string, KernelBench> add_benchmarks() {
  std::map<std::string, KernelBench> benches;
  for (const DType dtype : DType::all()) {
    const std::string format(dtype.name());
    for (const Isa isa : cpu::available_isas()) {
      if (!PanelLayout::of(dtype, kCols)) continue;
      const KernelTable& kernels = cpu::kernel_table(isa);
      for (const bool int8 : {true, false}) {
        const auto& multiplies = int8 ? kernels.multiply_int8 : kernels.multiply_float;
        if (multiplies[dtype.index()] == nullptr) continue;
        for (const int64_t tokens : {1, 2, 4, 8, 12, 16, 64, 512}) {
          KernelBench bench{.name = {},
                            .format = format,
                            .activations = int8 ? "int8" : "float",
                            .isa = std::string(cpu::isa_name(isa)),
                            .tokens = tokens};
          bench.name =
              cat("multiply/", format, "/", bench.activations, "/", bench.isa, "/", tokens);
          benchmark::RegisterBenchmark(bench.name.c_str(), multiply,
                                       MultiplyCase{dtype, isa, int8, tokens});
          benches[bench.name] = bench;
        }
      }
    }
    const auto add = [&](const std::string& what, const StepCase& c) {
      const std::string name = cat("step/", format, "/", what);
      benchmark::RegisterBenchmark(name.c_str(), step, c)->Unit(benchmark::kMillisecond);
      benches[name] = {.name = name,
                       .format = format,
                       .activations = {},
                       .isa = {},
                       .tokens = c.tokens * c.sequences};
    };
    add("decode", {dtype, 1, 1, 64});
    add("decode_at_2048", {dtype, 1, 1, 2048});
    add("decode_of_8", {dtype, 1, 8, 64});
    add("decode_of_16", {dtype, 1, 16, 64});
    add("prefill", {dtype, 512, 1, 0});
    add("prefill_at_1536", {dtype, 512, 1, 1536});
  }
  for (const PeerBench& peer : peer_benches()) {
    for (const int64_t tokens : {1, 8, 64, 512}) {
      const std::string name = cat("peer/", peer.library, "/", peer.format, "/", tokens);
      benchmark::RegisterBenchmark(name.c_str(), peer.run, kRows, kCols, tokens);
      benches[name] = {
          .name = name, .format = peer.format, .activations = {}, .isa = {}, .tokens = tokens};
    }
  }
  return benches;
}

/// Hands each run on, whatever the library would have printed.
class Reporter : public benchmark::BenchmarkReporter {
 public:
  Reporter(const std::map<std::string, KernelBench>& benches,
           const std::function<void(const KernelRun&)>& report)
      : benches_(benches), report_(report) {}

  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
      const auto counter = [&](const char* name) {
        const auto found = run.counters.find(name);
        return found == run.counters.end() ? 0.0 : static_cast<double>(found->second);
      };
      report_({.bench = benches_.at(run.run_name.function_name),
               .seconds = run.real_accumulated_time / static_cast<double>(run.iterations),
               .bytes = counter("bytes"),
               .operations = counter("operations")});
    }
  }

 private:
  const std::map<std::string, KernelBench>& benches_;
  const std::function<void(const KernelRun&)>& report_;
};

}  // namespace

int64_t run_kernel_benches(const std::string& filter,
                           const std::function<void(const KernelRun&)>& report) {
  const std::map<std::string, KernelBench> benches = add_benchmarks();
  std::string name = "quern", min_time = "--benchmark_min_time=0.1";
  char* words[] = {name.data(), min_time.data(), nullptr};
  int count = 2;
  benchmark::Initialize(&count, words);
  Reporter reporter(benches, report);
  const size_t ran = benchmark::RunSpecifiedBenchmarks(&reporter, nullptr, filter);
  benchmark::Shutdown();
  return static_cast<int64_t>(ran);
}

}  // namespace quern
