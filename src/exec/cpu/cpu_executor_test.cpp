// The whole executor over small synthetic Programs: against the plain forms of the steps, and
// against itself cut, batched, threaded and fused differently, where every bit must be equal.
#include "exec/cpu/cpu_executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

#include "base/cat.h"
#include "base/trace.h"
#include "exec/cpu/isa.h"
#include "program/fuse.h"
#include "program/program_builder.h"

namespace quern {
namespace {

/// Random numbers by weight name, stored as one type, so that two Programs over the same names have
/// the same weights.
class RandomWeights : public WeightSource {
 public:
  RandomWeights(const Program& program, DType stored) : program_(program), stored_(stored) {
    for (const WeightDecl& decl : program.weights) {
      const bool vector = decl.kind == WeightDecl::Kind::kVector;
      std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(decl.name)));
      // A spread that keeps the activations of a deep random model of order one.
      std::normal_distribution<float> normal(
          vector ? 1.0f : 0.0f, vector ? 0.1f : 1.0f / std::sqrt(static_cast<float>(decl.cols)));
      std::vector<float> values(static_cast<size_t>(decl.num_values()));
      for (float& v : values) v = normal(random);
      const DType dtype = vector ? DType::of<F32>() : stored;
      auto& rows = rows_.emplace_back(static_cast<size_t>(dtype.row_bytes(decl.cols) * decl.rows));
      for (int64_t r = 0; r < decl.rows; ++r) {
        dtype.encode_row({values.data() + r * decl.cols, static_cast<size_t>(decl.cols)},
                         rows.data() + r * dtype.row_bytes(decl.cols));
      }
    }
  }
  DType stored_dtype(WeightId weight) const override {
    return program_.weight(weight).kind == WeightDecl::Kind::kVector ? DType::of<F32>() : stored_;
  }
  const std::byte* stored_row(WeightId weight, int64_t row, std::byte*) const override {
    const int64_t bytes = stored_dtype(weight).row_bytes(program_.weight(weight).cols);
    return rows_[static_cast<size_t>(weight.index)].data() + row * bytes;
  }
  void decode_rows(WeightId weight, int64_t first, Matrix<float> out) const override {
    for (int64_t r = 0; r < out.rows; ++r) {
      stored_dtype(weight).decode_row(stored_row(weight, first + r, nullptr),
                                      {out.row(r), static_cast<size_t>(out.cols)});
    }
  }
  void release(WeightId) const override {}

 private:
  const Program& program_;
  DType stored_;
  std::vector<std::vector<std::byte>> rows_;
};

struct ModelOptions {
  int64_t layers = 2, hidden = 96, heads = 6, kv_heads = 2, head_dim = 16, ffn = 160, vocab = 331;
  int64_t window = 0;  // of every other layer
  float softcap = 0.0f;
  bool gpt2 = false;  // layer norms, biases, learned positions, gelu
};

/// The model itself, or where blocks of 256 need it one of such rows.
ModelOptions fitting(ModelOptions model, DType dtype) {
  if (dtype.block_values() == 256) {
    model.hidden = model.ffn = 256;
    model.heads = 16;
    model.kv_heads = 4;
  }
  return model;
}

Program make_program(const ModelOptions& o) {
  ProgramBuilder p({"test", o.vocab, 4096, o.hidden});
  Rope rope;
  for (int64_t j = 0; j < o.head_dim / 2; ++j) {
    rope.inverse_frequencies.push_back(
        std::pow(10000.0f, -2.0f * static_cast<float>(j) / static_cast<float>(o.head_dim)));
  }
  const int32_t rope_id = o.gpt2 ? 0 : p.add_rope(rope);
  const auto norm = [&](Slot x, const std::string& name) {
    if (!o.gpt2) return p.norm(x, name, {.eps = 1e-5f});
    return p.norm(x, name, {.kind = Norm::Kind::kLayer, .eps = 1e-5f, .bias = name + ".bias"});
  };
  const auto bias = [&](const std::string& name) {
    return o.gpt2 ? name + ".bias" : std::string();
  };
  const Slot x = p.embed("embed");
  if (o.gpt2) p.add_positions(x, "positions");
  const int64_t q_rows = o.heads * o.head_dim, kv_rows = o.kv_heads * o.head_dim;
  for (int64_t i = 0; i < o.layers; ++i) {
    p.at(cat("layers.", i, "."));
    const Slot a = norm(x, "norm1");
    const Slot qkv = p.linear(
        a, {{"q", q_rows, bias("q")}, {"k", kv_rows, bias("k")}, {"v", kv_rows, bias("v")}});
    const Slot q = qkv.columns(0, q_rows), k = qkv.columns(q_rows, kv_rows),
               v = qkv.columns(q_rows + kv_rows, kv_rows);
    if (!o.gpt2) {
      ProgramBuilder::RotateOptions rotate{.head_dim = o.head_dim, .rope = rope_id};
      if (o.softcap > 0) rotate.q_norm = "q_norm", rotate.k_norm = "k_norm";
      p.rotate(q, k, rotate);
    }
    const Slot attended =
        p.append_and_attend(q, k, v,
                            {.num_key_value_heads = o.kv_heads,
                             .head_dim = o.head_dim,
                             .scale = 1.0f / std::sqrt(static_cast<float>(o.head_dim)),
                             .window = i % 2 == 1 ? o.window : 0,
                             .softcap = o.softcap});
    p.linear_add(x, attended, {"o", o.hidden, bias("o")});
    const Slot m = norm(x, "norm2");
    if (o.gpt2) {
      const Slot h = p.activate(p.linear(m, {{"up", o.ffn, bias("up")}}), Activation::kGeluTanh,
                                Activate::Form::kPlain);
      p.linear_add(x, h, {"down", o.hidden, bias("down")});
    } else {
      const Slot h = p.activate(p.linear(m, {{"gate", o.ffn}, {"up", o.ffn}}), Activation::kSilu,
                                Activate::Form::kGated);
      p.linear_add(x, h, {"down", o.hidden});
    }
  }
  p.at("");
  const Slot last = norm(p.gather_rows(x), "norm");
  p.head(last, "embed", o.softcap);
  return std::move(p).finish();
}

Program fused(const Program& program) { return fuse(program, {}).value(); }

WeightTypes all_types(const Program& program, DType dtype) {
  WeightTypes types;
  for (const WeightDecl& decl : program.weights) {
    types.of.push_back(decl.kind == WeightDecl::Kind::kVector ? DType::of<F32>() : dtype);
  }
  return types;
}

/// Sequences over one executor: each has blocks of its own, taken in an order that mixes them.
class Runner {
 public:
  struct Options {
    DType dtype = DType::of<F32>();
    DType kv_dtype = DType::of<F16>();
    std::string isa = "auto";
    int threads = 1;
    Activations activations = Activations::kAuto;
    int64_t sequences = 4;
    int64_t max_len = 512;
    Trace* trace = nullptr;
  };

  Runner(Program program, const Options& options)
      : program_(std::move(program)), options_(options) {
    shape_.max_batched_tokens = options.max_len;
    shape_.max_num_seqs = options.sequences;
    shape_.max_model_len = options.max_len;
    shape_.max_wanted_rows = options.max_len;
    shape_.kv_dtype = options.kv_dtype;
    blocks_each_ = (options.max_len + kKvBlockTokens - 1) / kKvBlockTokens;
    for (size_t g = 0; g < program_.kv_groups.size(); ++g) {
      shape_.kv_blocks.push_back(options.sequences * blocks_each_);
    }
    const RandomWeights source(program_, options.dtype);
    executor_ = kCpuExecutor
                    .load(program_, all_types(program_, options.dtype), source, shape_,
                          {.isa = options.isa,
                           .threads = options.threads,
                           .activations = options.activations,
                           .trace = options.trace})
                    .value();
    tables_.resize(program_.kv_groups.size());
    for (auto& table : tables_) {
      // Block j of sequence s lies at j * sequences + s: neighbours in memory are strangers.
      for (int64_t s = 0; s < options.sequences; ++s) {
        for (int64_t j = 0; j < blocks_each_; ++j) {
          table.push_back(static_cast<int32_t>(j * options.sequences + s));
        }
      }
    }
    length_.resize(static_cast<size_t>(options.sequences), 0);
  }

  struct Part {
    int64_t sequence = 0;
    std::vector<int32_t> tokens;
  };
  /// One step; returns the logits of every token, [T][V].
  std::vector<float> step(const std::vector<Part>& parts) {
    std::vector<int32_t> ids, positions, starts = {0}, lengths;
    std::vector<RowWish> wishes;
    std::vector<std::vector<int32_t>> rows(tables_.size());
    for (const Part& part : parts) {
      auto& length = length_[static_cast<size_t>(part.sequence)];
      for (const int32_t id : part.tokens) {
        wishes.push_back({.row = static_cast<int32_t>(ids.size())});
        ids.push_back(id);
        positions.push_back(length++);
      }
      starts.push_back(static_cast<int32_t>(ids.size()));
      lengths.push_back(length);
      for (size_t g = 0; g < tables_.size(); ++g) {
        const auto begin = tables_[g].begin() + part.sequence * blocks_each_;
        std::vector<int32_t> blocks(begin, begin + blocks_each_);
        // What the window has passed is gone.
        const int64_t window = program_.kv_groups[g].window;
        const int64_t oldest = length - static_cast<int64_t>(part.tokens.size()) - window + 1;
        for (int64_t b = 0; window > 0 && (b + 1) * kKvBlockTokens <= oldest; ++b) {
          blocks[static_cast<size_t>(b)] = kNoBlock;
        }
        rows[g].insert(rows[g].end(), blocks.begin(), blocks.end());
      }
    }
    std::vector<BlockTable> tables;
    for (const auto& row : rows) tables.push_back({row.data(), blocks_each_});
    const std::vector<int32_t> adapters(parts.size(), -1);
    if (!wishes_.empty()) wishes = wishes_;
    const Batch batch{.token_ids = ids,
                      .positions = positions,
                      .query_start = starts,
                      .context_len = lengths,
                      .block_tables = tables,
                      .adapter_ids = adapters,
                      .wishes = wishes};
    result_ = &executor_->wait(executor_->submit(batch));
    std::vector<float> logits;
    for (int64_t r = 0; r < result_->logits.rows; ++r) {
      logits.insert(logits.end(), result_->logits.row(r),
                    result_->logits.row(r) + program_.vocab_size);
    }
    return logits;
  }
  void wish(std::vector<RowWish> wishes) { wishes_ = std::move(wishes); }
  void forget(int64_t sequence) { length_[static_cast<size_t>(sequence)] = 0; }
  const StepResult& result() const { return *result_; }
  Executor& executor() { return *executor_; }
  const Program& program() const { return program_; }
  int32_t block(int64_t sequence, int64_t index) const {
    return tables_[0][static_cast<size_t>(sequence * blocks_each_ + index)];
  }

 private:
  Program program_;
  Options options_;
  ExecShape shape_;
  int64_t blocks_each_ = 0;
  std::unique_ptr<Executor> executor_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<int32_t> length_;
  std::vector<RowWish> wishes_;
  const StepResult* result_ = nullptr;
};

std::vector<int32_t> random_ids(int64_t count, uint32_t seed, int64_t vocab = 331) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random() % vocab));
  return ids;
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b,
                      const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << what << " at " << i << ": " << a[i] << " and " << b[i];
  }
}

/// The logits of every token of `ids`, fed in chunks of the given sizes (the last one repeats).
std::vector<float> run_in_chunks(Runner& runner, int64_t sequence, const std::vector<int32_t>& ids,
                                 const std::vector<int64_t>& chunks) {
  std::vector<float> all;
  runner.forget(sequence);
  size_t at = 0, which = 0;
  while (at < ids.size()) {
    const auto size = static_cast<size_t>(chunks[std::min(which++, chunks.size() - 1)]);
    const size_t end = std::min(ids.size(), at + size);
    const auto logits = runner.step(
        {{sequence,
          {ids.begin() + static_cast<int64_t>(at), ids.begin() + static_cast<int64_t>(end)}}});
    all.insert(all.end(), logits.begin(), logits.end());
    at = end;
  }
  return all;
}

// --- the oracle: the plain forms of the steps, one sequence, fp32 ---

class Oracle : public ReferenceContext {
 public:
  Oracle(const Program& program, DType dtype, DType kv_dtype)
      : program_(program), source_(program, dtype), kv_dtype_(kv_dtype) {
    for (size_t i = 0; i < program.weights.size(); ++i) {
      const WeightDecl& decl = program.weights[i];
      auto& values = weights_.emplace_back(static_cast<size_t>(decl.num_values()));
      source_.decode_rows({static_cast<int32_t>(i)}, 0,
                          {values.data(), decl.rows, decl.cols, decl.cols});
    }
    cache_.resize(program.kv_layers.size());
  }

  std::vector<float> run(const std::vector<int32_t>& ids) {
    ids_ = ids;
    positions_.resize(ids.size());
    std::iota(positions_.begin(), positions_.end(), 0);
    buffers_.clear();
    for (const BufferDecl& buffer : program_.buffers) {
      buffers_.emplace_back(ids.size() * static_cast<size_t>(buffer.width));
    }
    for (const Step& step : program_.steps) run_reference(step, *this);
    return buffers_[static_cast<size_t>(program_.logits.buffer)];
  }

  Matrix<float> rows(const Slot& slot) override {
    const int64_t width = program_.buffer(slot).width;
    return {buffers_[static_cast<size_t>(slot.buffer)].data() + slot.begin,
            static_cast<int64_t>(ids_.size()), slot.width, width};
  }
  Matrix<const float> matrix(WeightId weight) override {
    const WeightDecl& decl = program_.weight(weight);
    return {weights_[static_cast<size_t>(weight.index)].data(), decl.rows, decl.cols, decl.cols};
  }
  std::span<const float> vector(WeightId weight) override {
    return weights_[static_cast<size_t>(weight.index)];
  }
  const Rope& rope(int32_t index) const override {
    return program_.ropes[static_cast<size_t>(index)];
  }
  const KvLayer& kv_layer(int32_t layer) const override {
    return program_.kv_layers[static_cast<size_t>(layer)];
  }
  std::span<const int32_t> token_ids() const override { return ids_; }
  std::span<const int32_t> positions() const override { return positions_; }
  std::span<const int32_t> wanted_rows() const override { return positions_; }
  void append(int32_t layer, int64_t row, std::span<const float> k,
              std::span<const float> v) override {
    auto& tokens = cache_[static_cast<size_t>(layer)];
    const auto at = static_cast<size_t>(row);
    if (tokens.size() <= at) tokens.resize(at + 1);
    tokens[at] = {rounded(k), rounded(v)};
  }
  std::span<const float> key(int32_t layer, int64_t, int64_t position) override {
    return cache_[static_cast<size_t>(layer)][static_cast<size_t>(position)].first;
  }
  std::span<const float> value(int32_t layer, int64_t, int64_t position) override {
    return cache_[static_cast<size_t>(layer)][static_cast<size_t>(position)].second;
  }

 private:
  std::vector<float> rounded(std::span<const float> x) const {
    std::vector<std::byte> stored(
        static_cast<size_t>(kv_dtype_.row_bytes(static_cast<int64_t>(x.size()))));
    std::vector<float> out(x.size());
    kv_dtype_.encode_row(x, stored.data());
    kv_dtype_.decode_row(stored.data(), out);
    return out;
  }

  const Program& program_;
  RandomWeights source_;
  DType kv_dtype_;
  std::vector<std::vector<float>> weights_, buffers_;
  std::vector<std::vector<std::pair<std::vector<float>, std::vector<float>>>> cache_;
  std::vector<int32_t> ids_, positions_;
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= largest)) largest = difference;  // NaN counts
  }
  return largest;
}

/// What keys and values are kept in, and how far one that falls to the other side of a rounding can
/// move a logit of the models here.
const std::pair<DType, double> kKvTypes[] = {
    {DType::of<F32>(), 5e-5},  {DType::of<F16>(), 2e-3}, {DType::of<BF16>(), 2e-2},
    {DType::of<Q8_0>(), 2e-2}, {DType::of<Q4_0>(), 0.4}, {DType::of<FP8_E4M3>(), 0.2}};

TEST(CpuExecutor, AgreesWithThePlainFormsForEveryKindOfModel) {
  const ModelOptions kModels[] = {
      {},
      {.gpt2 = true},
      {.window = 40, .softcap = 30.0f},
      {.heads = 7, .kv_heads = 1, .head_dim = 8},
      {.heads = 4, .kv_heads = 2, .head_dim = 32},
      {.heads = 2, .kv_heads = 2, .head_dim = 48},
      {.heads = 4, .kv_heads = 2, .head_dim = 80},
      {.heads = 2, .kv_heads = 1, .head_dim = 128},
      {.layers = 1, .heads = 2, .kv_heads = 1, .head_dim = 256},
  };
  const std::vector<int32_t> ids = random_ids(150, 1);
  for (const ModelOptions& model : kModels) {
    const Program program = make_program(model);
    // A value on the edge between two roundings of the cache may fall either way.
    for (const auto& [kv, tolerance] : kKvTypes) {
      if (!kv.fits_row(model.head_dim)) continue;
      const std::vector<float> want = Oracle(program, DType::of<F32>(), kv).run(ids);
      Runner runner(fused(program), {.kv_dtype = kv, .threads = 2});
      const std::vector<float> got = run_in_chunks(runner, 1, ids, {100, 49, 1});
      EXPECT_LT(largest_difference(want, got), tolerance)
          << "head_dim " << model.head_dim << " kv " << kv.name() << " gpt2 " << model.gpt2;
    }
  }
}

TEST(CpuExecutor, AgreesWithThePlainFormsForEveryWeightType) {
  const std::vector<int32_t> ids = random_ids(40, 2);
  for (const DType dtype : DType::all()) {
    const Program program = make_program(fitting({}, dtype));
    const std::vector<float> want = Oracle(program, dtype, DType::of<F32>()).run(ids);
    // Dequantised exactly, or float weights: only the order of sums differs.
    Runner exact(fused(program),
                 {.dtype = dtype, .kv_dtype = DType::of<F32>(), .activations = Activations::kF32});
    EXPECT_LT(largest_difference(want, run_in_chunks(exact, 0, ids, {40})), 5e-5) << dtype.name();
    // Activations in int8, or in bf16 where the level multiplies those.
    Runner rounded(fused(program), {.dtype = dtype, .kv_dtype = DType::of<F32>()});
    EXPECT_LT(largest_difference(want, run_in_chunks(rounded, 0, ids, {40})), 0.15) << dtype.name();
  }
}

TEST(CpuExecutor, BitsDoNotDependOnChunksCompanyThreadsOrFusion) {
  const ModelOptions kModels[] = {
      {},
      {.gpt2 = true},
      {.heads = 8, .kv_heads = 1, .head_dim = 24, .window = 40, .softcap = 30.0f},
  };
  const std::vector<int32_t> ids = random_ids(300, 3);
  std::vector<std::string> isas;
  for (const cpu::Isa isa : cpu::available_isas()) isas.emplace_back(cpu::isa_name(isa));
  const DType kEverywhere[] = {DType::of<F32>(),  DType::of<BF16>(), DType::of<Q8_0>(),
                               DType::of<Q4_0>(), DType::of<Q4_1>(), DType::of<W8A8>()};
  for (const ModelOptions& model : kModels) {
    for (const DType dtype : DType::all()) {
      // The other types share all but the reading of panels, which products_test covers.
      const bool everywhere = std::ranges::find(kEverywhere, dtype) != std::end(kEverywhere);
      if (!everywhere && &model != kModels) continue;
      const Program program = make_program(fitting(model, dtype));
      std::vector<float> of_integers;
      for (const std::string& isa : isas) {
        const std::string name = cat(isa, " ", dtype.name(), " gpt2 ", model.gpt2);
        Runner one(fused(program), {.dtype = dtype, .isa = isa, .threads = 1});
        const std::vector<float> want = run_in_chunks(one, 0, ids, {300});
        ASSERT_FALSE(std::isnan(want[0]));
        expect_same_bits(want, run_in_chunks(one, 1, ids, {1}), name + " token by token");
        expect_same_bits(want, run_in_chunks(one, 0, ids, {7}), name + " chunks of 7");
        expect_same_bits(want, run_in_chunks(one, 3, ids, {64}), name + " chunks of 64");
        expect_same_bits(want, run_in_chunks(one, 2, ids, {131, 1, 13, 1}), name + " mixed");

        Runner plain(program, {.dtype = dtype, .isa = isa, .threads = 1});
        expect_same_bits(want, run_in_chunks(plain, 0, ids, {150}), name + " unfused");

        Runner two(fused(program), {.dtype = dtype, .isa = isa, .threads = 2});
        expect_same_bits(want, run_in_chunks(two, 0, ids, {300}), name + " two threads");
        expect_same_bits(want, run_in_chunks(two, 0, ids, {140, 1, 1, 1, 157}),
                         name + " two threads, chunks");
        // In company: the sequence decodes while others prefill and decode.
        std::vector<float> company;
        two.forget(0);
        for (size_t at = 0; at < 40; ++at) {
          std::vector<Runner::Part> parts;
          if (at % 3 != 0) parts.push_back({2, random_ids(1 + static_cast<int64_t>(at % 5), 9)});
          parts.push_back({0, {ids[at]}});
          if (at % 2 == 0) parts.push_back({3, random_ids(3, 10)});
          if (at % 5 == 0) parts.push_back({1, random_ids(20, 11)});
          const size_t before = at % 3 != 0 ? 1 + at % 5 : 0;
          const auto logits = two.step(parts);
          const auto vocab = static_cast<size_t>(program.vocab_size);
          company.insert(company.end(), logits.begin() + static_cast<int64_t>(before * vocab),
                         logits.begin() + static_cast<int64_t>((before + 1) * vocab));
        }
        expect_same_bits({want.begin(), want.begin() + static_cast<int64_t>(company.size())},
                         company, name + " in company");
        if (dtype.is_float()) continue;
        if (of_integers.empty()) of_integers = want;
        expect_same_bits(of_integers, want, name + " against " + isas[0]);
      }
    }
  }
}

TEST(CpuExecutor, EveryTypeOfKeysGivesTheSameBitsOnEveryLevelInEveryCut) {
  // Weights of integers, whose products have the same bits on every level; eight query heads share
  // a key, so that one token is read as it is stored and two are not.
  const Program program =
      make_program({.heads = 8, .kv_heads = 1, .head_dim = 32, .window = 140, .softcap = 30.0f});
  const std::vector<int32_t> ids = random_ids(300, 3);
  for (const auto& [kv, tolerance] : kKvTypes) {
    std::vector<float> want;
    for (const cpu::Isa level : cpu::available_isas()) {
      const std::string isa(cpu::isa_name(level)), name = cat(isa, " keys ", kv.name());
      Runner one(fused(program), {.dtype = DType::of<Q8_0>(), .kv_dtype = kv, .isa = isa});
      Runner two(program, {.dtype = DType::of<Q8_0>(), .kv_dtype = kv, .isa = isa, .threads = 2});
      if (want.empty()) want = run_in_chunks(one, 0, ids, {300});
      ASSERT_FALSE(std::isnan(want[0]));
      expect_same_bits(want, run_in_chunks(one, 3, ids, {300}), name);
      expect_same_bits(want, run_in_chunks(one, 1, ids, {1}), name + " token by token");
      expect_same_bits(want, run_in_chunks(one, 2, ids, {131, 1, 13, 1}), name + " mixed");
      expect_same_bits(want, run_in_chunks(two, 0, ids, {7}), name + " two threads");
      expect_same_bits(want, run_in_chunks(two, 1, ids, {299, 1}), name + " two threads, decode");
    }
  }
}

TEST(CpuExecutor, LongContextsAreSplitOverThreadsWithoutChangingABit) {
  // One key/value head, so that segments have to be shared among threads.
  const Program program = make_program(
      {.layers = 1, .hidden = 32, .heads = 4, .kv_heads = 1, .head_dim = 32, .ffn = 32});
  const std::vector<int32_t> ids = random_ids(1500, 5);
  for (const auto& [kv, tolerance] : kKvTypes) {
    Runner one(fused(program), {.kv_dtype = kv, .threads = 1, .sequences = 2, .max_len = 1536});
    Runner three(fused(program), {.kv_dtype = kv, .threads = 3, .sequences = 2, .max_len = 1536});
    const std::vector<float> want = run_in_chunks(one, 0, ids, {1480, 1});
    const std::string name(kv.name());
    expect_same_bits(want, run_in_chunks(three, 0, ids, {1480, 1}), name + " decode");
    expect_same_bits(want, run_in_chunks(three, 1, ids, {1000, 2, 3, 1}), name + " small chunks");
  }
}

TEST(CpuExecutor, RowsThatAreNotWishedForCostNothingAndWishesAreAnswered) {
  const Program program = fused(make_program({}));
  Runner runner(program, {.dtype = DType::of<Q8_0>(), .threads = 2});
  const std::vector<int32_t> ids = random_ids(20, 6);
  const std::vector<float> all = runner.step({{0, ids}});
  runner.forget(0);
  runner.wish({{.row = 3, .what = RowWish::What::kTopK, .k = 5},
               {.row = 7},
               {.row = 19, .what = RowWish::What::kArgMax}});
  const std::vector<float> some = runner.step({{0, ids}});
  const auto vocab = static_cast<size_t>(program.vocab_size);
  ASSERT_EQ(some.size(), 3 * vocab);
  const int64_t rows[] = {3, 7, 19};
  for (size_t i = 0; i < 3; ++i) {
    const auto begin = all.begin() + rows[i] * program.vocab_size;
    expect_same_bits({begin, begin + program.vocab_size},
                     {some.begin() + static_cast<int64_t>(i * vocab),
                      some.begin() + static_cast<int64_t>((i + 1) * vocab)},
                     cat("row ", rows[i]));
  }
  const StepResult& result = runner.result();
  ASSERT_EQ(result.best.size(), 3u);
  ASSERT_EQ(result.best[0].size(), 5u);
  EXPECT_TRUE(result.best[1].empty());
  ASSERT_EQ(result.best[2].size(), 1u);
  for (const size_t i : {size_t{0}, size_t{2}}) {
    std::vector<int32_t> order(vocab);
    std::iota(order.begin(), order.end(), 0);
    const float* const row = some.data() + i * vocab;
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return row[a] > row[b]; });
    for (size_t j = 0; j < result.best[i].size(); ++j) {
      EXPECT_EQ(result.best[i][j].token_id, order[j]);
      EXPECT_EQ(result.best[i][j].logit, row[order[j]]);
    }
  }
}

TEST(CpuExecutor, ACopiedBlockIsAsGoodAsTheOriginal) {
  const Program program = fused(make_program({}));
  Runner runner(program, {.dtype = DType::of<Q8_0>()});
  const std::vector<int32_t> ids = random_ids(70, 7);
  const std::vector<float> want = run_in_chunks(runner, 0, ids, {64, 6});
  // Sequence 1 gets the first two blocks of sequence 0 and goes on from there.
  const int32_t from[] = {runner.block(0, 0), runner.block(0, 1)};
  const int32_t to[] = {runner.block(1, 0), runner.block(1, 1)};
  runner.executor().copy_blocks(0, from, to);
  runner.step({{1, {ids.begin(), ids.begin() + 64}}});  // sets its length; writes the same again
  runner.executor().copy_blocks(0, from, to);
  const std::vector<float> got = runner.step({{1, {ids.begin() + 64, ids.end()}}});
  expect_same_bits({want.end() - static_cast<int64_t>(got.size()), want.end()}, got, "copy");
}

TEST(CpuExecutor, KeysBeyondTheRangeOfHalfPrecisionAreSaturated) {
  // A model whose keys and values overflow f16, or the scale of a block, must still give numbers.
  Program program = make_program({.layers = 1, .head_dim = 32});
  for (Step& step : program.steps) {
    if (auto* norm = std::get_if<Norm>(&step)) norm->weight_offset = 1e10f;
  }
  for (const auto& [kv, tolerance] : kKvTypes) {
    Runner runner(program, {.kv_dtype = kv});
    for (const float logit : runner.step({{0, random_ids(5, 8)}})) {
      ASSERT_FALSE(std::isnan(logit)) << kv.name();
    }
  }
}

TEST(CpuExecutor, TheTraceHasASpanForEveryStepAndNoneWhenOff) {
  Trace trace;
  const Program program = fused(make_program({}));
  Runner runner(program, {.trace = &trace});
  runner.step({{0, {1, 2, 3}}});
  EXPECT_TRUE(trace.events().empty());
  trace.start(1000);
  runner.step({{0, {4}}});
  trace.stop();
  ASSERT_EQ(trace.events().size(), program.steps.size() + 1);
  EXPECT_EQ(std::string_view(trace.events()[0].name), "Embed");
  EXPECT_EQ(std::string_view(trace.events().back().name), "step");
  EXPECT_EQ(trace.events().back().value, 1);
}

TEST(CpuExecutor, RefusesWhatItHasNoFormOf) {
  const Program program = make_program({});
  const RandomWeights source(program, DType::of<F32>());
  const auto code = [&](DType weight, DType kv, const ExecOptions& options) {
    return kCpuExecutor.check(program, all_types(program, weight), kv, options).error().code;
  };
  const DType f32 = DType::of<F32>();
  EXPECT_EQ(code(f32, f32, {.isa = "avx512fp16"}), ErrorCode::kUnsupported);
  EXPECT_EQ(code(f32, f32, {.isa = "mmx"}), ErrorCode::kUsage);
  EXPECT_EQ(code(f32, f32, {.activations = Activations::kInt8}), ErrorCode::kUsage);
  const auto kv_message = [&](DType kv) {
    const auto refused = kCpuExecutor.check(program, all_types(program, f32), kv, {});
    return refused ? "" : refused.error().message;
  };
  EXPECT_EQ(kv_message(DType::of<Q4_1>()),
            "--kv-cache-dtype q4_1: the cpu executor does not keep keys and values in it, choose "
            "one of f32, f16, bf16, fp8_e4m3, q8_0, q4_0");
  EXPECT_EQ(kv_message(DType::of<Q8_0>()),
            "--kv-cache-dtype q8_0: head_dim is 16, that type needs a multiple of 32; choose f16, "
            "bf16, f32 or fp8_e4m3");
  EXPECT_EQ(kv_message(DType::of<FP8_E4M3>()), "");
  const Program odd = make_program({.hidden = 48});
  const auto packed = kCpuExecutor.check(odd, all_types(odd, DType::of<Q8_0>()), f32, {});
  ASSERT_FALSE(packed);
  EXPECT_NE(packed.error().message.find("rows of 48 values as q8_0"), std::string::npos);

  ExecShape huge;
  huge.kv_blocks = {int64_t{1} << 45};
  huge.max_model_len = 64;
  EXPECT_EQ(kCpuExecutor.load(program, all_types(program, f32), source, huge, {}).error().code,
            ErrorCode::kDoesNotFit);
}

TEST(CpuExecutor, NeedGrowsWithWhatItIsAskedFor) {
  const Program program = fused(make_program({}));
  const WeightTypes types = all_types(program, DType::of<Q8_0>());
  ExecShape shape;
  shape.kv_blocks = {10};
  shape.max_model_len = 320;
  const MemoryNeed base = kCpuExecutor.need(program, types, shape, {.threads = 2});
  ExecShape more = shape;
  more.kv_blocks = {20};
  EXPECT_EQ(kCpuExecutor.need(program, types, more, {.threads = 2}).weights, base.weights);
  EXPECT_NEAR(static_cast<double>(kCpuExecutor.need(program, types, more, {.threads = 2}).kv),
              2.0 * static_cast<double>(base.kv), 4096);
  more = shape;
  more.max_batched_tokens = 2048;
  EXPECT_GT(kCpuExecutor.need(program, types, more, {.threads = 2}).work, base.work);
  EXPECT_LT(kCpuExecutor.need(program, all_types(program, DType::of<Q4_0>()), shape, {.threads = 2})
                .weights,
            base.weights);
}

}  // namespace
}  // namespace quern
